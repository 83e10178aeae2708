"""JNF (Senellart et al., 2025): a VAE of all modalities, and then a normalising flow of each one's posterior."""

import torch
from torch import Tensor, nn

from mmvae_bench.errors import BenchError
from mmvae_bench.models.jmvae import JointEncoder
from mmvae_bench.nets.base import Networks
from mmvae_bench.options import Positive, Weight
from mmvae_bench.probability.bounds import row_mean
from mmvae_bench.probability.distributions import kl
from mmvae_bench.probability.flows import FlowProduct
from mmvae_bench.types import Loss, MultimodalBatch

try:
    import zuko
except ImportError as error:
    raise BenchError("The model 'jnf' needs zuko: pip install 'mmvae-bench[flows]'.") from error


NEAR = 0.1  # factor of the flows' last layers before training


class JNF(JointEncoder):
    """Two phases of equal length, on complete rows; others do not count, as the paper has none:

        E_{q(z | x)}[ sum_m log p(x_m | z) ] - beta KL(q(z | x) || N(0, I)),    q(z | x) = q(z | x_1 .. x_M)
        sum_m E_{q(z | x)}[ log q_m(z | x_m) ],    z = T_m(v), v ~ N(mu_m(x_m), s_m(x_m)^2), all else being frozen

    T_m is a flow of coupling layers (zuko), exact in both directions. Of several modalities, not all,

        q(z | x_A) proportional to p(z)^(1 - |A|) prod over m in A of q_m(z | x_m)

    is drawn by annealed importance resampling; MultiVae draws it by Hamiltonian Monte Carlo. It can be normalised where
    the q_m are narrower than p(z): flows start near the identity.

    Args:
        transforms: number of coupling layers of a flow.
        hidden: width of their nets, which have two hidden layers.
    """

    version = 2
    phases = (0.5, 0.5)

    def __init__(
        self, networks: Networks, *, beta: Weight = 1.0, transforms: Positive = 4, hidden: Positive = 128
    ) -> None:
        super().__init__(networks, beta=beta)
        size, nets = networks.latent_dim, (hidden, hidden)
        with torch.device("cpu"):  # zuko asks for values of masks, which a plan's models without memory lack
            made = [zuko.flows.MAF(size, transforms=transforms, hidden_features=nets, passes=2) for _ in self.names]
        self.flows = nn.ModuleList(flow.transform for flow in made).to(next(networks.parameters()).device)
        for name, p in self.flows.named_parameters():
            if ".hyper.4." in name:  # the last layer of a net with two hidden ones
                p.data *= NEAR

    def embed(self, name: str, x: Tensor) -> Tensor:
        """Return what an encoder of one modality reads; vectors of words are the joint encoder's, and do not learn."""
        return super().embed(name, x).detach()

    def posterior(self, batch: MultimodalBatch) -> FlowProduct:
        """Return q(z | x_A)."""
        return FlowProduct(self.joint(batch), self.encode(batch), [flow() for flow in self.flows])

    def loss(self, batch: MultimodalBatch) -> Loss:
        """Return -(the objective of the phase), one z per complete row."""
        q, complete, nothing = self.joint(batch), batch.present.all(0), torch.zeros_like(batch.present[0].float())
        if batch.phase == 0:
            log_px, divergence = self.log_px(q.rsample(), batch, where=complete).sum(0), kl(q)
            bound = torch.where(complete, log_px - self.beta * divergence, 0.0)
            return row_mean(bound, batch.present, log_px=log_px, kl=divergence, log_q=nothing)
        found = FlowProduct(q, self.encode(batch), [flow() for flow in self.flows])
        log_q = torch.where(complete, found.log_each(q.rsample().detach()).sum(0), 0.0)
        return row_mean(log_q, batch.present, log_px=nothing, kl=nothing, log_q=log_q)
