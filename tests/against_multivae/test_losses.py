"""Our losses and gradients against those of multivae 1.0.3 (extra ``speed``): same weights, batch and noise."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmvae_bench.models.base import MIN_SCALE
from mmvae_bench.probability import fusion
from mmvae_bench.probability.distributions import DiagonalNormal
from mmvae_bench.types import MultimodalBatch
from tests.helpers import batch, benchmark, modalities, model

multivae = pytest.importorskip("multivae.models", reason="multivae is not installed: pip install 'mmvae-bench[speed]'")
from multivae.data.datasets.base import DatasetOutput  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
M, B, L, S = 3, 7, 5, 3  # modalities, rows (one for each subset), latents, of which shared


def log_variance(raw: Tensor) -> Tensor:
    """That of our scale, softplus(raw) + 1e-4."""
    return 2 * (F.softplus(raw) + MIN_SCALE).log()


@pytest.fixture(autouse=True)
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same noise for both: of a row and of a sample k, the same in all dimensions of z."""

    def drawn(k_axes: int) -> Callable[..., Tensor]:
        def draw(shape: tuple[int, ...], *args: Any, **kwargs: Any) -> Tensor:
            rows = torch.sin(1 + torch.arange(shape[-2], dtype=torch.float64))[:, None]
            if len(shape) == k_axes:
                rows = rows * (1 + torch.arange(shape[0], dtype=torch.float64)).reshape(-1, *(1,) * (k_axes - 1))
            return rows.expand(shape)

        return draw

    ours, theirs = drawn(4), drawn(3)
    monkeypatch.setattr(DiagonalNormal, "noise", staticmethod(lambda shape, like, generator: ours(shape)))
    monkeypatch.setattr(torch.distributions.normal, "_standard_normal", theirs)
    even = (torch.arange(B, dtype=torch.float64) + 0.5) / B
    monkeypatch.setattr(fusion, "stratify", lambda rows, like: even)


def pair(name: str, theirs: str, options: dict[str, Any], config: dict[str, Any], shared: int = L) -> tuple[Any, Any]:
    """Our model and theirs on the same networks."""
    ours = model(name, m=M, latent_dim=L, kinds=modalities(M, weight=1.0), **options)
    of = ours.modalities
    configuration = getattr(multivae, f"{theirs}Config")(
        n_modalities=M, latent_dim=shared, input_dims={m.name: m.shape for m in of},
        decoders_dist={m.name: m.likelihood for m in of}, decoder_dist_params={m.name: {"scale": m.scale} for m in of},
        **config,
    )  # fmt: skip
    nets = benchmark("speed/steps/adapters").adapted(ours, shared, log_variance)
    return ours, getattr(multivae, theirs)(configuration, **nets).double().train()


def losses(ours: Any, theirs: Any, data: MultimodalBatch) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Loss and gradient of the networks of both, theirs as a mean over rows."""
    parameters = [*ours.networks.parameters()]
    mine = ours.train().loss(data).total
    shown = {"data": {name: data.visible(name) for name in data.names}}
    if not data.present.all():
        shown["masks"] = {name: data.where(name) for name in data.names}
    found = theirs(DatasetOutput(**shown), epoch=100, batch_ratio=0, dataset_size=B)
    summed = "loss_sum" in found and not isinstance(theirs, multivae.MVAE)  # MVAE's is times the last subset's rows
    other = found.loss_sum / B if summed else found.loss
    return tuple((value, *torch.autograd.grad(value, parameters, allow_unused=True)) for value in (mine, other))


CASES: dict[str, tuple[Any, ...]] = {
    "mvae": ("mvae", "MVAE", {"k": 0, "beta": 1.3}, {"k": 0, "beta": 1.3}),
    "mmvae iwae": (
        "mmvae", "MMVAE", {"k": 2, "estimator": "iwae"},
        {"K": 2, "prior_and_posterior_dist": "normal", "learn_prior": False, "loss": "iwae_looser"},
    ),
    "mmvae dreg": (
        "mmvae", "MMVAE", {"k": 2, "estimator": "dreg"},
        {"K": 2, "prior_and_posterior_dist": "normal", "learn_prior": False, "loss": "dreg_looser"},
    ),
    "mopoe": (
        "mopoe", "MoPoE", {"beta": 1.3, "prior_expert": "full"},
        {"beta": 1.3, "subsets": [["a"], ["b"], ["a", "b"], ["c"], ["a", "c"], ["b", "c"], ["a", "b", "c"]]},
    ),
    "mvtcae": ("mvtcae", "MVTCAE", {"beta": 1.3, "alpha": 0.3}, {"beta": 1.3, "alpha": 0.3}),
    "crmvae": ("crmvae", "CRMVAE", {"beta": 1.3}, {"beta": 1.3}),
    "jmvae": ("jmvae", "JMVAE", {"alpha": 0.3}, {"alpha": 0.3, "warmup": 1}),
    "dmvae": (
        "dmvae", "DMVAE", {"private": 0.4, "beta": 1.3},
        {"beta": 1.3, "modalities_specific_dim": dict.fromkeys("abc", L - S),
         "modalities_specific_betas": dict.fromkeys("abc", 1.3)}, S,
    ),
    "mmvaeplus": (
        "mmvaeplus", "MMVAEPlus", {"private": 0.4, "k": 2, "estimator": "iwae", "beta": 1.3},
        {"beta": 1.3, "K": 2, "prior_and_posterior_dist": "normal", "learn_shared_prior": False,
         "learn_modality_prior": True, "modalities_specific_dim": L - S, "loss": "iwae_looser"}, S,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_agree_on_complete_rows(case: str) -> None:
    """With DReG multivae logs the surrogate, whose gradient is the estimator's, and we log the bound."""
    ours, theirs = pair(*CASES[case])
    mine, other = losses(ours, theirs, batch(ours, B))
    first = 1 if case == "mmvae dreg" else 0
    torch.testing.assert_close(mine[first:], other[first:], rtol=1e-4, atol=1e-6)


