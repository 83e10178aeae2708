"""A mixture of Gaussians as prior, fitted to latents after training (Ghosh et al. 2020, Section 4)."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.distributions import MultivariateNormal

from mmvae_bench.options import Positive
from mmvae_bench.priors.base import Encodings


@dataclass(frozen=True)
class GaussianMixture:
    """p(z) = sum_c w_c N(z; m_c, R_c R_c'), in double precision."""

    weight: Float[Tensor, " C"]  # w
    loc: Float[Tensor, "C L"]  # m
    root: Float[Tensor, "C L L"]  # R, lower triangular

    def rsample(self, k: int, generator: Generator | None = None) -> Float[Tensor, "k 1 L"]:
        """Return k draws."""
        chosen = torch.multinomial(self.weight, k, replacement=True, generator=generator)
        noise = torch.randn(k, self.loc.shape[-1], 1, generator=generator, dtype=self.loc.dtype, device=self.loc.device)
        return (self.loc[chosen] + (self.root[chosen] @ noise)[..., 0])[:, None].float()

    def log_prob(self, z: Float[Tensor, "*any L"]) -> Float[Tensor, "*any"]:
        """Return log p(z)."""
        components: Any = MultivariateNormal(self.loc, scale_tril=self.root)
        each: Tensor = components.log_prob(z.to(self.loc)[..., None, :])
        return torch.logsumexp(each + self.weight.log(), -1).to(z)


def gmm(known: Encodings, *, components: Positive = 10) -> GaussianMixture:
    """Mixture of Gaussians with full covariances, fitted by scikit-learn; 10 components are what RAEs take."""
    from sklearn import mixture

    z = known.fitted.flatten(0, 1).double().cpu().numpy()
    seed = int(torch.randint(2**31, (1,), generator=known.generator("gmm"), device=known.held.device))
    found = mixture.GaussianMixture(min(components, len(z)), random_state=seed).fit(z)
    weight, loc, covariance = (
        torch.as_tensor(x, device=known.held.device) for x in (found.weights_, found.means_, found.covariances_)
    )
    return GaussianMixture(weight, loc, torch.linalg.cholesky(covariance))
