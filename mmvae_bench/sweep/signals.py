"""SIGINT, SIGTERM and SIGHUP while runs are under way: the first asks runs to stop, the second stops at once."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from types import FrameType, TracebackType

ASKED = b"\nStopping: runs under way write a checkpoint first; once more stops at once.\n"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


class Stops:
    """A context that turns the first signal into a request; the second raises KeyboardInterrupt or SystemExit.

    A second SIGHUP is no second wish: when a connection is lost, the kernel and the shell both send one.

    Args:
        ask: called at the first signal, in the middle of anything: it may set a flag or touch a file.

    Attributes:
        code: exit code of the first signal, 0 while there was none.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self.code = 0
        self._ask = ask
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Stops":
        if threading.current_thread() is threading.main_thread():
            for each in CODES:
                if signal.getsignal(each) is not signal.SIG_IGN:  # nohup ignores SIGHUP, a background job SIGINT
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
            with suppress(OSError):  # the reader may be gone already
                os.write(2, ASKED)  # print might be in the middle of printing
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        elif number != signal.SIGHUP:
            sys.exit(CODES[signal.Signals(number)])


@contextmanager
def unheard() -> Iterator[None]:
    """Start processes inside this context so that they ignore these signals, which terminals send to all.

    Blocked signals are inherited; the command itself receives them as soon as it leaves the context.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, CODES)
    resource_tracker.ensure_running()  # a process, too; starting it unblocks some of the signals here (Python 3.11)
    signal.pthread_sigmask(signal.SIG_BLOCK, CODES)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
