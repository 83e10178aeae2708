import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

from mmvae_bench.cli.app import main
from mmvae_bench.datasets.cub import fetch as cub_fetch
from mmvae_bench.datasets.cub.dataset import Cub
from mmvae_bench.datasets.cub.fetch import CUB


@pytest.fixture
def asked(fake, tmp_path, monkeypatch):
    """Downloads bring an archive of six pictures; the files that were asked for."""
    archives = fake.write_archives(tmp_path / "made", fake.contents()) / "cub"
    asked, inside = [], []

    def bring(pinned, path):
        inside.append(True)
        time.sleep(0.2)
        assert len(inside) == 1
        asked.append(pinned)
        shutil.copy(archives / "CUB_200_2011.tgz", path)
        inside.pop()

    monkeypatch.setattr(cub_fetch, "download", bring)
    return asked


def fetch(data, name="cub"):
    return CliRunner().invoke(main, ["data", "fetch", name, "--data-dir", str(data)])


def test_pictures_are_downloaded_where_there_are_none_and_captions_asked_for(asked, tmp_path):
    path = tmp_path / "data" / "cub" / "CUB_200_2011.tgz"
    for said in ("Downloaded", "Found"):
        result = fetch(tmp_path / "data")
        assert result.exit_code == 2 and "Get cvpr2016_cub.tar.gz (https" in result.stderr
        assert result.stdout.startswith(f"{said}: {path}")
        assert asked == [CUB]
    shutil.copy(tmp_path / "made" / "cub" / "cvpr2016_cub.tar.gz", path.parent)
    result = fetch(tmp_path / "data")
    assert result.exit_code == 0 and f"The files of cub are in '{tmp_path / 'data'}'." in result.output
    result = fetch(tmp_path / "data", "cub[image=resnet101]")
    assert result.exit_code == 2 and "resnet101.safetensors" in result.stderr
    assert CUB.size == 1_150_585_339 and len({url.split("/")[2] for url in CUB.urls}) == len(CUB.urls) == 2


def test_two_at_once_wait_for_each_other(asked, tmp_path):
    shutil.copytree(tmp_path / "made", tmp_path / "data", ignore=shutil.ignore_patterns("*.tgz"))
    with ThreadPoolExecutor(2) as threads:
        for job in [threads.submit(cub_fetch.fetch, tmp_path / "data") for _ in range(2)]:
            job.result()
    assert asked == [CUB] and len(Cub().sources(tmp_path / "data")) == 2


def test_generated_data_sets_have_nothing_to_fetch(tmp_path):
    result = fetch(tmp_path, "linear_gaussian")
    assert result.exit_code == 2 and "nothing to fetch" in result.output


def test_the_help_says_what_is_written_and_what_is_the_default():
    for command in (("data", "fetch"), ("run",)):
        said = " ".join(CliRunner().invoke(main, [*command, "--help"]).output.split())
        assert "only 'data fetch' writes there." in said and "read only" not in said
    assert said.count("Default: the data set's protocol.") == 5 and "next three" not in said
