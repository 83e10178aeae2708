import errno
import gzip
import io
import lzma
import os
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmvae_bench.datasets import archives
from mmvae_bench.datasets.archives import members
from mmvae_bench.errors import DataError

CONTENT = {"a/one.txt": b"1", "a/two.txt": os.urandom(3000), "b/three.txt": b""}
KINDS = ("tgz", "tar.xz", "zip")


def entry(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, target: str = "") -> tuple:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(content) if kind == tarfile.REGTYPE else 0
    return info, content


def pack(path: Path, entries: list[tuple], compress=gzip.compress) -> Path:
    """A .tar of (info, content), compressed."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    path.write_bytes(compress(raw.getvalue()))
    return path


def pack_zip(path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for info, content in entries:
            file.writestr(info, content)
    return path


def make(kind: str, folder: Path, content=CONTENT) -> Path:
    path = folder / "archive.bin"  # the content says what it is, not the name
    if kind == "zip":
        return pack_zip(path, list(content.items()))
    return pack(path, [entry(n, c) for n, c in content.items()], gzip.compress if kind == "tgz" else lzma.compress)


def read(path: Path) -> dict[str, bytes]:
    return dict(members(path, lambda name: True))


def names(path: Path) -> list[str]:
    """The names of all files inside, none of which is read."""
    found: list[str] = []
    assert list(members(path, found.append)) == []
    return found


def refused(path: Path, match: str) -> None:
    """One sentence that names the archive."""
    with pytest.raises(DataError, match=match) as error:
        read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@contextmanager
def little_memory(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_members_come_in_order_and_only_those_wanted(kind, tmp_path):
    path = make(kind, tmp_path)
    assert list(members(path, lambda name: True)) == list(CONTENT.items())
    assert list(members(path, lambda name: name.startswith("b/"))) == [("b/three.txt", b"")]
    assert names(path) == list(CONTENT)
    assert list(tmp_path.iterdir()) == [path]  # nothing is extracted


def test_a_folder_is_read_as_an_archive_would_be(tmp_path):
    for name, content in reversed(CONTENT.items()):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert list(members(tmp_path, lambda name: True)) == list(CONTENT.items())


def test_leading_dots_go_and_what_macos_leaves_is_not_read(tmp_path):
    path = pack(tmp_path / "a", [entry("./", kind=tarfile.DIRTYPE), entry("./a/./x"), entry("./a/._x"), entry("a/._y")])
    assert names(path) == ["a/x"]
    assert names(pack_zip(tmp_path / "z", [("a/", b""), ("a/x", b"1"), ("__MACOSX/a/x", b"2")])) == ["a/x"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:/x", "..\\x", "a/.."])
def test_names_outside_the_folder_are_refused_even_where_not_wanted(name, tmp_path):
    for path in (pack(tmp_path / "t", [entry("a/ok"), entry(name)]), pack_zip(tmp_path / "z", [(name, b"x")])):
        with pytest.raises(DataError, match="outside its own folder"):
            list(members(path, lambda name: False))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind, tmp_path):
    refused(pack(tmp_path / "t", [entry("a/link", kind=kind, target="/etc/passwd")]), "link or device 'a/link'")


def test_links_in_a_zip_are_refused(tmp_path):
    info = zipfile.ZipInfo("a/link")
    info.external_attr = 0o120777 << 16
    refused(pack_zip(tmp_path / "z", [(info, b"/etc/passwd")]), "link or device 'a/link'")


def test_a_name_twice_is_refused(tmp_path):
    refused(pack(tmp_path / "t", [entry("a/x", b"1"), entry("./a/x", b"2")]), "'a/x' twice")


@pytest.mark.parametrize("kind", KINDS)
def test_bombs_are_refused_before_they_are_read(kind, tmp_path, monkeypatch):
    path = make(kind, tmp_path, {"small": b"1", "large": bytes(100_000)})
    monkeypatch.setattr(archives, "MEMBER", 50_000)
    refused(path, "'large' of 100,000 bytes")
    assert dict(members(path, lambda name: name == "small")) == {"small": b"1"}  # passing over it is fine
    monkeypatch.setattr(archives, "EXPANDED", 60_000)
    with pytest.raises(DataError, match="more than 60,000 bytes"):
        list(members(path, lambda name: False))
    monkeypatch.undo()
    monkeypatch.setattr(archives, "MEMBERS", 0)
    refused(path, "more than 0 members")


def test_a_header_that_declares_gigabytes_is_not_read(tmp_path):
    info, _ = entry("././@LongLink", kind=tarfile.GNUTYPE_LONGNAME)
    info.size = 1 << 17
    path = tmp_path / "t"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 17)))
    refused(path, "more than 65,536 bytes of headers")
    info, _ = entry("unwanted")
    info.size = 1 << 40  # nor is a member passed over that would take hours
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 10)))
    with pytest.raises(DataError, match=r"more than 17,179,869,184 bytes\."):
        list(members(path, lambda name: False))


def test_pax_headers_are_not_kept_and_a_chain_of_them_is_refused(tmp_path):
    entries = [entry(f"a/{i}") for i in range(200)]
    for i, (info, _) in enumerate(entries):
        info.pax_headers = {f"comment{i}": "x" * 50_000}
    path = pack(tmp_path / "t", entries)  # ten megabytes in all
    with little_memory(2_000_000):
        assert len(names(path)) == 200
    common = b"".join(tarfile.TarInfo.create_pax_global_header({f"k{i}": "x" * 9000}) for i in range(8))
    path.write_bytes(gzip.compress(common + entry("a/x")[0].tobuf() + bytes(2048)))
    refused(path, "more than 65,536 bytes of headers")
    each = [
        tarfile.TarInfo.create_pax_global_header({f"k{i}": "x" * 50_000}) + entry(f"{i}", b"")[0].tobuf()
        for i in range(200)
    ]
    path.write_bytes(gzip.compress(b"".join(each) + bytes(1024)))
    with little_memory(2_000_000):
        assert len(names(path)) == 200


@pytest.mark.parametrize("name", ["a/\x1b[2J", "a\nError: run this", "a/\u202egpj", "x" * 1001, "a/\udce9"])
def test_names_that_would_garble_a_sentence_are_refused(name, tmp_path):
    refused(pack(tmp_path / "t", [entry("a/ok"), entry(name)]), "a member named '")
    if "\udce9" not in name:  # a zip cannot hold it
        refused(pack_zip(tmp_path / "z", [(name, b"x")]), "a member named '")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_what_cannot_be_read_is_not_called_damaged(number, tmp_path, monkeypatch):
    path = make("tgz", tmp_path)

    def broken(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(archives.gzip, "open", broken)
    refused(path, rf"cannot be read or written \({os.strerror(number)}\)")
    monkeypatch.setattr(Path, "open", broken)
    refused(path, rf"cannot be read or written \({os.strerror(number)}\)")


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(st.floats(0, 1, exclude_max=True))
def test_a_truncated_archive_is_one_sentence(kind, tmp_path_factory, keep):
    path = make(kind, tmp_path_factory.mktemp("t"))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    refused(path, r"truncated or damaged|is not a \.tar\.gz")


@pytest.mark.parametrize("cut", [512, 1000, 1024, 4000, 5120])
def test_a_tar_that_was_truncated_before_it_was_compressed_is_no_smaller_one(cut, tmp_path):
    path = make("tgz", tmp_path)
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole[:cut]))
    refused(path, "truncated or damaged")
    path.write_bytes(gzip.compress(whole[:1024] + b"\xff" * 512 + whole[1536:]))  # a broken header
    refused(path, "no end mark")


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte_is_noticed(kind, tmp_path):
    path = make(kind, tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)
    refused(path, "truncated or damaged")


def test_what_is_no_archive_is_refused(tmp_path):
    for content in (b"", b"x", b"<html>" * 99, bytes(1000)):
        (tmp_path / "file").write_bytes(content)
        refused(tmp_path / "file", r"is not a \.tar\.gz, \.tar\.xz or \.zip")
    refused(tmp_path / "absent", "absent")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_declares_less_than_it_holds_is_not_expanded(method, tmp_path):
    path, size = tmp_path / "z", 20 << 20
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a/x", bytes(size))
    raw = path.read_bytes().replace(struct.pack("<L", size), struct.pack("<L", 10))
    path.write_bytes(raw.replace(struct.pack("<L", zlib.crc32(bytes(size))), struct.pack("<L", zlib.crc32(bytes(10)))))
    with little_memory(5_000_000):
        if method == zipfile.ZIP_DEFLATED:
            assert read(path) == {"a/x": bytes(10)}
        else:
            refused(path, "'a/x' in an unknown compression")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_negative_size_neither_goes_back_nor_reads_all(kind, tmp_path):
    for size in (-512, -1024, -(1 << 40)):
        info, _ = entry("a/x", kind=kind)
        info.size, path = size, tmp_path / "t"
        path.write_bytes(
            gzip.compress(entry("a/ok", b"")[0].tobuf() + info.tobuf(tarfile.GNU_FORMAT) + bytes(12 << 20))
        )
        with little_memory(5_000_000):
            refused(path, "truncated or damaged")


def test_names_are_quoted(tmp_path):
    with pytest.raises(DataError, match=r"named '\.\./\\xe9', outside"):
        names(pack(tmp_path / "t", [entry("../é")]))


def test_a_zips_list_of_members_is_not_read_if_it_is_too_long(tmp_path, monkeypatch):
    path = pack_zip(tmp_path / "z", [(f"{i:0100}", b"") for i in range(100)])
    monkeypatch.setattr(archives, "MEMBER", 10_000)
    refused(path, "more than 10,000 bytes of names")
