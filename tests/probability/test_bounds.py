"""Weighted draws: quotients of sums that no weights can take out of the range of their terms."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmvae_bench.probability.bounds import Weighted, effective

SHAPE = st.tuples(st.integers(1, 6), st.integers(1, 4))  # [K, B]
LOGS = st.floats(-1e4, 1e4)


def draws(log_w: np.ndarray) -> Weighted:
    w = torch.from_numpy(log_w)
    return Weighted(torch.zeros(*w.shape, 2, dtype=torch.float64), w)


@given(SHAPE.flatmap(lambda s: st.tuples(arrays(float, s, elements=LOGS), arrays(float, s, elements=LOGS))))
def test_a_conditional_lies_between_the_likelihoods_of_its_draws_whatever_their_weights(values):
    log_w, log_p = values
    found = draws(log_w).predictive(torch.from_numpy(log_p))
    slack = 1e-11 * (1 + np.abs(log_w).max() + np.abs(log_p).max())
    assert (found.log_p.numpy() <= log_p.max(0) + slack).all()
    assert (found.log_p.numpy() >= log_p.min(0) - slack).all()
    assert ((found.ess >= 1 - 1e-6) & (found.ess <= len(log_w) * (1 + 1e-6))).all()


def test_the_evidence_and_the_conditional_read_as_their_formulas():
    w, p = np.array([[0.5], [2.0], [0.1]]), np.array([[0.3], [0.9], [0.2]])
    found = draws(np.log(w))
    np.testing.assert_allclose(found.evidence().log_p, np.log(w.mean(0)))
    np.testing.assert_allclose(found.evidence().ess, w.sum(0) ** 2 / (w**2).sum(0))
    conditional = found.predictive(torch.from_numpy(np.log(p)))
    np.testing.assert_allclose(conditional.log_p, np.log((w * p).sum(0) / w.sum(0)))
    ess = [x.sum(0) ** 2 / (x**2).sum(0) for x in (w, w * p)]
    np.testing.assert_allclose(conditional.ess, np.minimum(*ess))


def test_equal_weights_have_the_whole_effective_sample_size_and_one_weight_one():
    np.testing.assert_allclose(effective(torch.full((7, 1), -3.0)), 7, rtol=1e-5)
    np.testing.assert_allclose(effective(torch.tensor([[0.0], [-500.0], [-900.0]])), 1)
