"""The classifier behind an oracle: one a modality, small nets, one seeded loop on one thread."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from mmvae_bench.seeds import seed_for

VERSION = 1  # bumped by whoever changes nets or training here: oracles are trained anew, and scores change
BATCH, MIN_STEPS, MAX_STEPS = 128, 150, 4000
CHUNK = 500  # entries judged at a time

Entries = NDArray[np.uint8] | NDArray[np.float32]


class Oracle(nn.Module):
    """A classifier of one modality: three convolutions for pictures, one hidden layer for anything else.

    Attributes:
        accuracy: Share of the test split's true entries that it gets right: the ceiling of every coherence. None where
            no test class was seen in training.
        hash: Of its weights: scores by different judges are never averaged.
    """

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        super().__init__()
        self.shape, self.classes = tuple(shape), classes
        self.body = _convolutions(*shape) if is_picture(shape) else _perceptron(int(np.prod(shape)))
        self.head = nn.LazyLinear(classes)
        self.accuracy: float | None = None
        self.hash = ""
        self.eval()(torch.zeros(1, *shape))
        self.to(memory_format=torch.channels_last)

    def hidden(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B F"]:
        """The last hidden layer; pictures with channels last, which makes pooling three times faster on a CPU."""
        features: Tensor = self.body(x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x)
        return features

    def forward(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B C"]:
        """Logits."""
        logits: Tensor = self.head(self.hidden(x))
        return logits

    @torch.no_grad()
    def features(self, x: Float[Tensor, "N ..."]) -> NDArray[np.float32]:
        """:meth:`hidden` of all entries, [N, F]: the space of the Fréchet distance."""
        return np.concatenate([self.hidden(part).numpy() for part in torch.split(x, CHUNK)])

    @torch.no_grad()
    def predict(self, x: Float[Tensor, "N ..."]) -> NDArray[np.int64]:
        """The likeliest class of entries in [0, 1], [N]."""
        return np.concatenate([self(part).argmax(1).numpy() for part in torch.split(x, CHUNK)])


def to_float(values: Entries, device: torch.device) -> Tensor:
    """Move stored entries to the device as float32, pixels divided by 255 there."""
    tensor = torch.tensor(np.ascontiguousarray(values), device=device)  # a copy: arrays may be read-only maps
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor


def is_picture(shape: Sequence[int]) -> bool:
    """Channels first, grey or colour, at least 8 x 8."""
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) >= 8


def _convolutions(channels: int, *_: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for out in (16, 32, 64) if channels == 1 else (32, 64, 128):
        layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(out), nn.ReLU()]
        channels = out
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.LazyLinear(256), nn.ReLU(), nn.Dropout(0.3))


def _perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 256), nn.ReLU(), nn.Dropout(0.3))


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seed torch's global generator and use one thread; both are put back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def warp(x: Float[Tensor, "B c h w"]) -> Float[Tensor, "B c h w"]:
    """Turn by up to 0.2 rad, scale by up to 15 % and shift by up to 6 % of the side: mild augmentation."""
    angle, scale = torch.empty(2, len(x)).uniform_(-1, 1)
    angle, scale, shift = 0.2 * angle, 1 + 0.15 * scale, torch.empty(len(x), 2).uniform_(-0.12, 0.12)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def train_oracle(entries: Entries, labels: NDArray[np.int64], name: str, seed: int = 0) -> Oracle:
    """Train the classifier of modality ``name``; the same arguments give the same weights.

    AdamW, one-cycle rate, label smoothing 0.1; 5 epochs for grey pictures, 15 otherwise, within 150 to 4,000 steps.
    """
    with _reproducible(seed_for("oracle", VERSION, name, seed)):
        oracle = Oracle(entries.shape[1:], int(labels.max()) + 1).train()
        _fit(oracle, entries, torch.from_numpy(np.array(labels, np.int64)))
    return oracle.eval()


def _fit(oracle: Oracle, entries: Entries, labels: Int[Tensor, " N"]) -> None:
    picture, n = is_picture(oracle.shape), len(labels)
    epochs = 5 if picture and oracle.shape[0] == 1 else 15
    steps = int(np.clip(epochs * -(-n // BATCH), MIN_STEPS, MAX_STEPS))
    optimiser = torch.optim.AdamW(oracle.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01 if epochs == 5 else 0.005, steps)
    order = torch.cat([torch.randperm(n) for _ in range(-(-steps * BATCH // n))])
    for index in torch.split(order[: steps * BATCH], BATCH):
        x = to_float(entries[index.numpy()], torch.device("cpu"))
        logits = oracle(warp(x) if picture else x)
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(logits, labels[index], label_smoothing=0.1))
        optimiser.step()
        schedule.step()
