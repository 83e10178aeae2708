"""Linear probe (Shi et al. 2019; Sutter et al. 2021): classes predicted from latents. Protocol 20."""

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmvae_bench.metrics.base import Evaluation, Score, described
from mmvae_bench.metrics.coherence import accuracy, class_labels, majority

MOST_ITERATIONS = 100_000


def probe(z: NDArray[np.float32], label: NDArray[np.int64], z_test: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return classes [N_test] by logistic regression on standardised z [N, L], C = 1, run until it converges."""
    iterations = 1000
    while True:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=iterations))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            classifier.fit(z.astype(np.float64), label)
        converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
        if converged or iterations >= MOST_ITERATIONS:
            return np.asarray(classifier.predict(z_test.astype(np.float64)), dtype=np.int64)
        iterations *= 10


@described(
    "Linear probe",
    "Test accuracy of a logistic regression from latents to classes, fitted on complete training rows.",
    {"mean": "on the posterior mean", "sample": "on one posterior sample"},
    bounds=(0.0, 1.0),
    drawn=("mean",),
    key=True,
    coarse="mean of each",
)
def linear_probe(ev: Evaluation) -> Iterator[Score]:
    """Test accuracy of a probe on z of q(z | x_A): variants ``mean`` and ``sample``, |A| = 1 and A = all.

    Fitted on the same min(4,000, N) complete training rows for every model, whatever its mask. Chance: the share of the
    largest class.
    """
    label = class_labels(ev)
    fitted = np.asarray(ev.probe_rows.label)
    every = (
        [ev.names] if ev.model.joint_posterior and len(ev.names) > 1 else []
    )  # if the paper defines a posterior of all
    for given in [*((name,) for name in ev.names), *every]:
        train, test = ev.latents(given, "train"), ev.latents(given, "test")
        for variant in ("mean", "sample"):
            predicted = probe(getattr(train, variant), fitted, getattr(test, variant)[ev.judged_rows])
            value, se = accuracy(predicted, label)
            yield Score(value, variant, "", "+".join(given), "", se, len(label), majority(label))
