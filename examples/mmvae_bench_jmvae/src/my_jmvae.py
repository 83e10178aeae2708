"""JMVAE-kl (Suzuki, Nakayama and Matsuo 2016, arXiv 1611.01891) as a plug-in of mmvae-bench."""

from copy import deepcopy

import torch
from torch import nn

from mmvae_bench import DiagonalNormal, MultimodalVAE, Weight, kl, product, row_mean


class JMVAE(MultimodalVAE):
    """E_{q(z|x)}[ sum_m log p(x_m|z) ] - beta [ KL(q(z|x) || p(z)) + alpha sum_m KL(q(z|x) || q(z|x_m)) ], p = N(0, I).

    q(z|x) has nets of its own, as in the paper; ours are copies of the unimodal encoders, joined by one linear layer.
    The paper has M = 2 and alpha = .1; for 1 < |A| < M, q(z|x_A) is our choice: the product of the q(z|x_m), m in A.
    """

    def __init__(self, networks, *, beta: Weight = 1.0, alpha: Weight = 0.1):
        super().__init__(networks, beta=beta)
        self.alpha, size = alpha, 2 * networks.latent_dim
        self.parts = deepcopy(networks.encoders)
        self.join = nn.Sequential(nn.ReLU(), nn.Linear(len(self.names) * size, size))

    @classmethod
    def unsupported(cls, modalities, missing):
        """The paper trains on complete rows alone."""
        hidden = missing.ratio > 0 and missing.incomplete == "keep"
        return "JMVAE is defined on complete rows; train on those alone with --incomplete drop" if hidden else None

    def joint(self, batch) -> DiagonalNormal:
        """q(z|x) of complete rows."""
        raw = [self.parts[name](self.networks.embed(name, batch.visible(name))) for name in self.names]
        return self.expert(self.join(torch.cat(raw, -1)))

    def posterior(self, batch):
        """q(z|x_A): joint where A is everything, else the product over A, of one expert that expert itself."""
        whole = batch.present.all(0)[:, None]
        q, part = self.joint(batch), product(self.encode(batch), prior=False)
        return DiagonalNormal(torch.where(whole, q.loc, part.loc), torch.where(whole, q.scale, part.scale))

    def loss(self, batch):
        """-(the bound), one z a row; rows that are not complete count nothing."""
        q, whole = self.joint(batch), batch.present.all(0)[None]
        log_px = self.log_px(q.rsample(), batch).sum(0)
        divergence = kl(q) + self.alpha * kl(q, self.encode(batch).q).sum(0)
        return row_mean(log_px - self.beta * divergence, whole, log_px=log_px, kl=divergence)
