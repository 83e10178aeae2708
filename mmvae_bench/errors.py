"""Errors that are sentences with the way out. The command line prints them and exits with code 2."""

import difflib
from collections.abc import Collection


class BenchError(Exception):
    """Bad input: one clear sentence that says what to do. Never shown with a traceback."""


class NewerSchema(BenchError):
    """A run was written by a newer version of this package: nothing is wrong with it, but we cannot read it."""


class DataError(BenchError):
    """A data set's files are absent, truncated or not what they should be."""


class BenchWarning(UserWarning):
    """One clear sentence about something that was left out. The command line prints it without a location."""


class Undefined(Exception):
    """A model does not define this quantity. Its message is the reason that the skipped row records."""


class Unsupported(Exception):
    """A model cannot take a data set or a scheme. Its message is the reason that the skipped run records."""


class TrainingFailed(Exception):
    """A run's training broke (a NaN loss, say). The run is recorded as failed with this message."""


class Stopped(Exception):
    """A run was asked to stop before its end; its checkpoint is kept. Its message is who asked."""


def described(error: Exception) -> str:
    """What was raised: a sentence of ours as it is, else its type and what it says."""
    name, text = type(error).__name__, str(error)
    if not text.strip():
        return name
    return text if isinstance(error, BenchError) else f"{name}: {text}"


def in_a_line(error: Exception) -> str:
    """The same in one line, for the middle of a sentence."""
    return " ".join(described(error).split())


def near_hint(name: str, known: Collection[str]) -> str:
    """A question with the names nearest to ``name``, at most three, for the middle of a sentence; empty if none is."""
    near = difflib.get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(near)}? " if near else ""
