"""The oracles that judge: classifiers trained on single true entries, cached by the content of their data."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mmvae_bench.datasets.base import Entries, Judge
from mmvae_bench.datasets.cache import Data, array_hash
from mmvae_bench.disk import built_once, replace_file
from mmvae_bench.kinds import kinds
from mmvae_bench.kinds.base import Augment
from mmvae_bench.seeds import seed_for
from mmvae_bench.types import Modality, to_values
from mmvae_bench.types import is_picture as is_picture  # noqa: PLC0414 # known here, too

SEED = 0
VERSION = 1  # bumped by whoever changes nets or training here: oracles are trained anew, and scores change
BATCH, MIN_STEPS, MAX_STEPS = 128, 150, 4000
CHUNK = 500  # entries judged at a time
CPU = torch.device("cpu")  # where oracles judge


class Oracle(nn.Module):
    """A classifier of one modality: three convolutions for pictures, a bag of words for captions, else a hidden layer.

    ``heads`` are the numbers of values of each attribute that it reads; the first is the class.
    """

    def __init__(self, shape: Sequence[int], heads: Sequence[int], words: int = 0) -> None:
        super().__init__()
        self.shape, self.heads = tuple(shape), list(heads)
        layers: list[nn.Module] = []
        if words:
            layers = [nn.EmbeddingBag(words, 256, mode="sum", padding_idx=0)]
        elif is_picture(shape):
            channels = shape[0]
            for out in (16, 32, 64) if channels == 1 else (32, 64, 128):
                layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.MaxPool2d(2)]
                layers += [nn.BatchNorm2d(out), nn.ReLU()]
                channels = out
            layers += [nn.Flatten(), nn.Dropout(0.3), nn.LazyLinear(256)]
        else:
            layers = [nn.Flatten(), nn.Linear(math.prod(shape), 256)]
        self.body = nn.Sequential(*layers, nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.LazyLinear(sum(heads))
        self.accuracy: float | None = None  # on true test entries; None where no test class was seen in training
        self.hash = ""  # of its weights: scores by different judges are never averaged
        self.eval()(torch.zeros(1, *shape, dtype=torch.long if words else torch.float32))
        self.to(memory_format=torch.channels_last)

    def hidden(self, x: Shaped[Tensor, "B ..."]) -> Float[Tensor, "B F"]:
        """Return the last hidden layer; pictures have channels last: pooling is three times faster on a CPU."""
        features: Tensor = self.body(x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x)
        return features

    def forward(self, x: Shaped[Tensor, "B ..."]) -> Float[Tensor, "B C"]:
        """Return logits of all heads, side by side."""
        logits: Tensor = self.head(self.hidden(x))
        return logits

    @torch.no_grad()
    def features(self, x: Shaped[Tensor, "N ..."]) -> NDArray[np.float32]:
        """Return :meth:`hidden` of all entries, [N, F]: the space of the Fréchet distance."""
        return np.concatenate([self.hidden(part).numpy() for part in torch.split(x, CHUNK)])

    @torch.no_grad()
    def values(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the likeliest value of each attribute, [N, A], from :meth:`features`."""
        parts = [torch.split(self.head(part), self.heads, 1) for part in torch.split(torch.from_numpy(features), CHUNK)]
        return np.concatenate([np.stack([logits.argmax(1).numpy() for logits in part], 1) for part in parts])

    def read(self, x: Shaped[Tensor, "N ..."]) -> NDArray[np.int64]:
        """Return the likeliest value of each attribute, [N, A]."""
        return self.values(self.features(x))

    def predict(self, x: Shaped[Tensor, "N ..."]) -> NDArray[np.int64]:
        """Return the likeliest class, [N]."""
        return self.read(x)[:, 0]


@dataclass(frozen=True)
class Judged:
    """What a judge says of N entries."""

    classes: NDArray[np.int64]  # [N]
    values: NDArray[np.int64]  # of all attributes, [N, A]; [N, 0] where they were not asked for
    # Well-formedness, [N]: of all pictures, and of those captions that the grammar can write
    whole: NDArray[np.bool_]
    features: NDArray[np.float32] | None  # of an oracle, [N, F]


def judged(judge: Judge, x: Shaped[Tensor, "N ..."], *, attributes: bool) -> Judged:
    """Return what a judge says of entries, with the values of ``attributes`` if asked; an oracle reads them once."""
    whole = getattr(judge, "accepts", lambda entries: np.ones(len(entries), np.bool_))(x)
    if isinstance(judge, Oracle):
        features = judge.features(x)
        values = judge.values(features)
        return Judged(values[:, 0], values, whole, features)
    values = judge.read(x) if attributes else np.zeros((len(x), 0), np.int64)
    return Judged(judge.predict(x), values, whole, judge.features(x) if hasattr(judge, "features") else None)


def to_device(values: Entries, device: torch.device) -> Tensor:
    """Move stored entries to the device and there to values, as nets take them."""
    return to_values(torch.tensor(np.ascontiguousarray(values), device=device))  # a copy: arrays may be read-only maps


