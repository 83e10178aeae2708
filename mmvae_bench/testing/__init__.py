"""The conformance suite: rules for every registered model and data set, of ours or of a plug-in.

In a test, ``check_model(MyModel)`` raises AssertionError with a sentence that says which rule is broken; on the command
line it is ``mmvae-bench check NAME``.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mmvae_bench.datasets.base import Dataset
from mmvae_bench.errors import Broken
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.testing.datasets import dataset_checks
from mmvae_bench.testing.examples import KINDS, LATENT, Factory
from mmvae_bench.testing.models import model_checks
from mmvae_bench.testing.rules import Check, declared_checks

__all__ = ["KINDS", "Broken", "Check", "check_dataset", "check_model", "dataset_checks", "declared_checks",
           "model_checks"]  # fmt: skip


def check_model(
    factory: Factory, kinds: Sequence[str] = ("pixels", "mixed"), m: Sequence[int] = (2, 5), latent_dim: int = LATENT
) -> None:
    """Check a model over kinds of data, numbers of modalities and patterns of absence.

    The factory is the model's class, that with options (``functools.partial``), or a function of networks alone. Kinds
    are of :data:`KINDS`, or ``mixed``; m are numbers of modalities.

    Raises:
        AssertionError: Says what is broken, and where.
    """
    entry = factory.func if isinstance(factory, partial) else factory
    declared = declared_checks(entry, MultimodalVAE) if isinstance(entry, type) else []
    for check in (*declared, *model_checks(factory, kinds, m, latent_dim)):
        check.run()


def check_dataset(dataset: Dataset, data_dir: Path) -> None:
    """Check that a data set builds what it declares, and the same each time; ``data_dir`` is only read.

    Raises:
        AssertionError: Says what is broken.
        DataError: If its files are absent or corrupt.
    """
    for check in (*declared_checks(type(dataset), Dataset), *dataset_checks(lambda: dataset, data_dir)):
        check.run()
