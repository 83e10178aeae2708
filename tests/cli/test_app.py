import os
import pwd
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from mmvae_bench import datasets, models
from mmvae_bench.cli.options import expand
from mmvae_bench.errors import DataError
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.request import Settings, cache_folder, data_folder
from tests.helpers import invoke
from tests.stored import damage
from tests.sweep.test_plan import Absent, Pairs, plan_of, publish

FLAGS = ("--models", "--missing")


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """Fake data sets and a fake runner that records what it was given; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(datasets.registry._loaded, "absent", Absent)
    monkeypatch.setitem(datasets.registry._loaded, "present", Pairs)
    seen = SimpleNamespace(plan=None, settings=None, code=0, stores=False)

    def run_plan(plan, settings):
        seen.plan, seen.settings = plan, settings
        if seen.stores:
            store_one(plan, settings)
        return seen.code

    monkeypatch.setitem(
        sys.modules, "mmvae_bench.sweep.runner", SimpleNamespace(run_plan=run_plan, count_jobs=lambda settings: 2)
    )
    return seen


def run(*args: str) -> Result:
    return invoke("run", *args)


def store_one(plan, settings) -> None:
    """What a runner that works leaves: the result of one run."""
    publish(Store(settings.results_dir), plan)


@pytest.mark.parametrize(
    ("typed", "expanded"),
    [
        ("--missing 0 -0.5 -.5", "--missing 0 --missing -0.5 --missing -.5"),
        ("--models a -- b", "--models a -- b"),
        ("--epochs 3 b", "--epochs 3 b"),
    ],
)
def test_values_become_repeated_flags(typed, expanded):
    assert expand(typed.split(), FLAGS) == expanded.split()


VALUES = st.lists(st.from_regex(r"[a-z0-9.]{1,4}(\[k=[0-9],l=[0-9]\])?", fullmatch=True), max_size=6)


def grouped(flag: str, values: list[str], data: st.DataObject) -> list[list[str]]:
    """Chunks of arguments: the values by repeated flags, several after a flag, commas, or any mixture."""
    chunks: list[list[str]] = []
    at = 0
    while at < len(values):
        size = data.draw(st.integers(1, len(values) - at))
        some = values[at : at + size]
        joined = [",".join(some)] if data.draw(st.booleans()) else some
        equals = data.draw(st.booleans())
        chunks.append([f"{flag}={joined[0]}", *joined[1:]] if equals else [flag, *joined])
        at += size
    return chunks


@given(VALUES, VALUES, st.data())
def test_any_grouping_of_values_is_a_flag_before_each(models, missing, data):
    typed = [*grouped("--models", models, data), ["--epochs", "3"], *grouped("--missing", missing, data)]
    each = [*(["--models", m] for m in models), ["--epochs", "3"], *(["--missing", m] for m in missing)]
    assert expand([*chain.from_iterable(typed), "--dry-run"], FLAGS) == [*chain.from_iterable(each), "--dry-run"]


def test_the_grid_as_typed_in_the_issue(ran):
    ran.stores = True
    result = run("--models", "all", "--datasets", "absent", "present", "--missing", "0", "0.5", "--seeds", "2")
    assert result.exit_code == 0, result.output
    n = len(models.registry.names())
    assert len(ran.plan.entries) == 2 * n * 2 * 2
    assert ran.plan.counts["to run"] == 4 * (n - 1)  # csvae needs labels
    assert ran.plan.name == "custom"
    assert ran.plan.command == "mmvae-bench run --models all --datasets absent present --missing 0 0.5 --seeds 2"
    assert f"{4 * n} runs skipped: put the file at data/file" in result.stderr
    assert "Next: mmvae-bench report --suite custom\n" in result.output


def test_without_arguments_the_quick_suite_runs(ran):
    assert run().exit_code == 0
    assert ran.plan.name == "quick"


def test_flags_override_the_suite(ran, tmp_path):
    (tmp_path / "mine.toml").write_text("models = 'mvae'\ndatasets = 'present'\nepochs = 9\nmissing = [0.5]\nseeds = 3")
    flags = (
        "--suite mine.toml --epochs 2 --seed-list 5 7 --scheme only:left,split:fixed --incomplete drop --latent-dim 3"
    )
    assert run(*flags.split()).exit_code == 0
    assert ran.plan.name == "mine"
    assert {s.train.epochs for s in ran.plan.specs} == {2}
    assert {s.latent_dim for s in ran.plan.specs} == {3}
    assert {s.seed for s in ran.plan.specs} == {5, 7}
    assert {(s.missing.scheme, s.missing.incomplete) for s in ran.plan.specs} == {
        ("only:left", "drop"), ("split:fixed", "drop"),
    }  # fmt: skip


def test_settings_reach_the_runner_and_the_environment_sets_folders(ran, monkeypatch):
    ran.stores = True
    monkeypatch.setenv("MMVAE_BENCH_DATA", "d")
    monkeypatch.setenv("MMVAE_BENCH_CACHE", "c")
    monkeypatch.setattr("mmvae_bench.sweep.environment.has_bf16", lambda: True)
    flags = "--datasets present --device cpu --jobs 3 --threads 2 --results-dir r --overwrite always --compile"
    flags += " --checkpoint-seconds 0.5 --backend dask --address tcp://a:1 --shard 2/3 --seeds 9 --precision bf16"
    result = run(*flags.split())
    folders = {"data_dir": Path("d"), "cache_dir": Path("c"), "results_dir": Path("r")}
    assert ran.settings == Settings(
        "cpu", 3, 2, **folders, overwrite="always", compiled=True, checkpoint_seconds=0.5, backend="dask",
        address="tcp://a:1",
    )  # fmt: skip
    assert 0 < len(ran.plan.own) < len(ran.plan.specs) and {spec.precision for spec in ran.plan.specs} == {"bf16"}
    assert "Next: mmvae-bench report --suite custom --results-dir r\n" in result.output
    run("--datasets", "present", "--data-dir", "e")
    assert ran.settings == Settings(data_dir=Path("e"), cache_dir=Path("c"))
    assert {spec.precision for spec in ran.plan.specs} == {"fp32"}


def test_a_tilde_is_the_home_folder_in_every_path(ran, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mine.toml").write_text('datasets = "present"')
    monkeypatch.setenv("MMVAE_BENCH_CACHE", "~/c")
    monkeypatch.setenv("MMVAE_BENCH_DATA", "~/d")
    assert run("--suite", "~/mine.toml", "--results-dir=~/r").exit_code == 0
    home = tmp_path / "home"
    assert ran.settings == Settings(data_dir=home / "d", cache_dir=home / "c", results_dir=home / "r")
    assert (data_folder(None), cache_folder(None)) == (home / "d", home / "c")
    assert "There are no runs under" in invoke("status", "--results-dir", "~/r").stderr
    assert "home/absent.zip' does not exist" in invoke("data", "fetch", "cub", "--from=~/absent.zip").stderr
    assert not (tmp_path / "~").exists()
    nobody = invoke("status", "--results-dir", "~no-such-user/r")
    assert nobody.exit_code == 2
    assert nobody.stderr.startswith("Error: The home folder in '~no-such-user/r' is not known")


@pytest.mark.parametrize("command", ["env", "run --datasets present", "run --dry-run"])
def test_a_user_without_a_home_folder_is_told_to_name_the_cache(ran, monkeypatch, command):
    for name in ("HOME", "XDG_CACHE_HOME", "MMVAE_BENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: {}["no such user"])
    result = invoke(*command.split())
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: There is no place for the cache: this user has no home folder. Name one with --cache-dir or "
        "MMVAE_BENCH_CACHE.\n",
    )
    assert invoke(*command.split(), "--cache-dir", "c").exit_code == 0


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_the_plan_says_which_stored_runs_were_made_by_different_code(ran, flags):
    flags = ("--models", "mvae", "--datasets", "present", *flags)
    run(*flags)
    store = Store(Path("results"))
    publish(store, ran.plan or plan_of(store, datasets=("present",)), info={"code": {"model": "0" * 16}})
    said = "1 stored run was made by different code of the model 'mvae'; --overwrite changed trains it again."
    assert said in run(*flags).stderr.splitlines()
    assert "1 run: 1 done; nothing to run\n" in run(*flags).stdout
    assert "1 run: 1 done; about" in run(*flags, "--overwrite", "changed").stdout


def test_a_dry_run_prints_every_run_and_touches_nothing(ran, tmp_path):
    result = run("--models", "mvae", "mopoe", "--datasets", "present", "absent", "--dry-run")
    assert result.exit_code == 0
    assert ran.plan is None
    assert "to run         mvae on present, complete, seed 0\n" in result.stdout
    assert "skipped        mopoe on absent, complete, seed 0 [1]\n" in result.stdout
    assert "[1] 2 runs skipped: put the file at data/file\n" in result.stderr
    assert "4 runs: 2 to run, 2 skipped; about " in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stores", [True, False])
@pytest.mark.parametrize("code", [0, 1, 2, 130])
def test_the_runners_exit_code_is_the_commands_and_a_report_is_next_where_something_is_stored(ran, code, stores):
    ran.code, ran.stores = code, stores
    result = run("--datasets", "present")
    assert (result.exit_code, "Next:" in result.output) == (code, stores and code < 130)


def test_broken_runs_that_are_to_be_left_are_the_reason_why_nothing_is_run(ran, tmp_path):
    asked = ("--models", "mvae", "--datasets", "present", "--seeds", "2")
    ran.stores = True
    run(*asked)
    damage(next((tmp_path / "results").glob("runs/*/*/*")), "run.json")
    result = run(*asked, "--overwrite", "never")
    assert result.exit_code == 2 and "Nothing could run" not in result.stderr
    assert "Error: Nothing was run: stored runs are broken (see above), and --overwrite never" in result.stderr


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_where_nothing_can_run_the_code_is_2(ran, dry):
    result = run("--datasets", "absent", *dry)
    assert result.exit_code == 2
    assert "put the file at data/file" in result.stderr
    assert "Error: Nothing could run; the reasons are above.\n" in result.stderr
    assert ran.plan is None


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("--models mvea", "No model 'mvea'; did you mean mvae"),
        ("--datasets presnt", "No data set 'presnt'; did you mean present?"),
        ("--models mvae[kk=1]", "'mvae' has no option 'kk'"),
        ("--models mmvae[k=0]", "mmvae[k] must be at least 1, not '0'"),
        ("--models mvae[k", "Cannot read 'mvae[k'"),
        ("--missing 0 -0.5", "A missing ratio must lie in [0, 1), not -0.5"),
        ("--missing half", "'half' is not a valid float"),
        ("--scheme only:svhn", "The scheme 'only:svhn' names no modality of the data. mnist_street has mnist, street"),
        ("--scheme half", "No missing scheme 'half'"),
        ("--seeds 0", "The number of seeds is from 1 to 20,000, not 0"),
        ("--seeds 1 --seed-list 2", "Give one of the two"),
        ("--seed-list -1", "At least one seed is needed, from 0 up"),
        ("--epochs 0", "--epochs is at least 1, not 0"),
        ("--jobs 0", "--jobs is at least 1, not 0"),
        ("--jobs many", "'many' is not a valid integer"),
        ("--checkpoint-seconds -1", "--checkpoint-seconds is a number from 0 up, not -1"),
        ("--checkpoint-seconds nan", "--checkpoint-seconds is a number from 0 up, not nan"),
        ("--shard 0/3", "--shard is I/N with I from 1 to N, such as 1/8, not '0/3'"),
        ("--shard 4/3", "--shard is I/N with I from 1 to N, such as 1/8, not '4/3'"),
        ("--shard half", "--shard is I/N with I from 1 to N, such as 1/8, not 'half'"),
        ("--address tcp://a:1", "--address is that of a cluster: add --backend dask"),
        ("--device tpu", "no device 'tpu'. Write auto, cpu, cuda or cuda:0."),
        ("--device cuda:99", "--device cuda:99 cannot be used: this machine has no CUDA device."),
        ("--device cpu --precision tf32", "tf32 needs an NVIDIA GPU"),
        ("--suite quik", "No suite 'quik'; did you mean quick?"),
        ("--suite none.toml", "Cannot read the suite 'none.toml'"),
        ("--results-dir file", "Choose another --results-dir."),
        ("--results-dir file/below", "Choose another --results-dir."),
        ("--models", "Option '--models' requires an argument"),
        ("--missing --seeds 2", "Option '--missing' requires an argument"),
        ("extra", "Got unexpected extra argument (extra)"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(ran, tmp_path, typed, sentence, dry):
    (tmp_path / "file").write_text("kept")
    result = run(*typed.split(), *dry)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.output
    assert ran.plan is None
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_a_process_with_their_code(sent, code, tmp_path):
    script = (
        "import signal, sys, time, types\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job starts with it ignored
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # and nohup's with this one
        "def wait(plan, settings):\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "sys.modules['mmvae_bench.sweep.runner'] = types.SimpleNamespace(run_plan=wait, count_jobs=lambda _: 2)\n"
        "from mmvae_bench.cli import main\nmain(['run', '--datasets', 'linear_gaussian', '--models', 'mvae'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert any(b"ready" in line for line in process.stdout)
    time.sleep(0.1)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert b"What was finished is stored" in errors and b"Traceback" not in errors


def test_a_title_that_the_terminal_cannot_show_is_replaced(tmp_path):
    (tmp_path / "own.toml").write_text('title = "Größe → é"\nmodels = "mvae"\ndatasets = "linear_gaussian"', "utf-8")
    own = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "mmvae_bench", "run", "--suite", "own.toml", "--dry-run", "--cache-dir", "c"]
    environment = {**os.environ, **own, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Plan 'own': Größe ? é\n".encode("latin-1") in done.stdout


def test_a_broken_torch_is_one_sentence(ran, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    result = run("--dry-run")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: PyTorch cannot be imported (ModuleNotFoundError: ")
    assert "Reinstall it" in result.stderr


def test_report_builds_the_last_plan_or_the_one_named(tmp_path, monkeypatch):
    def build_report(store, plan, out, public, pdf):
        return SimpleNamespace(summary=f"{plan['name']} is built", page=out / "index.html")

    monkeypatch.setitem(sys.modules, "mmvae_bench.report.build", SimpleNamespace(build_report=build_report))
    monkeypatch.chdir(tmp_path)
    Store(tmp_path / "results").write_plan("quick", {"run_ids": []})
    result = invoke("report", "--out", "here")
    assert result.exit_code == 0
    assert result.output.startswith("quick is built\nReport: here/index.html\nNext: ")
    assert "Report: reports/index.html" in invoke("report", "--suite", "suites/quick.toml").output
    missing = invoke("report", "--suite", "other")
    assert missing.exit_code == 2
    assert "There is no plan 'other' under 'results'. There are quick." in missing.stderr
    (tmp_path / "file").write_text("")
    assert "or choose another --out." in invoke("report", "--out", "file").stderr


def test_lists_say_what_a_data_set_or_suite_is_in_one_column():
    for what, name, says in (
        ("datasets", "cub", "birds (CUB-200"),
        ("suites", "meme_mnist_svhn-small", "MEME, Tables 3"),
    ):
        lines = invoke("list", what).output.splitlines()
        (line,) = (line for line in lines if line.split()[0] == name)
        column = line.index(says)
        assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)
    assert "cross_coherence" in invoke("list", "metrics").output.splitlines()


def test_a_refused_plugin_is_a_warning_sentence(monkeypatch):
    point = EntryPoint("mvae", "theirs:MVAE", "mmvae_bench.models")
    monkeypatch.setattr("mmvae_bench.registry.entry_points", lambda group: [point])
    monkeypatch.delitem(models.registry.__dict__, "_plugins", raising=False)
    result = invoke("list", "models")
    monkeypatch.delitem(models.registry.__dict__, "_plugins", raising=False)
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: The model 'mvae' of theirs:MVAE is ignored")


def test_data_commands_use_the_data_sets_own_words(ran, monkeypatch):
    class Fetched(Pairs):
        def fetch(self, data_dir):
            if str(data_dir) == "full":
                raise DataError("no room")

    monkeypatch.setitem(datasets.registry._loaded, "fetched", Fetched)
    assert invoke("data", "fetch", "fetched").output == "The files of fetched are in 'data'.\n"
    assert invoke("data", "fetch", "fetched", "--data-dir", "full").stderr == "Error: no room\n"
    assert "nothing to fetch" in invoke("data", "fetch", "present").stderr
    assert invoke("data", "check", "fetchd").exit_code == 2
    checker = SimpleNamespace(check=lambda dataset, name, data_dir: [f"{name}: fine"])
    monkeypatch.setitem(sys.modules, "mmvae_bench.datasets.check", checker)
    assert invoke("data", "check", "present").output == "present: fine\n"
    assert invoke("data", "check", "absent").exit_code == 2


def test_env_prints_versions_and_survives_a_broken_torch(monkeypatch):
    result = invoke("env")
    assert result.exit_code == 0
    for word in ("python", "cores", "memory", "torch", "scikit-learn", "cuda", "cache"):
        assert any(line.startswith(word) for line in result.output.splitlines()), word
    monkeypatch.setitem(sys.modules, "torch", None)
    broken = invoke("env")
    assert broken.exit_code == 0
    assert "cuda           unknown: PyTorch cannot be imported" in broken.output


@pytest.mark.parametrize("typed", ["--help", "run --help", "list models", "list datasets", "list nets", "list suites"])
def test_help_and_lists_import_nothing_heavy(typed):
    heavy = ("torch", "torchvision", "pandas", "numpy", "scipy", "sklearn", "matplotlib", "rich")
    code = (
        f"import sys; from mmvae_bench.cli import main; main({typed.split()!r}, standalone_mode=False);"
        f"sys.exit(', '.join(m for m in {heavy!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_python_dash_m_works():
    done = subprocess.run(
        [sys.executable, "-m", "mmvae_bench", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("mmvae-bench, version ")
