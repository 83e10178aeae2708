"""Data sets by name. Importing this package imports no torch and reads no data."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmvae_bench.errors import BenchError, in_a_line
from mmvae_bench.options import Named, Scalar, coerce, declared_options, resolve
from mmvae_bench.registry import Registry

if TYPE_CHECKING:
    from mmvae_bench.datasets.base import Dataset

registry: "Registry[type[Dataset]]" = Registry(
    "data set",
    {
        "mnist_street": "mmvae_bench.datasets.mnist_street:MnistStreet",
        "mnist_svhn": "mmvae_bench.datasets.mnist_svhn:MnistSvhn",
        "mnist_audio": "mmvae_bench.datasets.mnist_audio:MnistAudio",
        "polymnist": "mmvae_bench.datasets.polymnist:PolyMnist",
        "captioned_shapes": "mmvae_bench.datasets.captioned_shapes:CaptionedShapes",
        "digits_views": "mmvae_bench.datasets.digits_views:DigitsViews",
        "tcga_breast": "mmvae_bench.datasets.tcga_breast:TcgaBreast",
        "cub": "mmvae_bench.datasets.cub:Cub",
        "dag": "mmvae_bench.datasets.dag:Dag",
        "avatars": "mmvae_bench.datasets.avatars:Avatars",
        "celeba": "mmvae_bench.datasets.celeba:CelebA",
        "place_cells": "mmvae_bench.datasets.place_cells:PlaceCells",
        "hippocampus": "mmvae_bench.datasets.hippocampus:Hippocampus",
        "linear_gaussian": "mmvae_bench.datasets.linear_gaussian:LinearGaussian",
    },
    group="mmvae_bench.datasets",
)
register = registry.register
LABELS = "labels"  # the option of all data sets that makes their labels a modality
CLASS = "class"  # its value where only the class is one, of data sets that have other attributes too


def options(named: Named) -> dict[str, Scalar]:
    """Return all options of a data set, resolved.

    Every data set that does not declare ``labels`` itself has it: true, false or class. It is in the result only where
    it is not false, so that runs without it keep their identity.

    Raises:
        BenchError: If the name or an option is unknown, or a value does not fit its type.
    """
    own, found = dict(named.options), dict[str, Scalar]()
    if LABELS in own and not _declares_labels(named.name):
        text = own.pop(LABELS)
        if text == CLASS or coerce(text, bool, f"{named.name}[{LABELS}]"):
            found[LABELS] = CLASS if text == CLASS else True
    return {**resolve(registry.get(named.name), Named(named.name, own)), **found}


def make(name: str, options: Mapping[str, Scalar]) -> "Dataset":
    """Return a data set with its options. Its modalities and protocol are read once, so that their errors occur here.

    Raises:
        BenchError: If its name is unknown, an option is wrong, or a plug-in raises any exception.
    """
    try:
        dataset = made(name, options)
        _ = dataset.modalities, dataset.protocol
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(f"The data set '{name}' cannot be made: {in_a_line(error)}.") from error
    return dataset


def made(name: str, options: Mapping[str, Scalar]) -> "Dataset":
    """Return a data set with its options, of which nothing was read yet: without labels, this imports no torch."""
    factory = registry.get(name)
    if options.get(LABELS) and not _declares_labels(name):
        return _labelled(
            factory(**{key: value for key, value in options.items() if key != LABELS}), name, options[LABELS]
        )
    return factory(**options)


def _declares_labels(name: str) -> bool:
    """Return whether a data set has an option of its own with the name of the common one."""
    return LABELS in declared_options(registry.get(name), name)


def _labelled(dataset: "Dataset", name: str, labels: Scalar) -> "Dataset":
    from mmvae_bench.datasets.labelled import NAME, Labelled

    if not (dataset.classes or dataset.attributes):
        raise BenchError(f"'{name}' has no classes and no attributes to be labels. Leave out {LABELS}.")
    if NAME in (m.name for m in dataset.modalities):
        raise BenchError(f"'{name}' has a modality '{NAME}' of its own. Leave out {LABELS}.")
    if labels == CLASS and len(dataset.attributes or ()) < 2:
        raise BenchError(f"'{name}' has no attributes beside its class. Type {LABELS}=true.")
    return Labelled(dataset, class_alone=labels == CLASS)
