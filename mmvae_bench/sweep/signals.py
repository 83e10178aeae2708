"""SIGINT and SIGTERM while runs are under way: the first asks, the second stops at once."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from types import FrameType, TracebackType

ASKED = b"\nStopping: runs under way write a checkpoint first; once more stops at once.\n"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Stops:
    """Turns the first signal into a request, as a context; the second raises KeyboardInterrupt or SystemExit(143).

    Args:
        ask: Called at the first, in the middle of anything: it may set a flag or touch a file.

    Attributes:
        code: The exit code of the first signal, 0 while there was none.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self.code = 0
        self._ask = ask
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Stops":
        if threading.current_thread() is threading.main_thread():
            for each in CODES:
                if signal.getsignal(each) is not signal.SIG_IGN:  # nohup and shells' background jobs ignore SIGINT
                    self._before[each] = signal.signal(each, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if not self.code:
            self.code = CODES[signal.Signals(number)]
            self._ask()
            with suppress(OSError):  # who reads what we say may be gone already
                os.write(2, ASKED)  # print might be in the middle of printing
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            sys.exit(CODES[signal.SIGTERM])


@contextmanager
def unheard() -> Iterator[None]:
    """Processes started inside never hear SIGINT or SIGTERM: a terminal and a batch system send them to all of us.

    What is blocked is inherited; the command itself hears them as soon as it is outside.
    """
    resource_tracker.ensure_running()  # or starting it inside would unblock what we block (Python 3.11)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, CODES)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
