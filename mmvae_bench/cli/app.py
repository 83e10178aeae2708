"""The group of commands, its errors and exit codes. Heavy modules are imported inside the commands."""

import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from mmvae_bench import __version__
from mmvae_bench.cli.check import check_name
from mmvae_bench.cli.data import data, env, list_names
from mmvae_bench.cli.results import board, check_results, compare, merge, report, status, submit
from mmvae_bench.cli.run import run
from mmvae_bench.disk import disk_reason
from mmvae_bench.errors import BenchError, BenchWarning
from mmvae_bench.sweep.streams import unread

INTERRUPTED = "Interrupted. What was finished is stored; run the same command again."
DISK = "The system refused an operation ({}). Finished runs are safe. Fix that and run the same command again."
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Bench(click.Group):
    """The group of commands. An error in one of them is one sentence and an exit code."""

    def main(self, *args: Any, **more: Any) -> Any:
        """Parse the command line and run it, whoever reads what it prints."""
        with unread():
            return super().main(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Exit codes: 2 for bad input, 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        try:
            with _signals_and_warnings():
                return super().invoke(ctx)
        except BenchError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except OSError as error:  # of the disk, anywhere: what is stored is stored whole
            click.echo(f"Error: {DISK.format(disk_reason(error))}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo(INTERRUPTED, err=True)
            ctx.exit(130)


@contextmanager
def _signals_and_warnings() -> Iterator[None]:
    """Clean up and exit on SIGTERM and SIGHUP, unless they are ignored; print warnings of this package as sentences."""
    show = warnings.showwarning
    in_main = threading.current_thread() is threading.main_thread()
    heard = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    previous = {each: signal.signal(each, _terminate) for each in heard if in_main}

    def say(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, BenchWarning):
            click.echo(f"Warning: {message}", err=True)
        else:
            show(message, category, *rest, **more)

    warnings.showwarning = say
    try:
        yield
    finally:
        warnings.showwarning = show
        for each, handler in previous.items():
            signal.signal(each, handler)


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    click.echo(INTERRUPTED, err=True)
    sys.exit(128 + number)


@click.group(cls=Bench, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="mmvae-bench")
def main() -> None:
    """Compare multimodal VAEs: same data, nets, masks and scores for every model.

    First: mmvae-bench run, then mmvae-bench report.
    """


for command in (
    run, report, board, list_names, data, env, status, compare, merge, check_results, submit, check_name,
):  # fmt: skip
    main.add_command(command)
