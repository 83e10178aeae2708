"""Errors whose messages say what failed, why, and what to do. The command line prints them and exits with code 2."""

import difflib
from collections.abc import Collection, Sequence

MOST = 3  # names of a fault that a message lists


class BenchError(Exception):
    """Bad input. The message says what to do; it is shown without a traceback."""


class NewerSchema(BenchError):
    """A run was written by a newer version of this package: it is valid, but this version cannot read it."""


class DataError(BenchError):
    """The files of a data set are absent, truncated or different from what is expected."""


class Broken(AssertionError):
    """A rule of the conformance suite does not hold. The message says which one, and where."""


class BenchWarning(UserWarning):
    """One sentence about something that was left out. The command line prints it without a location."""


class Undefined(Exception):
    """A model does not define this quantity. Its message is the reason that the skipped row records."""


class Unsupported(Exception):
    """A model cannot take a data set or a scheme. Its message is the reason that the skipped run records."""


class TrainingFailed(Exception):
    """Training failed, for example with a NaN loss. The run is recorded as failed with this message."""


class Stopped(Exception):
    """A run was asked to stop before its end; its checkpoint is kept. The message names who asked."""


def must(holds: object, sentence: str) -> None:
    """Raise :class:`Broken` with the sentence unless the condition holds, also under ``python -O``."""
    if not holds:
        raise Broken(sentence)


def described(error: Exception) -> str:
    """Return the message of a :class:`BenchError` as it is, and type and message of any other exception."""
    name, text = type(error).__name__, str(error)
    if not text.strip():
        return name
    return text if isinstance(error, BenchError) else f"{name}: {text}"


def in_a_line(error: Exception) -> str:
    """Return :func:`described` in one line without its full stop, for the middle of a sentence."""
    return " ".join(described(error).split()).rstrip(".")


def counted(number: int, what: str) -> str:
    """Return ``1 run``, ``2 runs`` or ``1,000 runs``."""
    return f"{number:,} {what}" + "s" * (number != 1)


def listed(names: Sequence[str], spare: Collection[str] = ()) -> str:
    """Return the first names of what is faulty and the number of the others, each with the nearest ``spare`` name."""
    shown = []
    for name in names[:MOST]:
        near = difflib.get_close_matches(name, spare, n=1)
        shown.append(f"{name!a} (is it {near[0]!a}?)" if near else f"{name!a}")
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def near_hint(name: str, known: Collection[str]) -> str:
    """Return a question with at most three names near to ``name``, followed by a space; empty if there are none."""
    near = difflib.get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(near)}? " if near else ""
