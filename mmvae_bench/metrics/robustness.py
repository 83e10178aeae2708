"""Attacks on the encoder of one modality, and what repairs its latents (Kuzina et al. 2022); for one's own models.

Chains target p(z | x), so they repair an encoder that is misled; a perturbation that the decoder explains they keep.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Generator, Tensor

from mmvae_bench.errors import Undefined
from mmvae_bench.metrics.base import Description, Evaluation, Score, metric, once
from mmvae_bench.metrics.classes import judged_labels, majority, probe
from mmvae_bench.metrics.oracle import CPU, is_picture
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.models.draws import Draws
from mmvae_bench.probability.distributions import DiagonalNormal, kl
from mmvae_bench.sampling.chains import HMC, MALA, Kernel, sample
from mmvae_bench.types import MultimodalBatch

RADII = (0.0, 0.1, 0.2)  # of pixels in [0, 1]; 0 is no attack
ROWS = 64
STEPS, RESTARTS = 50, 3  # of the attack
GRADIENTS = 500  # of a chain, of which three fifths are burn-in
CHAINS: Mapping[str, Kernel] = {"hmc": HMC, "mala": MALA}


def symmetric_kl(model: MultimodalVAE, batch: MultimodalBatch, p: DiagonalNormal) -> Float[Tensor, " B"]:
    """Return KL(q || p) + KL(p || q), q being the Normal with the moments of q(z | x_A)."""
    posterior = model.posterior(batch)
    q = DiagonalNormal(posterior.mean, posterior.stddev)
    return kl(q, p) + kl(p, q)


def attacked(
    model: MultimodalVAE, batch: MultimodalBatch, name: str, radius: float, generator: Generator
) -> Float[Tensor, "B ..."]:
    """Return x_m + d, |d| <= radius in each pixel, that moves q(z | x_m) furthest: max over d of :func:`symmetric_kl`.

    The paper climbs by plain gradients; here each of 50 steps is 2.5 radius / 50 times their sign (Madry et al. 2018),
    which needs no rate of its own. Of three random starts the strongest is kept, row by row. Pixels stay in [0, 1].

    Raises:
        Undefined: If the posterior has no gradient by its input.
    """
    x, best = batch.x[name], batch.x[name]
    if not radius:
        return x
    with torch.no_grad():
        clean = model.posterior(batch.given(name))
        p, strength = DiagonalNormal(clean.mean, clean.stddev), torch.full_like(clean.mean[:, 0], -torch.inf)

    def moved(d: Tensor) -> Tensor:
        return symmetric_kl(model, replace(batch, x={**batch.x, name: x + d}).given(name), p)

    for _ in range(RESTARTS):
        d = radius * (2 * torch.rand(x.shape, generator=generator, device=x.device) - 1)
        for _ in range(STEPS):
            with torch.enable_grad():
                d = ((x + d).clamp(0, 1) - x).detach().requires_grad_()
                distance = moved(d).sum()
                if not distance.requires_grad:
                    raise Undefined("its posterior has no gradient by its input, which an attack follows")
                (slope,) = torch.autograd.grad(distance, d)
            d = (d.detach() + 2.5 * radius / STEPS * slope.sign()).clamp(-radius, radius)
        d = (x + d).clamp(0, 1) - x
        with torch.no_grad():
            found = moved(d)
        stronger = found > strength
        best = torch.where(stronger.reshape(-1, *(1,) * (x.dim() - 1)), x + d, best)
        strength = torch.where(stronger, found, strength)
    return best


@dataclass(frozen=True)
class Repaired:
    """Latents after an attack and a defence, or the reason why there are none."""

    attacked: str
    radius: float
    defence: str  # ``none``, a chain, ``other`` for the clean other modalities, or both
    given: tuple[str, ...]
    z: Float[Tensor, "N L"] | None = None
    acceptance: float | None = None
    reason: str = ""

    @property
    def variant(self) -> str:
        """Name of the score: the radius and the defence."""
        return f"{self.radius:g} {self.defence}"


@once
def repaired(ev: Evaluation) -> list[Repaired]:
    """Return the latents of the chosen rows for each attacked modality, radius and defence.

    Raises:
        Undefined: If no modality is a picture, or the model decodes nothing.
    """
    ev.check_decoders()
    pictures = [m.name for m in ev.model.modalities if m.dtype == "uint8" and is_picture(m.shape)]
    if not pictures:
        raise Undefined("attacks are on pictures, and no modality is one")
    batch, found = ev.batch(ev.test.take(ev.item_rows(ROWS))), []
    for name in pictures:
        others = [[name], list(ev.names)] if len(ev.names) > 1 else [[name]]
        for radius in RADII:
            generator = ev.generator("attack", name, f"{radius:g}")
            row = Repaired(name, radius, "none", (name,))
            try:
                x = attacked(ev.model, batch, name, radius, generator)
            except Undefined as reason:
                found.append(replace(row, reason=str(reason)))
                continue
            now = replace(batch, x={**batch.x, name: x})
            for given in others:
                found += _defended(ev, now, replace(row, given=tuple(given)))
    return found


def _defended(ev: Evaluation, batch: MultimodalBatch, row: Repaired) -> Iterator[Repaired]:
    """Yield a draw of q(z | x_A), and the last state of each chain on p(z | x_A) that starts there."""
    other, generator = "other" if len(row.given) > 1 else "", ev.generator("defence", row.attacked, *row.given)
    with torch.no_grad():
        q = ev.model.posterior(batch.given(*row.given))
        draws = Draws(ev.model, batch, row.given, q, [], q.rsample(1, generator))
    yield replace(row, defence=other or "none", z=draws.z[0])
    for name, kernel in CHAINS.items():
        if other and name != "hmc":
            continue
        moves = GRADIENTS // kernel.leapfrogs
        try:
            ev.model.prior()
            chains = sample(
                lambda z: ev.model.log_posterior(draws.at(z)), draws.z, kernel, burn_in=moves * 3 // 5,
                draws=moves - moves * 3 // 5, scale=q.stddev.detach(), generator=generator,
            )  # fmt: skip
        except Undefined as reason:
            yield replace(row, defence=f"{other} {name}".strip(), reason=str(reason))
            continue
        acceptance = float(chains.acceptance.mean())
        yield replace(row, defence=f"{other} {name}".strip(), z=chains.z[-1, 0], acceptance=acceptance)


DEFENCES = {
    "none": "z is drawn from q(z | x) of the attacked x",
    "hmc": f"z is the last state of a chain on p(z | x) of the attacked x, after {GRADIENTS} gradients",
    "mala": f"the same by Langevin steps, after {GRADIENTS} gradients",
    "other": "the other modalities are given too, and clean",
    "acceptance": "share of the chain's proposals that were accepted",
}


def _labels(ev: Evaluation) -> NDArray[np.int64]:
    """Return the classes of the chosen rows, or raise :class:`Undefined` if they cannot be judged."""
    judged_labels(ev)
    return np.asarray(ev.test.take(ev.item_rows(ROWS)).label)


def _scores(
    ev: Evaluation, outcomes: Callable[[Repaired, str], NDArray[np.bool_]], targets: tuple[str, ...], ceilings: bool
) -> Iterator[Score]:
    """Yield the score of each attack, defence and target."""
    chance = majority(_labels(ev))
    for found in repaired(ev):
        for target in targets:
            control = ev.model.cross_is_chance and (len(found.given) > 1 or target not in ("", found.attacked))
            ceiling = ev.oracles[target].accuracy if ceilings else None
            row = Score(None, found.variant, given=found.attacked, target=target, chance=chance, ceiling=ceiling)
            row = replace(row, control=control, reason=found.reason)
            yield row if found.z is None else row.mean(outcomes(found, target))


@metric(
    Description(
        "Coherence under attack",
        "Share of entries, decoded from latents of an attacked picture, that the oracle puts into the right class. "
        "Variants: the attack's radius, and the defence.",
        DEFENCES,
        bounds=(0.0, 1.0),
        unranked=("acceptance",),
        drawn=(),
        against="radius of the attack",
    ),
)
def robustness_coherence(ev: Evaluation) -> Iterator[Score]:
    """Classes of every x_t decoded from z after an attack on the encoder of one picture, at radius 0, .1 and .2.

    ``given`` is the attacked modality; with the defence ``other`` all others are given too, clean. 64 test rows, the
    same for every run; the attack knows neither the chain nor the others. Computed only when it is named.
    """
    true = _labels(ev)
    targets = tuple(name for name in ev.names if name in ev.oracles)

    @torch.no_grad()
    def right(found: Repaired, target: str) -> NDArray[np.bool_]:
        x = ev.model.decode(found.z, [target])[target].to(CPU)  # type: ignore[arg-type]
        return np.asarray(ev.verdict(target, x).classes == true)

    yield from _scores(ev, right, targets, ceilings=True)
    for found in repaired(ev):
        if found.acceptance is not None:
            yield Score(found.acceptance, f"acceptance {found.variant}", given=found.attacked, n=ROWS)


@metric(
    Description(
        "Probe under attack",
        "Test accuracy, on latents of an attacked picture, of a logistic regression fitted on clean training rows. "
        "Variants: the attack's radius, and the defence.",
        DEFENCES,
        bounds=(0.0, 1.0),
        drawn=(),
        against="radius of the attack",
    ),
)
def robustness_probe(ev: Evaluation) -> Iterator[Score]:
    """Like :func:`robustness_coherence`, of a probe on z; it is fitted on samples given the same modalities."""
    true, fitted = _labels(ev), np.asarray(ev.probe_rows.label)
    classes: dict[tuple[tuple[str, ...], str, str], NDArray[np.int64]] = {}
    found = [one for one in repaired(ev) if one.z is not None]
    for given in dict.fromkeys(one.given for one in found):  # one probe for all latents given the same
        own = [one for one in found if one.given == given]
        z = torch.cat([one.z for one in own if one.z is not None]).cpu().numpy()
        parts = np.split(probe(ev.latents(given, "train").sample, fitted, z), len(own))
        classes |= {(given, one.attacked, one.variant): part for one, part in zip(own, parts, strict=True)}

    def right(one: Repaired, _: str) -> NDArray[np.bool_]:
        return np.asarray(classes[one.given, one.attacked, one.variant] == true)

    yield from _scores(ev, right, ("",), ceilings=False)
