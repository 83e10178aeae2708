"""Labels as a modality: the option of every data set that has classes or attributes."""

from pathlib import Path

import numpy as np
import pytest

from mmvae_bench import BenchError, Dataset, datasets
from mmvae_bench.datasets.labelled import Labelled, Symbols
from mmvae_bench.datasets.rules import check_labels, check_modalities, check_rows
from mmvae_bench.datasets.words import PAD
from mmvae_bench.options import parse_named


def made(text: str) -> Dataset:
    named = parse_named(text)
    return datasets.make(named.name, datasets.options(named))


def test_without_the_option_nothing_is_different() -> None:
    assert datasets.options(parse_named("captioned_shapes[labels=false]")) == {"level": 1}
    assert not isinstance(made("captioned_shapes[labels=false]"), Labelled)
    assert datasets.options(parse_named("captioned_shapes[level=2,labels=true]")) == {"level": 2, "labels": True}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset, Path]:
    return (
        made("captioned_shapes[level=3]"),
        made("captioned_shapes[level=3,labels=true]"),
        tmp_path_factory.mktemp("x"),
    )


def test_the_label_names_all_attributes_of_its_row_and_all_else_is_equal(shapes) -> None:
    plain, labelled, folder = shapes
    before, built = plain.build(folder), labelled.build(folder)
    *others, label = labelled.modalities
    assert others == list(plain.modalities)
    assert (label.kind, label.shape, label.name) == ("symbol", (3,), "label")
    for split in ("train", "test"):
        rows, old = getattr(built, split), getattr(before, split)
        words = np.array(label.vocabulary)[rows.x["label"]]
        true = [np.array(v)[c] for v, c in zip(plain.attributes.values(), rows.attributes.T, strict=True)]
        assert np.array_equal(words, np.stack(true, 1))
        assert all(np.array_equal(rows.x[m.name], old.x[m.name]) for m in others)
        assert np.array_equal(rows.label, old.label)
    for check in (check_rows, check_labels):
        check(labelled, built)
    check_modalities(labelled)


def test_its_judge_reads_what_was_written_and_nothing_else(shapes) -> None:
    _, labelled, folder = shapes
    rows = labelled.build(folder).test
    judge = labelled.judges({})["label"]
    assert np.array_equal(judge.read(rows.x["label"]), rows.attributes)
    assert np.array_equal(judge.predict(rows.x["label"]), rows.label)
    swapped = rows.x["label"][:, [1, 0, 2]]  # a size is not a shape
    assert (judge.predict(swapped) == 3).all() and (judge.read(swapped)[:, 1] == 2).all()
    assert (judge.read(np.full((4, 3), PAD)) == judge.sizes).all()


def test_a_class_is_the_label_where_there_are_no_attributes() -> None:
    labelled = made("mnist_street[labels=true]")
    assert labelled.modalities[-1].vocabulary == ("<pad>", *labelled.classes)
    assert labelled.judges({})["label"].predict(np.array([[1], [10], [0]])).tolist() == [0, 9, 10]


def test_the_class_alone_leaves_the_other_attributes_open(shapes) -> None:
    plain, _, folder = shapes
    assert datasets.options(parse_named("captioned_shapes[labels=class]")) == {"level": 1, "labels": "class"}
    labelled = made("captioned_shapes[level=3,labels=class]")
    label, built = labelled.modalities[-1], labelled.build(folder)
    assert (label.shape, label.vocabulary) == ((1,), ("<pad>", *plain.classes))
    assert np.array_equal(built.test.attributes, plain.build(folder).test.attributes)
    judge, written = labelled.judges({})["label"], built.test.x["label"]
    assert np.array_equal(judge.read(written)[:, 0], built.test.label)
    assert (judge.read(written)[:, 1:] == [2, 5]).all()  # unreadable
    for check in (check_rows, check_labels):
        check(labelled, built)
    check_modalities(labelled)


def test_judges_of_other_values_are_others() -> None:
    assert Symbols([3]).hash != Symbols([4]).hash != Symbols([3, 1]).hash != Symbols([3, 1], 1).hash


def test_a_data_set_without_classes_says_that_it_has_no_labels() -> None:
    with pytest.raises(BenchError, match="'linear_gaussian' has no classes and no attributes"):
        made("linear_gaussian[labels=true]")
    with pytest.raises(BenchError, match=r"captioned_shapes\[labels\] takes true or false, not 'maybe'"):
        made("captioned_shapes[labels=maybe]")
    for name in ("captioned_shapes", "mnist_street"):  # level 1 has the shape alone
        with pytest.raises(BenchError, match=f"'{name}' has no attributes beside its class. Type labels=true."):
            made(f"{name}[labels=class]")
