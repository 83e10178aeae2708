"""What models share whose every modality has a latent z_m of its own: x_m is decoded from z_m ~ q(z | x_m)."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from mmvae_bench.models.base import MultimodalVAE
from mmvae_bench.probability.fusion import Mixture
from mmvae_bench.types import MultimodalBatch


class PrivateLatents(MultimodalVAE):
    """A subset's posterior is the uniform mixture of its experts; a target that is given is decoded from its own."""

    joint_posterior = False  # the mixture is ours, for comparison (protocol 14)

    def posterior(self, batch: MultimodalBatch) -> Mixture:
        """(1 / |A|) sum over m in A of q(z | x_m)."""
        return Mixture(self.encode(batch))

    def posterior_for(self, target: str, batch: MultimodalBatch) -> Mixture:
        """q(z | x_t) in rows where the target itself is given, else the mixture."""
        own = torch.tensor([name == target for name in self.names], device=batch.present.device)[:, None]
        return self.posterior(replace(batch, present=batch.present & (own | ~batch.where(target))))

    def own_log_px(self, z: Float[Tensor, "M B L"], batch: MultimodalBatch) -> Float[Tensor, "M B"]:
        """log p(x_m | z_m), each modality from its own latent."""
        return torch.stack([self.log_px_of(name, z[m], batch) for m, name in enumerate(self.names)])
