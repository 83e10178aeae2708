"""Tiny data and models that the conformance suite tries things on."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import torch
from torch import Tensor

from mmvae_bench import nets
from mmvae_bench.errors import Undefined
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.presence import Presence
from mmvae_bench.spec import Missing
from mmvae_bench.testing.rules import must
from mmvae_bench.types import Modality, MultimodalBatch

Factory = Callable[..., MultimodalVAE]  # of networks, and perhaps of options by keyword

LATENT, ROWS = 3, 6
SAMPLES = 16  # K of a likelihood
SCHEMES = ("split", "split:fixed", "only:a", "independent", "independent:keep=b")
RATIOS = (0.5, 1 - 1 / 16)

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


def untrained(factory: Factory, modalities: Sequence[Modality], seed: int = 0, layers: int = 1) -> MultimodalVAE:
    """A tiny seeded model, not initialised from data; linear without hidden layers."""
    torch.manual_seed(seed)
    return factory(nets.registry.get("mlp")(modalities, LATENT, hidden=5, layers=layers))


def example_model(factory: Factory, modalities: Sequence[Modality], layers: int = 1) -> MultimodalVAE:
    """A tiny seeded model, initialised from random entries."""
    model = untrained(factory, modalities, layers=layers)
    model.initialise(lambda name, n: _random_entries(modalities[model.names.index(name)], n))
    return model


def accepted(factory: Factory, modalities: Sequence[Modality], layers: int = 1) -> MultimodalVAE | None:
    """The same, or None where the model refuses complete rows of such data."""
    ask = getattr(getattr(factory, "func", factory), "unsupported", None)
    if ask and ask(modalities, Missing()) is not None:
        return None
    model = example_model(factory, modalities, layers)
    return model if model.unsupported(modalities, Missing()) is None else None


def _random_entries(m: Modality, n: int, generator: torch.Generator | None = None) -> Tensor:
    if m.is_text:
        return torch.randint(1, len(m.vocabulary), (n, *m.shape), generator=generator)
    return torch.rand(n, *m.shape, generator=generator)


def example_batch(modalities: Sequence[Modality], present: Tensor, seed: int = 1) -> MultimodalBatch:
    """Random entries for every row, also behind what is hidden."""
    generator = torch.Generator().manual_seed(seed)
    x = {m.name: _random_entries(m, present.shape[1], generator) for m in modalities}
    return MultimodalBatch(x, present)


def spoiled(batch: MultimodalBatch, value: float, word: int) -> MultimodalBatch:
    """The batch with a value (in captions a word id) in every hidden entry."""
    x = {name: entries.clone() for name, entries in batch.x.items()}
    for name, entries in x.items():
        entries[~batch.where(name)] = value if entries.is_floating_point() else word
    return MultimodalBatch(x, batch.present)


def patterns(m: int) -> Iterator[tuple[str, Missing, Tensor]]:
    """Presence under every scheme and ratio, of single rows, and with rows that have nothing at all.

    Yields:
        What it is, for people; the :class:`Missing` under which it occurs; Bool[M, B].
    """
    names = tuple(chr(ord("a") + i) for i in range(m))
    split, everything = Missing(0.5, "split"), torch.ones(m, ROWS, dtype=torch.bool)
    for scheme, ratio in product(SCHEMES, RATIOS):
        missing = Missing(ratio, scheme)
        presence = Presence(missing, names, ROWS, "conformance", 0)
        yield f"{scheme} at ratio {ratio}", missing, torch.from_numpy(presence.at(0))
    yield "a batch of one row with one modality", split, torch.arange(m)[:, None] == 0
    some = torch.from_numpy(Presence(split, names, ROWS, "conformance", 1).at(0)).clone()
    some[:, :2] = False
    yield "incomplete rows, and rows with nothing present", split, some
    yield "complete rows", Missing(), everything
    yield "a batch of one complete row", Missing(), everything[:, :1]
    yield "incomplete rows dropped", Missing(0.5, "split", "drop"), everything[:, :3]
    padded = everything.clone()
    padded[:, 4:] = False  # as batches of a fixed size have them
    yield "complete rows, and rows with nothing present", Missing(), padded


@dataclass(frozen=True)
class Case:
    """A model on one kind and number of modalities, both of which it takes."""

    where: str
    modalities: Sequence[Modality]
    model: MultimodalVAE

    @property
    def complete(self) -> MultimodalBatch:
        """Four complete rows."""
        return example_batch(self.modalities, torch.ones(len(self.modalities), 4, dtype=torch.bool))

    def batches(self) -> Iterator[tuple[str, MultimodalBatch]]:
        """A batch of every pattern that the model does not refuse, and what it is."""
        for what, missing, present in patterns(len(self.modalities)):
            if self.model.unsupported(self.modalities, missing) is None:
                yield f"{self.where}, {what}", example_batch(self.modalities, present)


@dataclass(frozen=True)
class Trial:
    """A factory of models and the examples that it is tried on; models are made when first asked for."""

    factory: Factory
    kinds: Sequence[str]
    m: Sequence[int]

    @cached_property
    def cases(self) -> list[Case]:
        """The model on every example that it takes."""
        found = []
        for kind, m in product(self.kinds, self.m):
            modalities = example_modalities(kind, m)
            if (model := accepted(self.factory, modalities)) is not None:
                found.append(Case(f"{kind} x {m}", modalities, model))
        tried = f"{' or '.join(self.kinds)} x {' or '.join(map(str, self.m))}"
        must(found, f"unsupported() refuses complete rows of every example: {tried}")
        return found


def has_beta(factory: Factory) -> bool:
    """Whether beta is among the model's options."""
    return "beta" in inspect.signature(factory).parameters


Rule = tuple[str, str, Callable[[Case], None]]  # its name, what it covers, and what holds for a case


def undefined(what: Callable[[], object]) -> object:
    """What it returns, or why it does not."""
    try:
        return what()
    except Undefined as reason:
        must(str(reason).strip(), "Undefined is raised without a sentence")
        return reason


def total(model: MultimodalVAE, batch: MultimodalBatch, seed: int = 2) -> Tensor:
    """The loss on fixed noise."""
    torch.manual_seed(seed)
    return model.train().loss(batch).total.detach()


def step(model: MultimodalVAE, batch: MultimodalBatch) -> tuple[Tensor, Tensor]:
    """Loss and gradient on fixed noise; zeros where a parameter has no gradient."""
    torch.manual_seed(2)
    model.train().zero_grad()
    loss = model.loss(batch).total
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return loss.detach(), torch.cat([g.flatten() for g in grads])
