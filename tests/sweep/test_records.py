import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import mmvae_bench
from mmvae_bench.store.run import Part, parts
from mmvae_bench.sweep import records
from tests.stored import spec


@pytest.mark.parametrize("name", ["models/mvae.py", "engine/step.py", "probability/bounds.py", "spec.py"])
def test_a_checkpoint_of_other_code_is_not_resumed(name, tmp_path, monkeypatch):
    """The hash is of the whole package, not of the folder in which it is computed."""
    assert Path(mmvae_bench.__file__).parent == records.PACKAGE
    run = replace(spec(), model=replace(spec().model, name="mvae"))
    copy = shutil.copytree(records.PACKAGE, tmp_path / "package", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(records, "PACKAGE", copy)
    monkeypatch.setattr(records, "code_of", lambda _: {})
    before = records._code(run)
    assert records._code(run) == before
    with (copy / name).open("a") as file:
        file.write("# changed\n")
    assert records._code(run) != before


def test_a_prior_with_several_options_is_one_part_of_a_run():
    priors = {"frechet": {"ncp": "a", "ncp[bound=2]": "a", "gmm": "b"}, "cca": {"ncp[bound=2]": "a"}}
    record = {"code": {"metrics": {"frechet": "c", "cca": "d"}}, "priors": priors}
    assert parts(record) == [
        Part("metric", "frechet", "c"), Part("prior", "ncp", "a"), Part("prior", "gmm", "b"),
        Part("metric", "cca", "d"),
    ]  # fmt: skip
