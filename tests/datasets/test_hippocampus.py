from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_array

from mmvae_bench.datasets.check import check
from mmvae_bench.datasets.hippocampus import BINS, MICE, NEURONS, Hippocampus, matched, prepared, smoothed
from mmvae_bench.datasets.rules import check_labels, check_modalities, check_rows
from mmvae_bench.errors import DataError

FIRST = 3  # number of the first bin, as if the ends of the track had been cut off
CELLS = 100


def lap(rng, direction: int) -> np.ndarray:
    """Positions of one lap: one to four frames in each bin."""
    bins = np.arange(BINS)[:: 1 if direction == 0 else -1]
    return FIRST + np.repeat(bins, rng.integers(1, 5, BINS))


def run(rng, place, laps: int) -> np.ndarray:
    """Positions of a session in one direction."""
    return np.concatenate([lap(rng, place[2]) for _ in range(laps if place[:2] == (0, 3) else 2)])


def cells(rng, make) -> np.ndarray:
    out = np.empty((2, 4, 2), object)
    for place in np.ndindex(*out.shape):
        out[place] = make(rng, place)
    return out


def write(folder: Path, laps: int = 12, *, first: int = FIRST, neurons: int = CELLS, mice=MICE["ca1"]) -> Path:
    """Write the official layout; session 4 of environment 1 alone has more than two laps."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, mouse in enumerate(mice):
        rng = np.random.default_rng(number)
        trace = cells(rng, lambda rng, place: run(rng, place, laps))
        field = rng.integers(BINS, size=neurons)
        spikes = np.empty_like(trace)
        for place, s in np.ndenumerate(trace):
            events = rng.poisson(0.5 * (np.abs(s[:, None] - FIRST - field) < 2)).astype(float)
            spikes[place] = csc_array(events) if number == 1 else events  # MATLAB may store them as sparse
            trace[place] = (s - FIRST + first)[:, None].astype(np.uint8 if number else np.float64)
        savemat(folder / f"{mouse}_spike_train.mat", {"spike_train": spikes})
        savemat(folder / f"{mouse}_stimulus_trace.mat", {"any_name": trace})
    return folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write(root / "hippocampus")
    return root


@pytest.fixture(scope="module")
def built(data_dir):
    return Hippocampus().build(data_dir)


def test_rows_obey_the_rules_and_are_marked_as_unverified(data_dir, built):
    check_modalities(Hippocampus())
    check_rows(Hippocampus(), built)
    check_labels(Hippocampus(), built)
    assert built.subset == "hippocampus ca1, unverified"
    assert check(Hippocampus(), "hippocampus", data_dir)[0] == "hippocampus: complete, not verified"


def test_all_mice_of_a_row_are_at_its_position(built):
    """Of each neuron the mean activity by position has its peak beside its field, in training and test rows."""
    for number, (mouse, x) in enumerate(built.test.x.items()):
        rng = np.random.default_rng(number)
        cells(rng, lambda rng, place: run(rng, place, 12))
        fields = rng.integers(BINS, size=CELLS)
        for rows in (built.train, built.test):
            means = np.stack([rows.x[mouse][rows.label == s].mean(0) for s in range(BINS)])
            peaks = means.argmax(0)
            assert np.mean([np.abs(fields - peak).min() for peak in peaks]) < 0.5
            assert np.bincount(peaks, minlength=BINS).max() < 20  # not one position for all
        assert x.shape[1] == NEURONS


def test_training_activity_has_mean_zero_and_nothing_of_the_test_frames_reaches_it():
    rng = np.random.default_rng(0)
    position = np.concatenate([lap(rng, 0) for _ in range(10)])
    events = rng.poisson(0.2, (len(position), CELLS)).astype(float)
    end = round(0.8 * len(position))
    other = events.copy()
    other[end:] = rng.permuted(other[end:], axis=0) + 1
    (train, test), (same, changed) = (prepared([(x, position)] * 2, 20.0) for x in (events, other))
    assert np.array_equal(train[0][0], same[0][0]) and not np.array_equal(test[0][0], changed[0][0])
    assert [len(part[0][1]) for part in (train, test)] == [end, len(position) - end]
    every = np.concatenate([x for x, _ in train])
    np.testing.assert_allclose(every.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(every.std(0), 1)
    lonely = np.zeros_like(events)
    lonely[end - 1, :NEURONS] = 1  # the last training frame: smoothed, it would reach the first test frames
    _, untouched = prepared([(lonely, position)] * 2, 20.0)
    assert np.ptp(untouched[0][0][:, 0]) == 0


def test_smoothing_keeps_events_and_ends_with_the_lap():
    position = np.concatenate([np.arange(30), np.arange(30)])
    events = np.zeros((60, 1))
    events[12] = 1
    x = smoothed(events, position, 2.0)[:, 0]
    assert x.sum() == pytest.approx(1) and x[14] / x[12] == pytest.approx(np.exp(-0.5))
    events[:] = 0
    events[29] = 1
    x = smoothed(events, position, 2.0)[:, 0]
    assert x[29] > 0.1 and (x[30:] == 0).all()


def test_rows_are_as_many_as_the_rarest_mouse_has_evenly_spaced_and_five_are_an_item():
    position = np.concatenate([np.zeros(7, int), np.ones(3, int)])
    few = np.array([0, 0, 0, 0, 0, 0, 1])
    mice = {"a": [(np.arange(10.0)[:, None], position)] * 2, "b": [(np.arange(7.0)[:, None], few)] * 2}
    rows = matched(mice, 0, 50)
    assert rows.label.tolist() == [0] * 6 + [1] + [0] * 6 + [1]
    assert rows.attributes[:, 1].tolist() == [0] * 7 + [1] * 7
    assert rows.x["a"][:7, 0].tolist() == [0, 1, 2, 4, 5, 6, 7] and rows.x["b"][:7, 0].tolist() == list(range(7))
    assert rows.item.tolist() == [50] * 5 + [51, 52] + [53] * 5 + [54, 55]
    with pytest.raises(DataError, match="share no position"):
        matched({"a": mice["a"], "b": [(np.zeros((1, 1)), np.array([5]))] * 2}, 0, 0)


def test_take_copies_the_users_files_and_says_what_is_missing(tmp_path, data_dir, capsys):
    files = sorted((data_dir / "hippocampus").iterdir())
    Hippocampus().take(files[:-1], tmp_path)
    with pytest.raises(DataError, match=rf"lacks {files[-1].name}\. Get them from .*zivlab"):
        Hippocampus().fetch(tmp_path)
    Hippocampus().take(files[-1:], tmp_path)
    assert [path.name for path in sorted(Hippocampus().sources(tmp_path))] == [file.name for file in files]
    assert capsys.readouterr().out.count("Taken: ") == len(files)
    with pytest.raises(DataError, match="C14M4_spike_train"):
        Hippocampus(area="ca3").sources(tmp_path)


def test_other_files_are_refused(tmp_path):
    other = tmp_path / "X1M1_spike_train.mat"
    other.write_bytes(b"")
    with pytest.raises(DataError, match="is not <mouse>_spike_train"):
        Hippocampus().take([other], tmp_path)
    damaged = tmp_path / "C5M1_spike_train.mat"
    damaged.write_bytes(b"MATLAB")
    with pytest.raises(DataError, match="not a MATLAB file of one 2x4x2 cell array"):
        Hippocampus().take([damaged], tmp_path)
    savemat(damaged, {"spike_train": np.zeros((5, 3))})
    with pytest.raises(DataError, match="not a MATLAB file of one 2x4x2 cell array"):
        Hippocampus().take([damaged], tmp_path)


def test_faulty_recordings_are_named(tmp_path):
    folder = write(tmp_path / "hippocampus", 2, neurons=NEURONS - 1)
    with pytest.raises(DataError, match="has 95 neurons"):
        Hippocampus().build(tmp_path)
    write(folder, 2)
    write(folder, 2, first=FIRST + 1, mice=MICE["ca1"][:1])
    with pytest.raises(DataError, match="21 numbers from 3 to 23"):
        Hippocampus().build(tmp_path)