def train_oracle(
    entries: Entries, labels: NDArray[np.int64], name: str, words: int = 0, augment: Augment | None = None
) -> Oracle:
    """Train the classifier of modality ``name``; the same arguments give the same weights.

    AdamW, one-cycle rate, label smoothing 0.1; 5 epochs for grey pictures, 15 otherwise, within 150 to 4,000 steps.
    ``labels`` are classes [N] or the values of attributes [N, A]; ``words`` is V, of captions; ``augment`` varies the
    entries of each step.
    """
    labels = labels.reshape(len(labels), -1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for("oracle", VERSION, name, SEED))
            oracle = Oracle(entries.shape[1:], (labels.max(0) + 1).tolist(), words).train()
            _fit(oracle, entries, torch.from_numpy(np.array(labels, np.int64)), augment or (lambda x: x))
    finally:
        torch.set_num_threads(threads)
    return oracle.eval()


def _fit(oracle: Oracle, entries: Entries, labels: Int[Tensor, "N A"], augment: Augment) -> None:
    n = len(labels)
    epochs = 5 if is_picture(oracle.shape) and oracle.shape[0] == 1 else 15
    steps = int(np.clip(epochs * -(-n // BATCH), MIN_STEPS, MAX_STEPS))
    optimiser = torch.optim.AdamW(oracle.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01 if epochs == 5 else 0.005, steps)
    order = torch.cat([torch.randperm(n) for _ in range(-(-steps * BATCH // n))])
    for index in torch.split(order[: steps * BATCH], BATCH):
        x = to_device(entries[index.numpy()], CPU)
        logits = torch.split(oracle(augment(x)), oracle.heads, 1)
        wrong = [F.cross_entropy(head, labels[index, a], label_smoothing=0.1) for a, head in enumerate(logits)]
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack(wrong).sum())
        optimiser.step()
        schedule.step()


def read_in_parts(read: Callable[[Tensor], NDArray[Any]], entries: Entries) -> NDArray[Any]:
    """Return what ``read`` makes of stored entries; :data:`CHUNK` are values at a time."""
    parts = [entries[start : start + CHUNK] for start in range(0, len(entries), CHUNK)]
    return np.concatenate([read(to_device(part, CPU)) for part in parts])


def load_oracles(
    data: Data,
    dataset_name: str,
    modalities: Sequence[Modality],
    cache_dir: Path,
    *,
    judges: Mapping[str, Judge] | None = None,
) -> dict[str, Judge]:
    """Return the exact ``judges``, else oracles from the cache or trained into it; empty without labels.

    They train on ``data.singles``, else on the pairs. The key is the content of the training and test entries: limits,
    masks and the data set's other options do not matter, and data sets that share a modality share its oracle.
    """
    train, test = (rows.label if rows.attributes is None else rows.attributes for rows in (data.train, data.test))
    if train is None or test is None:
        return {}
    singles, exact = data.singles or {}, judges or {}
    return {
        m.name: exact.get(m.name) or _load_or_train(
            m, *singles.get(m.name, (data.train.x[m.name], train)), data.test.x[m.name], test, cache_dir, dataset_name
        )
        for m in modalities
    }  # fmt: skip


def _load_or_train(
    m: Modality, entries: Entries, labels: NDArray[np.int64], test_entries: Entries, test_labels: NDArray[np.int64],
    cache_dir: Path, dataset_name: str,
) -> Oracle:  # fmt: skip
    name, words = m.name, len(m.vocabulary) if m.is_text else 0
    content = array_hash(entries, labels, test_entries, test_labels)
    key = hashlib.sha256(f"{VERSION}:{name}:{SEED}:{content}".encode()).hexdigest()[:16]
    weights = cache_dir / "oracles" / f"{key}.safetensors"

    def read() -> Oracle | None:  # None if it is absent or damaged: it is then trained again
        try:
            meta = json.loads(weights.with_suffix(".json").read_bytes())
            oracle = Oracle(entries.shape[1:], meta["heads"], words)
            oracle.load_state_dict(load_file(weights))
            oracle.accuracy, oracle.hash = meta["accuracy"], hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
            return None
        return oracle.eval()

    def make() -> Oracle:
        oracle = train_oracle(entries, labels, name, words, kinds.get(m.kind).augment)
        seen, known = (a.reshape(len(a), -1)[:, 0] for a in (labels, test_labels))
        judged = np.isin(known, seen)
        if judged.any():
            right = read_in_parts(oracle.predict, test_entries[judged]) == known[judged]
            oracle.accuracy = float(np.mean(right))
        return oracle

    def write(oracle: Oracle) -> None:
        meta = {"dataset": dataset_name, "modality": name, "accuracy": oracle.accuracy, "heads": oracle.heads}
        replace_file(weights, save({key: value.contiguous() for key, value in oracle.state_dict().items()}))
        # The .json comes last: where it is, the oracle is complete
        replace_file(weights.with_suffix(".json"), json.dumps({**meta, "version": VERSION}) + "\n")

    return built_once(cache_dir, weights, read, make, write)
