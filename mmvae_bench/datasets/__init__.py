"""Data sets by name. Importing this package imports no torch and reads no data."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmvae_bench.errors import BenchError, in_a_line
from mmvae_bench.options import Scalar
from mmvae_bench.registry import Registry

if TYPE_CHECKING:
    from mmvae_bench.datasets.base import Dataset

registry: "Registry[type[Dataset]]" = Registry(
    "data set",
    {
        "mnist_street": "mmvae_bench.datasets.mnist_street:MnistStreet",
        "mnist_svhn": "mmvae_bench.datasets.mnist_svhn:MnistSvhn",
        "polymnist": "mmvae_bench.datasets.polymnist:PolyMnist",
        "captioned_shapes": "mmvae_bench.datasets.captioned_shapes:CaptionedShapes",
        "cub": "mmvae_bench.datasets.cub:Cub",
        "linear_gaussian": "mmvae_bench.datasets.linear_gaussian:LinearGaussian",
    },
    group="mmvae_bench.datasets",
)
register = registry.register


def make(name: str, options: Mapping[str, Scalar]) -> "Dataset":
    """Return a data set with its options. Its modalities and protocol are read once, so that their errors occur here.

    Raises:
        BenchError: If its name is unknown, an option is wrong, or a plug-in raises any exception.
    """
    factory = registry.get(name)
    try:
        dataset = factory(**options)
        _ = dataset.modalities, dataset.protocol
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(f"The data set '{name}' cannot be made: {in_a_line(error)}.") from error
    return dataset
