"""Attacks whose best answer is known, and what chains and clean modalities repair."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmvae_bench.datasets.base import Rows
from mmvae_bench.errors import Undefined
from mmvae_bench.metrics import robustness
from mmvae_bench.metrics.base import Evaluation
from mmvae_bench.metrics.evaluate import evaluate
from mmvae_bench.metrics.robustness import CHAINS, attacked, repaired
from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.nets.base import Networks
from mmvae_bench.probability.distributions import DiagonalNormal
from mmvae_bench.probability.fusion import product
from mmvae_bench.types import Loss, Modality, MultimodalBatch
from tests.metrics.conftest import Perfect

METRICS = ["robustness_coherence", "robustness_probe"]

N = 32  # rows
C, SIDE = 4, 8  # classes, of which each lights a quarter of the picture
MASK = torch.eye(C).repeat_interleave(SIDE * SIDE // C, 1)  # [C, 64]


class Reader(nn.Module):
    """loc = the mean of each quarter, raised by ten times the corner's pixel: what an attack will find."""

    def __init__(self, fooled: float) -> None:
        super().__init__()
        self.fooled = fooled

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        loc = flat @ MASK.T / 16
        loc = loc + self.fooled * (flat[:, :1] - 0.5) * torch.tensor([1.0, -1.0, 1.0, -1.0])
        return torch.cat([loc, torch.full_like(loc, -2.0)], -1)


