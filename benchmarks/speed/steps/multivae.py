"""The step of PyPI's ``multivae`` on the same nets: its models, Adam's defaults, a batch of ready float tensors."""

import torch
from multivae.data.datasets.base import DatasetOutput
from multivae.models import MMVAE, MVAE, MMVAEConfig, MoPoE, MoPoEConfig, MVAEConfig
from multivae.models.base import BaseDecoder, BaseEncoder, ModelOutput
from tasks import LEARNING_RATE, TASKS, floats
from torch import Tensor, nn

from steps import Work

CLASSES = {"mvae": (MVAE, MVAEConfig), "mopoe": (MoPoE, MoPoEConfig), "mmvae": (MMVAE, MMVAEConfig)}


class Encoder(BaseEncoder):
    """Our encoder behind multivae's interface."""

    def __init__(self, net: nn.Module, latent_dim: int) -> None:
        super().__init__()
        self.net, self.latent_dim = net, latent_dim

    def forward(self, x: Tensor) -> ModelOutput:
        """Return mean and log-variance."""
        mean, log_variance = self.net(x).chunk(2, -1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """Our decoder behind multivae's interface; pixels pass a sigmoid, as in our models."""

    def __init__(self, net: nn.Module, latent_dim: int, pixels: bool) -> None:
        super().__init__()
        self.net, self.latent_dim, self.pixels = net, latent_dim, pixels

    def forward(self, z: Tensor) -> ModelOutput:
        """Return the reconstruction, with the leading axes of z."""
        x = self.net(z.reshape(-1, self.latent_dim))
        x = x.sigmoid() if self.pixels else x
        return ModelOutput(reconstruction=x.reshape(*z.shape[:-1], *x.shape[1:]))


def build(name: str) -> Work:
    """Return a step of a task: forward, backward and update, as in multivae's trainer."""
    task = TASKS[name]
    torch.manual_seed(0)
    networks = task.networks()
    of, latent_dim = networks.modalities, networks.latent_dim
    make, configure = CLASSES[task.model]
    config = configure(
        n_modalities=len(of),
        latent_dim=latent_dim,
        input_dims={m.name: m.shape for m in of},
        decoders_dist={m.name: m.likelihood for m in of},
        decoder_dist_params={m.name: {"scale": m.scale} for m in of},
        **task.theirs,
    )
    encoders = {m.name: Encoder(networks.encoders[m.name], latent_dim) for m in of}
    decoders = {m.name: Decoder(networks.decoders[m.name], latent_dim, m.dtype == "uint8") for m in of}
    model = make(config, encoders=encoders, decoders=decoders).train()
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == sum(p.numel() for p in networks.parameters()), "multivae's model has parameters of its own"
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    batch = DatasetOutput(data=floats(networks, task.batch))

    def step() -> None:
        loss = model(batch, epoch=2, batch_ratio=0, dataset_size=task.batch).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return Work(step, task.batch, networks)
