import numpy as np
import pytest

from mmvae_bench.datasets.tables import split_by_class, standardised


def test_each_class_gives_its_share_of_rows_to_the_test_and_no_row_is_on_both_sides() -> None:
    label = np.repeat([2, 0, 5], [10, 30, 7])
    train, test = split_by_class(label, 0.2, "name")
    assert np.bincount(label[test]).tolist() == [6, 0, 2, 0, 0, 1]
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(47))
    again, other = split_by_class(label, 0.2, "name")[1], split_by_class(label, 0.2, "another")[1]
    assert np.array_equal(test, again) and not np.array_equal(test, other)


def test_columns_of_the_training_rows_have_mean_0_and_sd_1_and_others_follow() -> None:
    train = np.array([[1.0, 7.0], [3.0, 7.0]])
    x, y = standardised(train, np.array([[5.0, 9.0]]))
    assert x.dtype == np.float32 and x.tolist() == [[-1, 0], [1, 0]] and y.tolist() == [[3, 2]]


@pytest.mark.parametrize("constant", [0.1, 1e30, -1 / 3])
def test_a_constant_column_is_only_shifted(constant: float) -> None:
    (x,) = standardised(np.full((7, 1), constant))
    assert np.allclose(x, 0, atol=abs(constant) * 1e-6)
