"""Priors beside the model's own: the aggregate, for every model, and learned ones (protocol 17)."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mmvae_bench.errors import TrainingFailed, Undefined, in_a_line
from mmvae_bench.metrics.base import CHUNK, Evaluation, Made, Score, once
from mmvae_bench.metrics.oracle import Judged
from mmvae_bench.options import parse_named, resolve
from mmvae_bench.priors import OWN, registry
from mmvae_bench.priors.base import Encodings
from mmvae_bench.probability.distributions import Diagonal, DiagonalNormal, Prior
from mmvae_bench.probability.fusion import Mixture, everywhere
from mmvae_bench.seeds import seed_for

BLOCK = 2**22  # elements of one temporary array in log_prob


@dataclass(frozen=True)
class Aggregate(Mixture):
    """A mixture of R experts of batch shape [R, 1], all present, whose density stays cheap for many z.

    For Normal experts the squares are expanded, sum_d ((z_d - m_d) / s_d)^2 = z^2 . s^-2 - 2 z . m s^-2 + m^2 . s^-2:
    R densities at N points are two matrix products; in double precision, because the terms nearly cancel.
    """

    def log_prob(self, z: Float[Tensor, "*any one D"]) -> Float[Tensor, "*any one"]:
        """log (1 / R) sum_r q_r(z)."""
        flat = z.reshape(-1, z.shape[-1])
        size = max(1, BLOCK // len(self.experts.present))
        density = self._normal if isinstance(self.experts.q, DiagonalNormal) else self._any
        return torch.cat([density(part) for part in torch.split(flat, size)]).to(z).reshape(z.shape[:-1])

    def _normal(self, z: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        loc, scale, z = self.experts.q.loc[:, 0].double(), self.experts.q.scale[:, 0].double(), z.double()
        centre = loc.mean(0)  # a shift changes nothing, and less cancels
        loc, z, precision = loc - centre, z - centre, scale.pow(-2)
        constant = (loc.square() * precision + 2 * scale.log() + math.log(2 * math.pi)).sum(-1)
        each = z.square() @ precision.T - 2 * z @ (loc * precision).T + constant
        return torch.logsumexp(-0.5 * each, -1) - math.log(len(loc))

    def _any(self, z: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        parts = torch.split(z, max(1, len(z) // z.shape[-1]))
        return torch.cat([super(Aggregate, self).log_prob(part[:, None])[:, 0] for part in parts])


@once
@torch.no_grad()
def aggregate_prior(ev: Evaluation) -> Mixture:
    """p(z) = (1 / R) sum_r q(z | x_m_r) over R = 1000 seeded present training entries, R / M of each modality.

    Where a posterior given one modality is itself a mixture, its components enter one by one.

    Raises:
        Undefined: If the posteriors are neither diagonal nor mixtures of diagonals.
    """
    parts: list[Diagonal] = []
    for m, name in enumerate(ev.names):
        seen = np.arange(len(ev.train)) if ev.present is None else np.flatnonzero(ev.present[m])
        rows = seen[ev.draw(f"aggregate {name}", math.ceil(1000 / len(ev.names)), len(seen))]
        for batch in ev.chunks(ev.train.take(rows)):
            q: object = ev.model.posterior(batch.given(name))
            if isinstance(q, Mixture):
                q = q.experts.q[q.experts.counted]
            if not isinstance(q, Diagonal):
                needed = "diagonal posteriors or mixtures of them"
                raise Undefined(f"the aggregate prior needs {needed}, not {type(q).__name__}")
            parts.append(q)
    family = type(parts[0])
    return Aggregate(everywhere(family(torch.cat([p.loc for p in parts]), torch.cat([p.scale for p in parts]))))


FITTED, CHOSEN, HELD = 10_000, 1000, 1000  # training rows, or as many in this proportion as there are
EACH = 4  # draws of q(z | x) of each of them


@once
@torch.no_grad()
def encodings(ev: Evaluation) -> Encodings:
    """Return draws of q(z | x) of training rows, x being what the run saw of a row, for priors that are learned.

    Raises:
        Undefined: If there are fewer than three rows.
        TrainingFailed: If a draw is not finite.
    """
    seen = np.ones((len(ev.names), len(ev.train)), bool) if ev.present is None else ev.present
    rng = np.random.default_rng(seed_for("eval", ev.dataset, ev.seed, "learned prior"))
    rows = rng.permutation(np.flatnonzero(seen.any(0)))[: FITTED + CHOSEN + HELD]
    if len(rows) < 3:
        raise Undefined("a prior cannot be learned from fewer than three training rows")
    present = seen[:, rows]
    if not ev.model.joint_posterior:
        one = np.where(present, rng.random(present.shape), -1.0).argmax(0)
        present = one == np.arange(len(ev.names))[:, None]
    generator, parts = ev.generator("learned prior"), []
    for start, batch in zip(range(0, len(rows), CHUNK), ev.chunks(ev.train.take(rows)), strict=True):
        mask = torch.as_tensor(present[:, start : start + CHUNK], device=ev.device)
        q = ev.model.posterior(batch.shown(mask))
        parts.append(q.rsample(EACH, generator))
    z = torch.cat(parts, 1)
    if not z.isfinite().all():
        raise TrainingFailed("latents of training rows have values that are not finite")
    held = max(1, len(rows) * HELD // (FITTED + CHOSEN + HELD))
    base: Diagonal = DiagonalNormal(z.mean((0, 1))[None], z.flatten(0, 1).std(0)[None])
    with suppress(Undefined):
        own = ev.model.prior()
        base = own if isinstance(own, Diagonal) else base  # a mixture may have modes that no posterior reaches
    fitted, chosen, last = torch.split(z, [len(rows) - 2 * held, held, held], 1)
    return Encodings(fitted, chosen, last, base, lambda purpose: ev.generator("learned prior", purpose))


@once
@torch.no_grad()
def learned(ev: Evaluation, label: str) -> Prior:
    """Return a learned prior, fitted to :func:`encodings`.

    Raises:
        Undefined: If it cannot be fitted, drawn from, or evaluated; a trained run is not lost for that.
    """
    named, known = parse_named(label), encodings(ev)
    factory = registry.get(named.name)
    try:
        prior: Prior = factory(known, **resolve(factory, named))
        finite = prior.log_prob(prior.rsample(2, ev.generator("learned prior", "tried"))).isfinite()
    except (Undefined, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise Undefined(f"the prior '{label}' failed: {in_a_line(error)}") from error
    if finite.shape != (2, 1) or not finite.all():
        raise Undefined(
            f"the prior '{label}' failed: two draws have log densities of shape {[*finite.shape]}, or not finite"
        )
    return prior


def prior_of(ev: Evaluation, label: str) -> Prior | None:
    """Return a prior that stands in place of the model's own, or None for the model's own.

    Raises:
        Undefined: If the model has no such prior.
    """
    return None if label == "model" else aggregate_prior(ev) if label == "aggregate" else learned(ev, label)


PRIOR_SAMPLES = 2000  # the standard error is at most .011, below the sd between seeds, at a fifth of 10,000's cost
DRAW = 500  # of them decoded at a time


@dataclass(frozen=True)
class Draws:
    """Entries decoded from :data:`DRAW` draws of a prior, on the CPU; each modality is judged once."""

    ev: Evaluation
    x: Mapping[str, Tensor]  # modality -> [n, *shape]
    known: dict[str, Judged] = field(default_factory=dict)

    def verdict(self, name: str) -> Judged:
        """Return what the judge of a modality says."""
        if name not in self.known:
            self.known[name] = self.ev.verdict(name, self.x[name])
        return self.known[name]


@once
def _drawn(ev: Evaluation, prior: str) -> tuple[torch.Generator, list[Draws]]:
    """Return the generator of a prior's draws, and those that metrics have asked for: all share them."""
    return ev.generator("joint_coherence", prior), []


