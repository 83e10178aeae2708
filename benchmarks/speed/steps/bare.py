"""The nets alone: the encodes and decodes that a task's bound needs, and backward from fixed gradients."""

from contextlib import nullcontext

import torch
from tasks import TASKS, floats
from torch import Tensor

from mmvae_bench.engine.layers import speed_up
from steps import Work


def build(name: str) -> Work:
    """Return forward and backward of a task's nets, with the engine's layers; with ``+bf16`` outputs stay in bf16."""
    key, *switches = name.split("+")
    task = TASKS[key]
    encodes, decodes = task.bare
    torch.manual_seed(0)
    networks = task.networks()
    speed_up(networks, torch.device("cpu"))
    x = {name: values.repeat_interleave(encodes, 0) for name, values in floats(networks, task.batch).items()}
    z = {name: torch.randn(decodes * task.batch, networks.latent_dim, requires_grad=True) for name in x}
    parameters = list(networks.parameters())
    gradients: list[Tensor] = []

    def step() -> None:
        for leaf in (*parameters, *z.values()):
            leaf.grad = None
        with torch.autocast("cpu", torch.bfloat16) if switches == ["bf16"] else nullcontext():
            out = [networks.encode(name, own) for name, own in x.items()]
            out += [networks.decode(name, own) for name, own in z.items()]
        if not gradients:
            gradients.extend(torch.randn_like(values) for values in out)
        torch.autograd.backward(out, gradients)

    return Work(step, task.batch, networks)