MIXED = torch.tensor([[1, 1, 1, 0, 1, 0, 1], [1, 1, 0, 1, 0, 1, 1], [1, 0, 1, 1, 0, 0, 1]], dtype=torch.bool)
PAIRS = torch.tensor([[1], [1], [0]], dtype=torch.bool).expand(M, B)


@pytest.mark.parametrize("case", ["mmvae iwae", "mmvae dreg", "dmvae", "mmvaeplus"])
def test_losses_and_gradients_agree_on_incomplete_rows(case: str) -> None:
    ours, theirs = pair(*CASES[case])
    mine, other = losses(ours, theirs, batch(ours, B, present=MIXED))
    first = 1 if case == "mmvae dreg" else 0
    torch.testing.assert_close(mine[first:], other[first:], rtol=1e-4, atol=1e-6)


def test_incomplete_rows_of_mvae_agree_where_all_have_one_pattern() -> None:
    """multivae averages the ELBO of each subset over the rows that have it; we average sums over all rows (Eq. 7)."""
    ours, theirs = pair(*CASES["mvae"])
    torch.testing.assert_close(*losses(ours, theirs, batch(ours, B, present=PAIRS)), rtol=1e-4, atol=1e-6)
    mine, other = losses(ours, theirs, batch(ours, B, present=MIXED))
    assert (mine[0] - other[0]).abs() > 1


def test_incomplete_rows_of_mvtcae_agree_without_the_term_that_counts_modalities() -> None:
    """multivae keeps M in rows that have fewer; with alpha 0 nothing is divided by it."""
    options = {"alpha": 0.0, "beta": 1.3}
    ours, theirs = pair("mvtcae", "MVTCAE", options, options)
    torch.testing.assert_close(*losses(ours, theirs, batch(ours, B, present=MIXED)), rtol=1e-4, atol=1e-6)


def test_incomplete_rows_of_crmvae_differ_by_the_number_that_divides_them() -> None:
    """multivae divides by M + 1 in rows that have fewer, and we by |P| + 1."""
    ours, theirs = pair(*CASES["crmvae"])
    mine, other = losses(ours, theirs, batch(ours, B, present=PAIRS))
    for own, their in zip(mine, other, strict=True):
        torch.testing.assert_close(None if own is None else own * 3 / (M + 1), their, rtol=1e-4, atol=1e-6)


def test_multivaes_beta_leaves_out_what_alpha_weighs() -> None:
    """Ours multiplies every KL: theirs with alpha times beta is ours."""
    ours, theirs = pair("jmvae", "JMVAE", {"alpha": 0.3, "beta": 2.0}, {"alpha": 0.6, "beta": 2.0, "warmup": 1})
    torch.testing.assert_close(*losses(ours, theirs, batch(ours, B)), rtol=1e-4, atol=1e-6)


def test_the_auxiliary_prior_of_mmvaeplus_has_the_gradient_of_multivaes() -> None:
    """Theirs has log-variances, ours log scales: half of it; away from where both start."""
    ours, theirs = pair(*CASES["mmvaeplus"])
    torch.nn.init.normal_(ours.log_r)
    for row, name in zip(ours.log_r, ours.names, strict=True):
        theirs.logvars_priors[name].data = 2 * row.detach()[None].clone()
    data = batch(ours, B)
    mine = torch.autograd.grad(ours.train().loss(data).total, ours.log_r)[0]
    other = theirs(DatasetOutput(data=dict(data.x)), epoch=100).loss / B
    found = torch.autograd.grad(other, [theirs.logvars_priors[name] for name in ours.names])
    torch.testing.assert_close(mine, 2 * torch.cat(found), rtol=1e-4, atol=1e-6)


def test_jmvae_takes_incomplete_rows_and_multivaes_refuses_them() -> None:
    ours, theirs = pair(*CASES["jmvae"])
    with pytest.raises(AttributeError, match="not compatible with incomplete"):
        losses(ours, theirs, batch(ours, B, present=MIXED))
