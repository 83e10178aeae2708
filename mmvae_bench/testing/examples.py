"""Tiny data and models that the conformance suite tries models on."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from string import ascii_lowercase

import torch
from torch import Tensor

from mmvae_bench import nets
from mmvae_bench.errors import Undefined, must
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.presence import Presence
from mmvae_bench.spec import Missing
from mmvae_bench.types import Modality, MultimodalBatch

Factory = Callable[..., MultimodalVAE]  # of networks, and perhaps of options by keyword

LATENT, ROWS = 3, 6
MOVED = 0.05  # sd of the noise on all parameters
HIDDEN = ((float("nan"), -1), (float("inf"), 2**40), (1e30, 1))  # values, and what stands for them among word ids

KINDS: dict[str, Modality] = {
    "pixels": Modality("", (1, 3, 3), "laplace", 0.75),
    "real": Modality("", (5,), "normal", 0.5, dtype="float32"),
    "symbol": Modality("", (1,), "categorical", dtype="int16", vocabulary=("<pad>", "one", "two", "three")),
    "binary": Modality("", (4,), "bernoulli"),
    "words": Modality("", (4,), "categorical", dtype="int16", vocabulary=("<pad>", "<unk>", "<eos>", "one", "two")),
}


def example_modalities(kind: str, m: int) -> list[Modality]:
    """Return M modalities ``a``, ``b``, ... of one of :data:`KINDS`, or of all kinds in turn for ``mixed``."""
    each = list(KINDS.values()) if kind == "mixed" else [KINDS[kind]]
    return [replace(each[i % len(each)], name=ascii_lowercase[i]) for i in range(m)]


def _random_entries(m: Modality, n: int, generator: torch.Generator | None = None) -> Tensor:
    if m.is_text:
        return torch.randint(1, len(m.vocabulary), (n, *m.shape), generator=generator)
    return torch.rand(n, *m.shape, generator=generator)


def example_batch(modalities: Sequence[Modality], present: Tensor, seed: int = 1) -> MultimodalBatch:
    """Return random entries for every row, also behind what is hidden."""
    generator = torch.Generator().manual_seed(seed)
    x = {m.name: _random_entries(m, present.shape[1], generator) for m in modalities}
    return MultimodalBatch(x, present)


def spoiled(batch: MultimodalBatch) -> MultimodalBatch:
    """Return the batch with a value of :data:`HIDDEN` in each hidden entry, the next one in each row."""
    x = {name: entries.clone() for name, entries in batch.x.items()}
    for name, entries in x.items():
        for b in (~batch.where(name)).nonzero().flatten().tolist():
            value, word = HIDDEN[b % len(HIDDEN)]
            entries[b] = value if entries.is_floating_point() else word
    return replace(batch, x=x)


def patterns(m: int) -> Iterator[tuple[str, Missing, Tensor]]:
    """Yield patterns of presence: a description, the :class:`Missing` under which it occurs, and Bool[M, B].

    They are of every scheme and ratio, of single rows, and with rows in which nothing is present.
    """
    names = tuple(ascii_lowercase[:m])
    split, everything = Missing(0.5, "split"), torch.ones(m, ROWS, dtype=torch.bool)
    schemes = ("split", "split:fixed", "only:a", "independent", "independent:keep=b")
    for scheme, ratio in product(schemes, (1 / 2, 15 / 16)):
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


@dataclass
class Case:
    """A factory of models, and an example that it takes."""

    factory: Factory
    where: str  # describes the example
    modalities: Sequence[Modality]
    latent_dim: int = LATENT
    layers: int = 1  # number of hidden layers; 0 makes networks linear
    model: MultimodalVAE = field(init=False)  # initialised from random entries, and moved a little
    complete: MultimodalBatch = field(init=False)  # four complete rows

    def __post_init__(self) -> None:
        self.model = self.untrained()
        self.model.initialise(lambda name, n: _random_entries(self.modalities[self.model.names.index(name)], n))
        with torch.no_grad():  # what starts at zero, such as a last layer, has to be trained before anything is seen
            for p in self.model.parameters():
                p.add_(MOVED * torch.randn(p.shape))
        self.complete = example_batch(self.modalities, torch.ones(len(self.modalities), 4, dtype=torch.bool))

    def untrained(self, seed: int = 0) -> MultimodalVAE:
        """Return a tiny seeded model, not initialised from data."""
        torch.manual_seed(seed)
        return self.factory(nets.registry.get("mlp")(self.modalities, self.latent_dim, hidden=5, layers=self.layers))

    @property
    def has_beta(self) -> bool:
        """Whether beta is among the model's options."""
        return "beta" in inspect.signature(self.factory).parameters

    def batches(self) -> Iterator[tuple[str, MultimodalBatch]]:
        """Yield a description and a batch of every pattern that the model does not refuse."""
        for what, missing, present in patterns(len(self.modalities)):
            if self.model.unsupported(self.modalities, missing) is None:
                for phase in range(len(self.model.phases)):
                    yield f"{self.where}, {what}", replace(example_batch(self.modalities, present), phase=phase)


def accepts(factory: Factory, modalities: Sequence[Modality]) -> bool:
    """Return whether a model takes complete rows of such data, asked before one is made."""
    ask = getattr(getattr(factory, "func", factory), "unsupported", None)
    return ask is None or ask(modalities, Missing()) is None


def undefined(what: Callable[[], object]) -> object:
    """Return what a call returns, or the :class:`Undefined` that it raises."""
    try:
        return what()
    except Undefined as reason:
        must(str(reason).strip(), "Undefined is raised without a sentence")
        return reason


def total(model: MultimodalVAE, batch: MultimodalBatch, seed: int = 2) -> Tensor:
    """Return the loss on fixed noise."""
    torch.manual_seed(seed)
    return model.train().loss(batch).total.detach()


def step(model: MultimodalVAE, batch: MultimodalBatch) -> tuple[Tensor, Tensor]:
    """Return loss and gradient on fixed noise; zeros for parameters without a gradient."""
    torch.manual_seed(2)
    model.train().zero_grad()
    loss = model.loss(batch).total
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return loss.detach(), torch.cat([g.flatten() for g in grads])


def same_step(model: MultimodalVAE, batch: MultimodalBatch, other: MultimodalBatch) -> bool:
    """Return whether two batches give the same loss and gradient on the same noise."""
    return all(torch.equal(a, b) for a, b in zip(step(model, batch), step(model, other), strict=True))
