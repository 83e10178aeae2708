"""MEME's published training step, written plainly: decodes one by one, fp32, Adam with its defaults.

For a direction s -> t of a batch of pairs: z ~ q(z | s), a = log p(t | z), b = log p(s | z), and
KL(q(z | s) || q(z | t)) in closed form. A second pass through the encoder of s gives ten more z;
c = log q(t | s) is the log of the mean density of t over all eleven. With w = exp(a - c), without gradient, the loss is
-(w (b - a - KL) + 10 c). The losses of both directions are added.
"""

import math

import torch
import torch.nn.functional as F
from tasks import LEARNING_RATE, TASKS, floats
from torch import Tensor
from torch.distributions import Laplace, Normal, kl_divergence

from steps import Work

EXTRA = 10  # samples for log q(t | s), beyond the first
WEIGHT = 10.0  # of log q(t | s)
SMALLEST = {"mnist": 1e-3, "svhn": 1e-4}  # lower bound of a posterior's scale


def build(name: str) -> Work:
    """Return the step on the authors' nets."""
    task = TASKS[name]
    torch.manual_seed(0)
    networks = task.networks().train()
    optimiser = torch.optim.Adam(networks.parameters(), lr=LEARNING_RATE)
    batch = floats(networks, task.batch)

    def posterior(of: str) -> Normal:
        loc, raw = networks.encoders[of](batch[of]).chunk(2, -1)
        return Normal(loc, F.softplus(raw).clamp(min=SMALLEST[of]), validate_args=False)

    def log_p(of: str, z: Tensor) -> Tensor:
        mean = networks.decoders[of](z.reshape(-1, z.shape[-1])).sigmoid()
        mean = mean.reshape(*z.shape[:-1], *mean.shape[1:])
        return Laplace(mean, torch.ones_like(mean), validate_args=False).log_prob(batch[of]).sum((-3, -2, -1))

    def direction(s: str, t: str) -> Tensor:
        q = posterior(s)
        z = q.rsample()
        a = log_p(t, z)
        divergence = kl_divergence(q, posterior(t)).sum(-1)
        b = log_p(s, z)
        more = log_p(t, posterior(s).rsample((EXTRA,)))
        c = torch.cat([more, a[None]]).logsumexp(0) - math.log(EXTRA + 1)
        w = (a - c).exp().detach()
        return -(w * (b - a - divergence) + WEIGHT * c).mean()

    def step() -> None:
        optimiser.zero_grad()
        (direction("mnist", "svhn") + direction("svhn", "mnist")).backward()
        optimiser.step()

    return Work(step, task.batch, networks)