class Painter(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return (4 * (z @ MASK) - 2).reshape(*z.shape[:-1], 1, SIDE, SIDE)


class Quarters(MultimodalVAE):
    def __init__(self, fooled: float = 10.0) -> None:
        kinds = [Modality(name, (1, SIDE, SIDE), "bernoulli") for name in "ab"]
        super().__init__(Networks(kinds, C, lambda m, size: Reader(fooled), lambda m, size: Painter()))
        self.dummy = nn.Parameter(torch.zeros(1))

    def posterior(self, batch: MultimodalBatch) -> DiagonalNormal:
        return product(self.encode(batch), prior=False)

    def loss(self, batch: MultimodalBatch) -> Loss:
        raise NotImplementedError


class Brightest(Perfect):
    def predict(self, x: Tensor) -> np.ndarray:
        return (x.flatten(1) @ MASK.T).argmax(-1).numpy()


def rows(n: int, seed: int) -> Rows:
    label = np.random.default_rng(seed).permutation(np.arange(n) % C)
    picture = (40 + 150 * MASK.numpy()[label]).reshape(n, 1, SIDE, SIDE).astype(np.uint8)
    picture[:, 0, 0, 0] = 128  # the corner tells nothing
    return Rows({"a": picture, "b": picture.copy()}, label.astype(np.int64))


def evaluation(model: MultimodalVAE | None = None) -> Evaluation:
    oracles = {name: Brightest() for name in "ab"}
    return Evaluation((model or Quarters()).eval(), rows(200, 1), rows(100, 2), oracles, "quarters", 0, C)


@pytest.fixture(autouse=True, scope="module")
def few():
    """Fewer rows, radii and gradients than a run has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness, "ROWS", N)
        patch.setattr(robustness, "RADII", (0.0, 0.2))
        patch.setattr(robustness, "RESTARTS", 3)
        patch.setattr(robustness, "GRADIENTS", 300)
        yield


@pytest.fixture(scope="module")
def scores(few):
    """Of a decoder that is right and an encoder that is fooled by a corner."""
    return evaluate(evaluation(), METRICS)


def test_the_attack_on_a_linear_encoder_is_the_sign_of_its_weights():
    """loc = 10 (corner - 1/2) (1, -1, 1, -1) + means: the strongest corner is at the radius, and within [0, 1]."""
    ev = evaluation()
    batch = ev.batch(ev.test, 0, 6)
    x = attacked(ev.model, batch, "a", 0.1, torch.Generator().manual_seed(0))
    corner, moved = x[:, 0, 0, 0] - batch.x["a"][:, 0, 0, 0], (x - batch.x["a"]).abs()
    torch.testing.assert_close(corner.abs(), torch.full((6,), 0.1), atol=1e-5, rtol=0)
    assert (moved <= 0.1 + 1e-6).all() and (x >= 0).all() and (x <= 1).all()
    assert torch.equal(attacked(ev.model, batch, "a", 0.0, torch.Generator()), batch.x["a"])


def test_pixels_at_the_edge_stay_in_range():
    ev = evaluation()
    ev.test.x["a"][:, 0, 0, 0] = 255
    x = attacked(ev.model, ev.batch(ev.test, 0, 6), "a", 0.2, torch.Generator().manual_seed(0))
    torch.testing.assert_close(x[:, 0, 0, 0], torch.full((6,), 0.8), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_chains_and_clean_modalities_repair_what_the_attack_did(scores):
    """The decoder is right, so p(z | x) ignores the corner; the encoder is fooled into half of the classes."""
    found = {(s.variant, s.given, s.target): s for s in scores if s.metric == "robustness_coherence"}
    value = {key: s.value for key, s in found.items()}
    for name, other in ("ab", "ba"):
        for target in (name, other):
            assert value["0 none", name, target] > 0.95
            assert value["0.2 none", name, target] < 0.6
            for defence, least in {"hmc": 0.7, "mala": 0.7, "other hmc": 0.95}.items():  # starts are 30 sd away
                assert value[f"0.2 {defence}", name, target] > least
        assert all(0.3 < value[f"acceptance {r:g} {d}", name, ""] <= 1 for r in (0, 0.2) for d in CHAINS)
    score = found["0.2 none", "a", "b"]
    assert score.n == N and score.chance == pytest.approx(0.25, abs=0.1) and score.sampled == "rows"


@pytest.mark.slow
def test_a_probe_reads_the_same_and_the_attack_spares_a_sound_encoder(scores):
    found = {(s.variant, s.given): s.value for s in scores if s.metric == "robustness_probe"}
    assert found["0 none", "a"] > 0.95 and found["0.2 none", "a"] < 0.6 < 0.7 < found["0.2 hmc", "a"]
    sound = evaluation(Quarters(0.0))
    sound.model.no_prior = "no chain is asked"
    spared = {(s.variant, s.given): s.value for s in evaluate(sound, ["robustness_probe"])}
    assert spared["0.2 none", "a"] > 0.8


def test_both_chains_have_equally_many_gradients():
    assert {500 // kernel.leapfrogs * kernel.leapfrogs for kernel in CHAINS.values()} == {500}


def test_without_a_prior_chains_are_skipped_and_of_unimodal_models_other_modalities_are_a_control():
    model = Quarters()
    model.no_prior = "no p(z) here"
    model.cross_is_chance = True
    found = evaluate(evaluation(model), ["robustness_coherence"])
    assert all(s.control == (s.target != s.given or "other" in s.variant) for s in found)
    skipped = [s for s in found if s.value is None]
    assert {s.reason for s in skipped} == {"no p(z) here"}
    assert {s.variant.split(" ", 1)[1] for s in skipped} == {"hmc", "mala", "other hmc"}


def test_what_cannot_be_attacked_is_a_skipped_row(world, monkeypatch):
    monkeypatch.setattr(robustness, "GRADIENTS", 20)
    (row,) = evaluate(world(), ["robustness_probe"])
    assert row.reason == "attacks are on pictures, and no modality is one"
    ev = evaluation()
    whole = ev.model.posterior
    ev.model.posterior = lambda batch: DiagonalNormal(*(x.detach() for x in vars(whole(batch)).values()))
    with pytest.raises(Undefined, match="no gradient by its input"):
        attacked(ev.model, ev.batch(ev.test, 0, 4), "a", 0.1, torch.Generator().manual_seed(0))
    assert {r.reason for r in repaired(ev) if r.radius} == {
        "its posterior has no gradient by its input, which an attack follows"
    }
