"""A rule that can be checked by a machine."""

from collections.abc import Callable
from typing import NamedTuple


class Broken(AssertionError):
    """A rule does not hold. The message is a sentence that says which one, and where."""


class Check(NamedTuple):
    """One rule of the conformance suite.

    Attributes:
        name: One to three words.
        covers: What holds if it passes, for people.
        run: Raises :class:`Broken` if it does not; what the checked code raises itself passes through.
    """

    name: str
    covers: str
    run: Callable[[], None]


def must(holds: object, sentence: str) -> None:
    """``assert``, which ``python -O`` would strip: then everything conformed.

    Raises:
        Broken: If it does not hold.
    """
    if not holds:
        raise Broken(sentence)
