import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from mmvae_bench.datasets.base import Rows
from mmvae_bench.datasets.cache import Data
from mmvae_bench.datasets.digits import read_official_mnist, read_svhn
from mmvae_bench.metrics import oracle as module
from mmvae_bench.metrics.oracle import load_oracles, to_device, train_oracle
from mmvae_bench.types import Modality
from tests.helpers import REAL, needs


@pytest.fixture(scope="module")
def digits():
    """1,797 real digits of 8 x 8 pixels, which scikit-learn ships."""
    x, label = load_digits(return_X_y=True)
    return (x.reshape(-1, 1, 8, 8) * 15.9).astype(np.uint8), label.astype(np.int64)


@pytest.fixture(scope="module")
def trained(digits):
    x, label = digits
    return train_oracle(x[:1200], label[:1200], "digit")


@pytest.fixture
def short(monkeypatch):
    """Oracles of 40 steps, where it matters only which is which."""
    monkeypatch.setattr(module, "MIN_STEPS", 40)
    monkeypatch.setattr(module, "MAX_STEPS", 40)


def modalities(*names):
    return [Modality(name, (1, 8, 8)) for name in names]


def data_of(digits, n=300, singles=None):
    x, label = digits
    train, test = Rows({"a": x[:n], "b": x[:n]}, label[:n]), Rows({"a": x[1200:], "b": x[1200:]}, label[1200:])
    return Data(train, test, "", singles, hash="hash")


def test_digits_are_recognised(digits, trained):
    x, label = digits
    predicted = trained.predict(to_device(x[1200:], torch.device("cpu")))
    assert predicted.dtype == np.int64
    assert np.mean(predicted == label[1200:]) > 0.9


def test_training_is_reproducible_and_leaves_no_trace(digits, trained):
    x, label = digits
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    again = train_oracle(x[:1200], label[:1200], "digit")
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads
    expected_weights = trained.state_dict()
    assert all(torch.equal(value, expected_weights[name]) for name, value in again.state_dict().items())


def test_judging_does_not_depend_on_the_company(digits, trained):
    x = to_device(digits[0][:600], torch.device("cpu"))
    assert not trained.training
    assert np.array_equal(trained.predict(x)[7:9], trained.predict(x[7:9]))
    assert trained.features(x[:5]).shape == (5, 256)


def test_read_only_arrays_are_copied_without_a_warning(recwarn):
    values = np.arange(4, dtype=np.uint8)
    values.flags.writeable = False
    assert to_device(values, torch.device("cpu")).tolist() == pytest.approx([0, 1 / 255, 2 / 255, 3 / 255])
    assert not recwarn.list


def test_what_is_no_picture_gets_a_perceptron():
    rng = np.random.default_rng(0)
    label = np.arange(400) % 4
    x = (np.eye(4)[label][:, None, :] + 0.3 * rng.normal(size=(400, 2, 4))).astype(np.float32)
    oracle = train_oracle(x[:300], label[:300], "words")
    assert np.mean(oracle.predict(torch.from_numpy(x[300:])) == label[300:]) > 0.9


def test_an_oracle_reads_every_attribute_and_the_first_is_the_class(digits):
    x, label = digits
    attributes = np.stack([label // 5, label % 2], 1)
    oracle = train_oracle(x[:1200], attributes[:1200], "digit")
    read = oracle.read(to_device(x[1200:], torch.device("cpu")))
    assert (np.mean(read == attributes[1200:], axis=0) > 0.8).all()
    assert np.array_equal(oracle.predict(to_device(x[1200:], torch.device("cpu"))), read[:, 0])


def test_captions_get_a_bag_of_words_that_order_and_padding_leave_alone():
    rng = np.random.default_rng(0)
    label = np.arange(400) % 3
    ids = rng.integers(6, 9, (400, 5)).astype(np.int16)  # words of no class
    ids[np.arange(400), rng.integers(0, 5, 400)] = 3 + label
    oracle = train_oracle(ids[:300], label[:300], "caption", words=9)
    x = torch.from_numpy(ids[300:]).long()
    assert np.mean(oracle.predict(x) == label[300:]) > 0.95
    padded = torch.cat([x.flip(1), torch.zeros(100, 2, dtype=torch.long)], 1)
    assert torch.allclose(oracle(x), oracle(padded), atol=1e-5)


def test_oracles_are_trained_once_and_read_back(digits, tmp_path, monkeypatch, short):
    data = data_of(digits)
    first = load_oracles(data, "digits", modalities("a", "b"), tmp_path)
    monkeypatch.setattr(module, "train_oracle", None)  # would fail
    second = load_oracles(data, "renamed", modalities("a", "b"), tmp_path)
    x = to_device(data.test.x["a"], torch.device("cpu"))
    for name in ("a", "b"):
        assert np.array_equal(first[name].predict(x), second[name].predict(x))
        assert first[name].accuracy == pytest.approx(np.mean(second[name].predict(x) == data.test.label))
        assert first[name].hash == second[name].hash
        assert len(first[name].hash) == 16
    assert first["a"].hash != first["b"].hash  # seeded by name
    assert not list(tmp_path.rglob("*.tmp"))
    meta = [json.loads(path.read_text()) for path in (tmp_path / "oracles").glob("*.json")]
    assert {m["modality"] for m in meta} == {"a", "b"}


def test_other_entries_are_another_oracle_and_singles_come_first(digits, tmp_path, short):
    x, label = digits
    few = load_oracles(data_of(digits, 40), "digits", modalities("a"), tmp_path)["a"]
    many = load_oracles(data_of(digits, 40, {"a": (x[:1000], label[:1000])}), "digits", modalities("a"), tmp_path)["a"]
    assert few.hash != many.hash
    assert many.accuracy > few.accuracy


def test_without_labels_there_are_no_oracles_and_without_common_classes_no_accuracy(digits, tmp_path, short):
    data = data_of(digits)
    assert load_oracles(Data(Rows(data.train.x), data.test), "digits", modalities("a"), tmp_path) == {}
    unseen = Rows(data.test.x, data.test.label + 10)
    assert load_oracles(Data(data.train, unseen), "digits", modalities("a"), tmp_path)["a"].accuracy is None


def test_a_lost_or_damaged_oracle_is_trained_again(digits, tmp_path, short):
    first = load_oracles(data_of(digits), "digits", modalities("a"), tmp_path)["a"]
    (weights,) = (tmp_path / "oracles").glob("*.safetensors")
    for content in (None, weights.read_bytes()[:100]):
        weights.write_bytes(content) if content else weights.unlink()
        assert load_oracles(data_of(digits), "digits", modalities("a"), tmp_path)["a"].hash == first.hash


@pytest.mark.slow
@needs("MNIST")
def test_4000_real_mnist_digits_are_enough_for_97_percent():
    (x, label), (x_test, label_test) = read_official_mnist("mnist_svhn", REAL)
    oracle = train_oracle(x[:4000], label[:4000], "mnist")
    assert np.mean(oracle.predict(to_device(x_test, torch.device("cpu"))) == label_test) > 0.97


@pytest.mark.slow
@needs("svhn_10k")
def test_8000_real_svhn_digits_are_enough_for_88_percent():
    (x, label), (x_test, label_test) = (read_svhn(REAL / f"svhn_10k/{split}_32x32.mat") for split in ("train", "test"))
    oracle = train_oracle(x, label, "svhn")
    assert np.mean(oracle.predict(to_device(x_test, torch.device("cpu"))) == label_test) > 0.88
