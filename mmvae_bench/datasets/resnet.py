"""Features of pictures by ResNet-101, from a safetensors file of weights that the user provides."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmvae_bench.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS_NAME = "resnet101.safetensors"
WHENCE = "Get model.safetensors of timm/resnet101.tv_in1k on Hugging Face (torchvision's IMAGENET1K_V1 weights)"
BATCH = 32
SAY_EVERY = 10  # batches between messages: about a minute on a CPU


def weights_file(data_dir: Path) -> Path | None:
    """Return ``resnet101.safetensors`` in ``data_dir`` or in its folder ``cub``, or None."""
    places = (data_dir / WEIGHTS_NAME, data_dir / "cub" / WEIGHTS_NAME)
    return next((path for path in places if path.is_file()), None)


def features(pictures: "Tensor | Iterable[Tensor]", weights: Path) -> "Tensor":
    """Return features of pictures: ResNet-101 before its last layer, averaged over positions.

    Each picture is resized (short side 256, bilinear), cropped (its central 224 x 224) and normalised as the weights
    require: torchvision's ``ResNet101_Weights.IMAGENET1K_V1.transforms()``. MMVAE's code resized to 224 and did not
    normalise, so its features differ from these. On the CPU, in batches of 32 whatever N.

    Args:
        pictures: [N, 3, H, W], uint8 or float32 in [0, 1]; or an iterable of [3, H, W], which may differ in size.
        weights: safetensors file with torchvision's names.

    Returns:
        Float32 [N, 2048].

    Raises:
        DataError: If ``weights`` are not those of a ResNet-101.
    """
    import torch

    net = _load(weights)
    parts = [torch.empty(0, 2048)]
    with torch.no_grad():
        for number, batch in enumerate(_batches(pictures), 1):
            parts.append(net(batch))
            if number % SAY_EVERY == 0:
                click.echo(f"ResNet-101: features of {BATCH * number:,} pictures so far", err=True)
    return torch.cat(parts)


def is_resnet101(path: Path) -> bool:
    """Return whether a file is in safetensors' format and has the tensors of a ResNet-101 by torchvision's names."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
    except (SafetensorError, OSError):
        return False
    return {"conv1.weight", "layer3.22.conv3.weight", "fc.weight"} <= names and "layer3.23.conv1.weight" not in names


def _load(weights: Path) -> "nn.Module":
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from torch import nn
    from torchvision.models import resnet101

    with torch.device("meta"):  # initial weights would take seconds and change the random state
        net: nn.Module = resnet101(weights=None)
    try:
        net.load_state_dict(load_file(weights), assign=True)
    except (SafetensorError, OSError, RuntimeError) as error:  # RuntimeError: wrong names or shapes
        what = str(error).splitlines()[0]
        raise DataError(f"{weights} does not contain the weights of a ResNet-101 ({what}). {WHENCE}.") from error
    net.fc = nn.Identity()  # its input is pooled and flat
    return net.float().eval()  # some copies are in half precision


def _batches(pictures: "Iterable[Tensor]") -> "Iterator[Tensor]":
    import torch
    from torchvision.models import ResNet101_Weights

    rest = map(ResNet101_Weights.IMAGENET1K_V1.transforms(), pictures)
    while some := list(islice(rest, BATCH)):
        yield torch.stack(some)
