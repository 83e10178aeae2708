import shutil
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from mmvae_bench.cli.app import main
from mmvae_bench.datasets import cub as cub_fetch
from mmvae_bench.datasets.cub import CUB, Cub, recognise
from mmvae_bench.datasets.resnet import WEIGHTS_NAME
from mmvae_bench.errors import DataError

CAPTIONS = "cvpr2016_cub.tar.gz"


@pytest.fixture
def mine(fake, tmp_path):
    """Archives that a user got by hand, under names of his own."""
    made = fake.write_archives(tmp_path / "made", fake.contents()) / "cub"
    (made / "CUB_200_2011.tgz").rename(tmp_path / "birds(1).tar")
    (made / CAPTIONS).rename(tmp_path / "download.bin")
    names = ("conv1.weight", "layer3.22.conv3.weight", "fc.weight")
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args):
        raise AssertionError("nothing was to be downloaded")

    monkeypatch.setattr(cub_fetch, "download", refuse)


def fetch(data, *args, name="cub"):
    return CliRunner().invoke(main, ["data", "fetch", name, "--data-dir", str(data), *map(str, args)])


def bringing(file, monkeypatch):
    """Downloads bring this file; returns what was asked for."""
    asked = []

    def bring(pinned, path):
        asked.append(pinned)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, path)
        return "the second place"

    monkeypatch.setattr(cub_fetch, "download", bring)
    return asked


def test_files_are_known_by_their_content(mine, offline, tmp_path):
    data = tmp_path / "data"
    result = fetch(data, "--from", mine / "download.bin", "--from", mine / "model.safetensors")
    assert result.exit_code == 0, result.output
    assert "Still missing: cub needs the pictures" in result.output
    result = fetch(data, "--from", mine / "birds(1).tar")
    assert result.exit_code == 0 and f"The files of cub are in '{data}'." in result.output
    files = {path.name for path in (data / "cub").iterdir()} - {".lock"}
    assert files == {"CUB_200_2011.tgz", CAPTIONS, WEIGHTS_NAME}
    with pytest.warns(UserWarning, match="not the complete"):
        assert len(Cub().build(data).test) == 40


def test_the_same_file_twice_is_fine_and_another_overwrites_nothing(mine, offline, tmp_path, fake):
    assert fetch(tmp_path, "--from", mine / "download.bin").exit_code == 0
    assert fetch(tmp_path, "--from", mine / "download.bin").exit_code == 0
    assert fetch(tmp_path, "--from", tmp_path / "cub" / CAPTIONS).exit_code == 0  # in place already
    before = (tmp_path / "cub" / CAPTIONS).read_bytes()
    fake.pack(tmp_path / "other.gz", {"text_c10/002.B/x_1.txt": b"another"})
    result = fetch(tmp_path, "--from", tmp_path / "other.gz")
    assert result.exit_code == 2 and "with a different content. Move it away" in result.output
    assert (tmp_path / "cub" / CAPTIONS).read_bytes() == before


def test_what_is_not_of_cub_is_refused_in_one_sentence(mine, fake, tmp_path):
    whole = (mine / "download.bin").read_bytes()
    (tmp_path / "half.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.gz").write_bytes(b"<html>Google Drive cannot scan this file")
    fake.pack(tmp_path / "evil.gz", {"text_c10/002.B/x_1.txt": b"1", "../evil": b"2"})
    fake.pack(tmp_path / "else.gz", {"notes.txt": b"1"})
    expected = {
        "half.gz": "truncated or damaged",
        "page.gz": "not one of the files that cub reads",
        "evil.gz": "outside its own folder",
        "else.gz": "not one of the files that cub reads",
    }
    for name, match in expected.items():
        result = fetch(tmp_path / "data", "--from", tmp_path / name)
        assert result.exit_code == 2 and match in result.output, result.output
        assert result.output.count("\n") == 1
        assert not (tmp_path / "data").exists()
    assert fetch(tmp_path / "data", "--from", tmp_path / "absent").exit_code == 2
    with pytest.raises(DataError, match="takes a file"):
        recognise(tmp_path)


