"""Settings for tiny runs, and commands as a user types them."""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mmvae_bench.registry import Registry
from mmvae_bench.sweep.request import Settings


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data and trained oracles, the same for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def settings(tmp_path: Path, cache: Path) -> Settings:
    """One metric that linear_gaussian lacks and one that it has; tests about scores ask for all of them."""
    metrics = ("linear_probe", "log_likelihood")
    return Settings("cpu", 1, data_dir=tmp_path, cache_dir=cache, results_dir=tmp_path / "results", metrics=metrics)


@pytest.fixture
def start(tmp_path: Path, cache: Path) -> Iterator:
    """Starts ``mmvae-bench run`` in a process group of its own; what is left of it at the end is killed."""
    started = []

    def go(flags: str, *, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        # a shell's background job starts with SIGINT ignored, nohup's with SIGHUP, and so would we
        script = "import signal, sys, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
        script += "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        script += "sys.argv = sys.argv[1:]; runpy.run_module('mmvae_bench', run_name='__main__', alter_sys=True)"
        command = [sys.executable, "-c", script, "mmvae-bench", "run", *flags.split(), "--device", "cpu"]
        command += ["--cache-dir", str(cache), "--results-dir", str(tmp_path / "results")]
        started.append(
            subprocess.Popen(
                command, cwd=tmp_path, start_new_session=True, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})},
            )
        )  # fmt: skip
        return started[-1]

    yield go
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Registry, str], None]]:
    """Installs ``Edited`` of a module's text as the plug-in ``edited``; once more is an edit and a new process."""
    folder, used = tmp_path / "plug_in", []
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two edits within a second have one time

    def forget() -> None:
        for registry, module in used:
            for known in (registry._loaded, registry._code):
                known.pop("edited", None)
            sys.modules.pop(module, None)

    def install(registry: Registry, text: str) -> None:
        module = f"edited_{registry.kind.replace(' ', '_')}"
        (folder / f"{module}.py").write_text(text)
        monkeypatch.setitem(registry._plugins, "edited", EntryPoint("edited", f"{module}:Edited", registry.group))
        used.append((registry, module))
        forget()
        importlib.invalidate_caches()

    yield install
    forget()