@torch.no_grad()
def draws(ev: Evaluation, prior: str, n: int) -> list[Draws]:
    """Return at least n decoded draws of a prior, in parts.

    Raises:
        Undefined: If the model has no such prior.
    """
    generator, parts = _drawn(ev, prior)
    p = prior_of(ev, prior)
    while len(parts) * DRAW < n:
        x = ev.model.decode(p.rsample(DRAW, generator)[:, 0]) if p else ev.model.sample_prior(DRAW, generator)
        parts.append(Draws(ev, {name: entries.cpu() for name, entries in x.items()}))
    return parts[: math.ceil(n / DRAW)]


def under_priors(
    ev: Evaluation, read: Callable[[Draws], Made], most: int = PRIOR_SAMPLES
) -> Iterator[tuple[Score, list[Made]]]:
    """Yield for each prior a score without value, and what ``read`` returns of each part of the draws.

    They are ``most``, or fewer where there are fewer than 500 test rows: four for each row, but at least 500. Where the
    model has no such prior, the list is empty and the score has the reason.
    """
    n = min(most, max(1, 4 * len(ev.test) // DRAW) * DRAW)
    for prior in (*OWN, *ev.priors):
        row = Score(None, prior=prior, target="+".join(ev.names), control=ev.model.cross_is_chance)
        try:
            yield row, [read(part) for part in draws(ev, prior, n)]
        except Undefined as reason:
            yield replace(row, reason=str(reason)), []
