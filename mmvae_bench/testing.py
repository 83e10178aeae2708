"""The conformance suite, for us and for plug-ins: what every registered model and data set must hold.

``check_model(MyModel)`` raises AssertionError with a sentence that says which rule is broken. ::

    from mmvae_bench.testing import check_model

    def test_mine_conforms():
        check_model(Mine)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmvae_bench import nets
from mmvae_bench.datasets.base import Dataset, Rows
from mmvae_bench.missing import Presence
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import parse_named
from mmvae_bench.spec import Missing
from mmvae_bench.types import Modality, MultimodalBatch

LATENT, ROWS = 3, 6
HIDDEN = ((float("nan"), -1), (float("inf"), 2**40), (1e30, 1))  # values, and what stands for them among word ids
SCHEMES = ("split", "split:fixed", "only:a", "independent", "independent:keep=b")
RATIOS = (0.0, 0.5, 1 - 1 / 16)

KINDS: dict[str, Modality] = {
    "pixels": Modality("", (1, 3, 3), "laplace", 0.75),
    "binary": Modality("", (4,), "bernoulli"),
    "real": Modality("", (5,), "normal", 0.5, dtype="float32"),
    "words": Modality("", (4,), "categorical", dtype="int16", vocabulary=("<pad>", "<unk>", "<eos>", "one", "two")),
}


def example_modalities(kind: str, m: int) -> list[Modality]:
    """M modalities ``a``, ``b``, ... of one of :data:`KINDS`, or of all kinds in turn for ``mixed``."""
    each = list(KINDS.values()) if kind == "mixed" else [KINDS[kind]]
    return [replace(k, name=name) for name, k in ((chr(ord("a") + i), each[i % len(each)]) for i in range(m))]


def example_model(factory: Callable[[Networks], MultimodalVAE], modalities: Sequence[Modality]) -> MultimodalVAE:
    """A tiny seeded model, initialised from random entries."""
    torch.manual_seed(0)
    model = factory(nets.registry.get("mlp")(modalities, LATENT, hidden=5, layers=1))
    model.initialise(lambda name, n: _random_entries(modalities[model.names.index(name)], n))
    return model


def _random_entries(m: Modality, n: int, generator: torch.Generator | None = None) -> Tensor:
    if m.is_text:
        return torch.randint(1, len(m.vocabulary), (n, *m.shape), generator=generator)
    return torch.rand(n, *m.shape, generator=generator)


def example_batch(modalities: Sequence[Modality], present: Tensor) -> MultimodalBatch:
    """Random entries for every row, also behind what is hidden."""
    generator = torch.Generator().manual_seed(1)
    x = {m.name: _random_entries(m, present.shape[1], generator) for m in modalities}
    return MultimodalBatch(x, present)


def patterns(m: int) -> Iterator[tuple[str, Tensor]]:
    """Presence under every scheme and ratio, of single rows, and with rows that have nothing at all."""
    names = tuple(chr(ord("a") + i) for i in range(m))
    for scheme in SCHEMES:
        for ratio in RATIOS:
            presence = Presence(Missing(ratio, scheme), names, ROWS, "conformance", 0)
            yield f"{scheme} at ratio {ratio}", torch.from_numpy(presence.at(0))
    yield "a batch of one complete row", torch.ones(m, 1, dtype=torch.bool)
    yield "a batch of one row with one modality", torch.arange(m)[:, None] == 0
    some = torch.from_numpy(Presence(Missing(0.5, "split"), names, ROWS, "conformance", 1).at(0)).clone()
    some[:, :2] = False
    yield "rows with nothing present", some


def check_model(
    factory: Callable[[Networks], MultimodalVAE], kinds: Sequence[str] = ("pixels", "mixed"), m: Sequence[int] = (2, 5)
) -> None:
    """Check a model over kinds of data, numbers of modalities and patterns of absence.

    Args:
        factory: The model's class, or a function of networks alone.
        kinds: Of :data:`KINDS`, or ``mixed``.
        m: Numbers of modalities.

    Raises:
        AssertionError: Says what is broken, and where.
    """
    for kind in kinds:
        for count in m:
            modalities = example_modalities(kind, count)
            model = example_model(factory, modalities)
            for what, present in patterns(count):
                if model.unsupported(modalities, Missing()) is None:
                    _check_training(model, example_batch(modalities, present), f"{kind} x {count}, {what}")
            complete = example_batch(modalities, torch.ones(count, 4, dtype=torch.bool))
            _check_answers(model, complete, f"{kind} x {count}")


def _check_training(model: MultimodalVAE, batch: MultimodalBatch, where: str) -> None:
    """Loss and gradient are finite, and neither depends on what is hidden; a row with nothing adds nothing."""
    loss, gradient = _step(model, batch)
    assert torch.isfinite(loss) and torch.isfinite(gradient).all(), f"loss or gradient is not finite: {where}"
    for value, word in HIDDEN:
        spoiled = _spoiled(batch, value, word)
        again = _step(model, spoiled)
        same = torch.equal(loss, again[0]) and torch.equal(gradient, again[1])
        assert same, f"a hidden {value} reached the loss or the gradient: {where}"
    nothing = MultimodalBatch(batch.x, torch.zeros_like(batch.present))
    loss, gradient = _step(model, nothing)
    assert loss == 0 and not gradient.any(), f"rows with nothing present add to the loss: {where}"


def _spoiled(batch: MultimodalBatch, value: float, word: int) -> MultimodalBatch:
    """The batch with a value (in captions a word id) in every hidden entry."""
    x = {name: entries.clone() for name, entries in batch.x.items()}
    for name, entries in x.items():
        entries[~batch.where(name)] = value if entries.is_floating_point() else word
    return MultimodalBatch(x, batch.present)


def _step(model: MultimodalVAE, batch: MultimodalBatch) -> tuple[Tensor, Tensor]:
    """Loss and gradient on fixed noise."""
    torch.manual_seed(2)
    model.zero_grad()
    total = model.loss(batch).total
    total.backward()  # type: ignore[no-untyped-call]
    return total.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@torch.no_grad()
def _check_answers(model: MultimodalVAE, batch: MultimodalBatch, where: str) -> None:
    """Every subset has a posterior that depends on it alone, and every target can be decoded from it."""
    for keep in range(1, 2 ** len(batch.names)):
        given = [name for i, name in enumerate(batch.names) if keep >> i & 1]
        shown = batch.given(*given)
        q, other = model.posterior(shown), model.posterior(_spoiled(shown, *HIDDEN[0]))
        shape = (batch.size, LATENT)
        assert q.mean.shape == q.stddev.shape == shape, f"posterior of {given} has a wrong shape: {where}"
        same = torch.equal(q.mean, other.mean) and torch.equal(q.stddev, other.stddev)
        assert same, f"a hidden value reached q: {where}"
        proper = (q.stddev > 0).all() and torch.isfinite(q.log_prob(q.rsample(3))).all()
        assert proper, f"q of {given} is no density: {where}"
        for target in batch.names:
            x = model.decode(model.posterior_for(target, shown).rsample())[target]
            fits = x.shape == batch.x[target].shape and torch.isfinite(x).all()
            assert fits, f"{given} -> {target} is wrong: {where}"


def check_dataset(dataset: Dataset, data_dir: Path) -> None:
    """Check that a data set builds what it declares, twice the same.

    Raises:
        AssertionError: Says what is broken.
    """
    built, again = dataset.build(data_dir), dataset.build(data_dir)
    for split in ("train", "test"):
        rows, twice = getattr(built, split), getattr(again, split)
        _check_rows(dataset, rows, split)
        for name in rows.x:
            assert np.array_equal(rows.x[name], twice.x[name]), f"{split} {name} differs between two builds"
    names = [m.name for m in dataset.modalities]
    assert len(set(names)) == len(names) >= 2, "a data set has at least two modalities with different names"
    preset = parse_named(dataset.protocol.nets).name
    assert preset in nets.registry.names(), f"the protocol's nets preset '{preset}' is not registered"


def _check_rows(dataset: Dataset, rows: Rows, split: str) -> None:
    assert list(rows.x) == [m.name for m in dataset.modalities], f"{split} lists its modalities in another order"
    for m in dataset.modalities:
        x = rows.x[m.name]
        assert x.shape == (len(rows), *m.shape), f"{split} {m.name} has shape {x.shape}, not {(len(rows), *m.shape)}"
        assert x.dtype == np.dtype(m.dtype), f"{split} {m.name} is {x.dtype}, not {m.dtype}"
    if dataset.classes:
        label = rows.label
        assert label is not None and label.dtype == np.int64, f"{split} has classes but no int64 labels"
        assert label.min() >= 0 and label.max() < len(dataset.classes), f"{split} has labels outside its classes"
