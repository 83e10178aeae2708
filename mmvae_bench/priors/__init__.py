"""Priors that are learned after training, by name; importing this package imports no torch.

A prior is a function of the encodings of training rows (:class:`~mmvae_bench.priors.base.Encodings`), whose
keyword-only parameters are its options. It returns a :class:`~mmvae_bench.probability.distributions.Prior`, and is
called without gradients: one that trains enables them.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mmvae_bench.options import Named, as_typed, parse_named, resolve
from mmvae_bench.registry import Registry

if TYPE_CHECKING:
    from mmvae_bench.probability.distributions import Prior

OWN = ("model", "aggregate")  # are fitted to nothing, and always scored
registry: "Registry[Callable[..., Prior]]" = Registry(
    "prior",
    {"gmm": f"{__name__}.gmm:gmm", "ncp": f"{__name__}.ncp:ncp"},
    group=__name__,
)
register = registry.register


def labels(texts: Iterable[str]) -> tuple[str, ...]:
    """Return learned priors as typed in one way each, such as ``ncp[bound=2]``; those of :data:`OWN` are left out.

    Raises:
        BenchError: If there is no such prior, or one of its options is unknown or out of bounds.
    """
    return tuple(dict.fromkeys(_label(parse_named(text)) for text in texts if text not in OWN))


def installed(labels: Iterable[str]) -> list[str]:
    """Return those of some labels whose priors are registered here, each once: a plug-in may be gone."""
    return [label for label in dict.fromkeys(labels) if parse_named(label).name in registry.names()]


def _label(named: Named) -> str:
    registry.check(named.name)
    factory = registry.get(named.name)
    options = resolve(factory, named)
    typed = as_typed(factory, named.name, options).options
    texts = {k: text.removesuffix(".0") if isinstance(options[k], float) else text for k, text in typed.items()}
    return Named(named.name, texts).label
