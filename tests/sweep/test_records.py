import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import mmvae_bench
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
