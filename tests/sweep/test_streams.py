import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from mmvae_bench.sweep.streams import Unread, unread


@pytest.fixture
def closed(monkeypatch):
    """Standard output and error go into a pipe whose reader is gone."""
    there, here = os.pipe()
    os.close(there)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, os.fdopen(os.dup(here), "w", encoding="latin-1"))
    own = sys.stdout, sys.stderr
    yield
    os.close(here)
    for stream in own:
        stream.close()  # it holds nothing that could not be written


def test_what_nobody_reads_is_dropped(closed):
    with unread():
        for _ in range(2):
            for stream in (sys.stdout, sys.stderr):
                stream.write("→")
                stream.flush()
            Console(stderr=True).print("rich would end the process")
        inner = sys.stdout
        with unread():  # a run in the command's own process
            assert sys.stdout is inner
        sys.stdout.write("not flushed")


def test_any_other_error_is_raised():
    with Path(os.devnull).open() as file, pytest.raises(OSError, match="Bad file descriptor"):
        Unread(file.fileno()).write(b"x")


def test_a_stream_of_another_kind_stays(monkeypatch):
    own = io.StringIO()
    monkeypatch.setattr(sys, "stdout", own)
    monkeypatch.setattr(sys, "stderr", None)
    with unread():
        sys.stdout.write("a notebook's")
    assert own.getvalue() == "a notebook's"


@pytest.mark.parametrize("typed", [["list", "models"], ["--help"], ["list", "nonsense"]])
def test_a_command_whose_reader_is_gone_ends_as_it_would(typed):
    there, here = os.pipe()
    os.close(there)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "mmvae_bench", *typed]
    done = subprocess.run(command, stdout=here, stderr=here, env=environment, check=False)
    os.close(here)
    assert done.returncode == (2 if "nonsense" in typed else 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_sentence():
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "mmvae_bench", "list", "models"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"Error: The system refused an operation (No space left on device).")
    assert done.stderr.count(b"\n") == 1
