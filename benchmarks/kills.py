"""Kill runs at random moments, start them again, and compare with runs that nobody touched.

    .venv/bin/python benchmarks/kills.py [--kills 100] [--seed N]

A sweep of small runs on ``linear_gaussian``, with a checkpoint every 0.2 s, is started as a user would; after a random
time all its processes, its command alone, or one of its workers get SIGKILL, and the same command is typed again, until
the sweep is done; then the next sweep. What is stored in the end must be what an undisturbed sweep stores: weights bit
by bit, scores row by row, each run once, no leftovers. The seed is printed, so that a failure can be had again (as far
as the timing of two machines allows).
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

RUNS = (
    "--models mvae mmvae[k=2] meme[k=2] --datasets linear_gaussian[rows=1000] --missing 0.5 --epochs 150"
    " --batch-size 50 --limit-test 100 --jobs 2 --device cpu --checkpoint-seconds 0.2"
)
AT_WORK = 0.75  # share of kills whose time is counted from when a run is claimed: a third of the time is imports
TARGETS = ("all", "all", "command", "worker")  # whom to kill: a machine that dies is the common case


class Sweeps:
    """Sweeps under ``root``, disturbed and compared.

    Args:
        root: An empty folder.
        seed: Of the moments and targets of kills.
        say: Told what happens.
    """

    def __init__(self, root: Path, seed: int, say: Callable[[str], None]) -> None:
        self.root, self.say, self.random = root, say, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self._finish(self._start("undisturbed"), "undisturbed")
        self.expected = stored(root / "undisturbed")
        started = time.monotonic()
        self._finish(self._start("timed"), "timed")  # the first built the cache
        self.seconds = time.monotonic() - started
        self.compare("timed")

    def kill(self, number: int) -> None:
        """Kill ``number`` times, in as many sweeps as that takes, and compare each when it is done."""
        name, process = "", None
        while self.counts["kills"] < number or process:
            if process is None:
                self.counts["sweeps"] += 1
                name = f"sweep{self.counts['sweeps']}"
                process = self._start(name)
            if self.counts["kills"] < number:
                self._disturb(process, name)
            if process.poll() is None and self.counts["kills"] < number:
                continue  # a worker died, the command lives: again
            if process.poll() in (None, 0):
                self._finish(process, name)
                self.compare(name)
                process = None
            else:
                process = self._start(name)

    def compare(self, name: str) -> None:
        """Demand that a sweep stored what the undisturbed one did, and nothing else."""
        found = stored(self.root / name)
        assert found.keys() == self.expected.keys(), f"{name}: runs {sorted(found)}, not {sorted(self.expected)}"
        for run, files in self.expected.items():
            for file, content in files.items():
                assert found[run][file] == content, f"{name}: {file} of {run} differs"
        left = list((self.root / name / "work").glob("*"))
        left += [p for p in (self.root / name).rglob("*") if p.suffix in (".tmp", ".replaced", ".broken")]
        assert not left, f"{name}: left over: {left}"
        records = [json.loads(p.read_bytes()) for p in (self.root / name).glob("runs/*/*/*/run.json")]
        resumes = sum(record["resumed"] for record in records)
        self.counts += Counter(resumes=resumes, runs=len(records))
        self.say(f"{name}: {len(records)} runs as expected, resumed {resumes} times")

    def _owners(self, name: str) -> set[str]:
        return {path.read_text(encoding="utf-8") for path in (self.root / name / "work").glob("*/owner.json")}

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "mmvae_bench", "run", *RUNS.split()]
        command += ["--results-dir", str(self.root / name), "--cache-dir", str(self.root / "cache")]
        self.before = self._owners(name)  # of those who were killed
        with (self.root / f"{name}.txt").open("ab") as log:
            return subprocess.Popen(command, cwd=self.root, stdout=log, stderr=log, start_new_session=True)

    def _finish(self, process: subprocess.Popen[bytes], name: str) -> None:
        code = process.wait(timeout=600)
        assert code == 0, f"{name} ended with {code}:\n{(self.root / f'{name}.txt').read_text()[-3000:]}"

    def _disturb(self, process: subprocess.Popen[bytes], name: str) -> None:
        """After a random time, often counted from when a run is at work, kill."""
        pause, target = self.random.uniform(0.0, 0.6) * self.seconds, self.random.choice(TARGETS)
        after = "the start"
        if self.random.random() < AT_WORK:
            after = "a run was at work"
            while process.poll() is None and not self._owners(name) - self.before:
                time.sleep(0.02)
        try:
            process.wait(timeout=pause)
            return  # done before
        except subprocess.TimeoutExpired:
            pass
        whom = "the command alone" if target == "command" else "all"
        if target == "worker" and (workers := _workers(process.pid)):
            self.random.choice(workers).kill()
            whom = "a worker"
        elif target == "command":
            os.kill(process.pid, signal.SIGKILL)
        else:
            os.killpg(process.pid, signal.SIGKILL)
        if whom != "a worker":
            process.wait()
        self.counts += Counter({"kills": 1, f"kills of {whom}": 1})
        self.say(f"kill {self.counts['kills']} in {name}, {pause:.2f} s after {after}: {whom}")


def _workers(pid: int) -> list[psutil.Process]:
    """Processes of a command that do runs; not the one that tracks their resources."""
    try:
        children = psutil.Process(pid).children()
        return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def stored(results: Path) -> dict[str, dict[str, bytes]]:
    """The weights and scores of each run: what must not depend on what happened on the way."""
    names = ("model.safetensors", "scores.jsonl", "artifacts.npz")
    folders = [path.parent for path in results.glob("runs/*/*/*/run.json")]
    return {folder.name: {name: (folder / name).read_bytes() for name in names} for folder in folders}


def main() -> None:
    """Kill, compare, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        sweeps = Sweeps(Path(folder), asked.seed, lambda sentence: print(sentence, flush=True))
        sweeps.kill(asked.kills)
    print(", ".join(f"{count} {what}" for what, count in sweeps.counts.items()), "; nothing lost, nothing doubled")


if __name__ == "__main__":
    main()