def test_every_archive_that_is_taken_gets_a_name_that_is_looked_for(mine, fake, tmp_path):
    text = {name: c for name, c in fake.contents().items() if name.startswith("text_c10")}
    fake.pack(tmp_path / "any.xz", text)
    assert recognise(tmp_path / "any.xz") == "cub_captions_text_c10.tar.xz"
    for start, name in (("text_c10", "cub_captions_text_c10.zip"), ("CUB_200_2011", "CUB_200_2011.zip")):
        part = {name: content for name, content in fake.contents().items() if name.startswith(start)}
        shutil.make_archive(tmp_path / f"any-{start}", "zip", fake.write(tmp_path / start, part, "."))
        assert recognise(tmp_path / f"any-{start}.zip") == name
    assert {recognise(mine / name) for name in ("birds(1).tar", "download.bin", "model.safetensors")} == {
        "CUB_200_2011.tgz", CAPTIONS, WEIGHTS_NAME
    }  # fmt: skip


def test_pictures_are_downloaded_where_there_are_none_and_captions_asked_for(mine, tmp_path, monkeypatch):
    asked = bringing(mine / "birds(1).tar", monkeypatch)
    path = tmp_path / "data" / "cub" / "CUB_200_2011.tgz"
    for said in ("Downloaded", "Found"):
        result = fetch(tmp_path / "data")
        assert result.exit_code == 2 and "--from cvpr2016_cub.tar.gz" in result.stderr
        assert result.stdout.startswith(f"{said}: {path}")
        assert asked == [CUB]
    assert fetch(tmp_path / "data", "--from", mine / "download.bin").exit_code == 0
    assert fetch(tmp_path / "data").exit_code == 0
    result = fetch(tmp_path / "data", name="cub[image=resnet101]")
    assert result.exit_code == 2 and result.stdout.startswith(f"Found: {path} (") and WEIGHTS_NAME in result.stderr
    assert CUB.size == 1_150_585_339 and len({url.split("/")[2] for url in CUB.urls}) == len(CUB.urls) == 2


def test_what_would_not_be_read_is_not_taken(mine, offline, fake, tmp_path):
    data = fake.write(tmp_path / "data", fake.contents())
    for file, shadow in (("birds(1).tar", "CUB_200_2011"), ("download.bin", "text_c10")):
        result = fetch(data, "--from", mine / file)
        assert result.exit_code == 2 and "Taken" not in result.stdout
        assert f"would not be read: {data / 'cub' / shadow} is read before it. Move that away" in result.stderr
        shutil.rmtree(data / "cub" / shadow)
        assert fetch(data, "--from", mine / file).exit_code == 0
    fake.pack(tmp_path / "other.xz", {"text_c10/002.B/x_1.txt": b"another"})
    assert fetch(data, "--from", tmp_path / "other.xz").exit_code == 0  # is itself read first
    result = fetch(data, "--from", mine / "download.bin")
    assert result.exit_code == 2 and "cub_captions_text_c10.tar.xz is read before it. Move that away" in result.stderr
    shutil.copy(mine / "model.safetensors", data / WEIGHTS_NAME)
    assert fetch(data, "--from", mine / "model.safetensors").exit_code == 0  # is there, in the other place
    assert not (data / "cub" / WEIGHTS_NAME).exists()


def test_two_at_once_wait_for_each_other(mine, tmp_path, monkeypatch):
    asked, inside = bringing(mine / "birds(1).tar", monkeypatch), []
    bring, copy = cub_fetch.download, cub_fetch.bring

    def alone(work):
        def working(*args):
            inside.append(True)
            time.sleep(0.2)
            assert len(inside) == 1
            found = work(*args)
            inside.pop()
            return found

        return working

    monkeypatch.setattr(cub_fetch, "download", alone(bring))
    monkeypatch.setattr(cub_fetch, "bring", alone(copy))
    with warnings.catch_warnings(), ThreadPoolExecutor(3) as threads:
        warnings.simplefilter("ignore")
        data = tmp_path / "data"
        jobs = [threads.submit(Cub().fetch, data) for _ in range(2)]
        for job in [*jobs, threads.submit(Cub().take, [mine / "download.bin"], data)]:
            job.result()
    assert asked == [CUB] and len(Cub().sources(tmp_path / "data")) == 2


def test_a_copy_leaves_alone_what_a_download_goes_on_from(mine, offline, tmp_path):
    part = tmp_path / "data" / "cub" / "CUB_200_2011.tgz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    assert fetch(tmp_path / "data", "--from", mine / "birds(1).tar").exit_code == 0
    assert part.read_bytes() == b"half"


def test_data_sets_that_take_no_files_say_so(mine, tmp_path):
    for name in ("mnist_svhn", "linear_gaussian"):
        result = fetch(tmp_path, "--from", mine / "download.bin", name=name)
        assert result.exit_code == 2 and "takes no --from" in result.output
