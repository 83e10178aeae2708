"""Data sets by name. Importing this package imports no torch and reads no data."""

from typing import TYPE_CHECKING

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
