"""The step of PyPI's ``multivae`` on the same nets: its models, Adam's defaults, a batch of ready float tensors."""

import multivae.models as theirs
import torch
from multivae.data.datasets.base import DatasetOutput
from tasks import LEARNING_RATE, TASKS, floats

from mmvae_bench import models
from steps import Work
from steps.adapters import adapted

CLASSES = {
    "mvae": "MVAE", "mopoe": "MoPoE", "mmvae": "MMVAE", "mvtcae": "MVTCAE", "jmvae": "JMVAE", "dmvae": "DMVAE",
    "mmvaeplus": "MMVAEPlus", "crmvae": "CRMVAE",
}  # fmt: skip


def build(name: str) -> Work:
    """Return a step of a task: forward, backward and update, as in multivae's trainer."""
    task = TASKS[name]
    torch.manual_seed(0)
    networks = task.networks()
    ours, of = models.registry.get(task.model)(networks, **task.options), networks.modalities
    shared = getattr(ours, "common", networks.latent_dim)
    config = getattr(theirs, f"{CLASSES[task.model]}Config")(
        n_modalities=len(of),
        latent_dim=shared,
        input_dims={m.name: m.shape for m in of},
        decoders_dist={m.name: m.likelihood for m in of},
        decoder_dist_params={m.name: {"scale": m.scale} for m in of},
        **task.theirs,
    )
    model = getattr(theirs, CLASSES[task.model])(config, **adapted(ours, shared)).train()
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == sum(p.numel() for p in ours.parameters()), "multivae's model has parameters of its own"
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    batch = DatasetOutput(data=floats(networks, task.batch))

    def step() -> None:
        loss = model(batch, epoch=2, batch_ratio=0, dataset_size=task.batch).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return Work(step, task.batch, networks)
