import io
import shutil

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from mmvae_bench.datasets.cub import Cub, _shrunk, find, read_official, read_partial
from mmvae_bench.errors import DataError
from tests.helpers import REAL, needs

pytestmark = pytest.mark.filterwarnings("ignore:.*is not the complete official CUB")

JPEG, CUT = b"a picture", b"half a picture"  # stand for real ones

# --- which files, and the cache --------------------------------------------------------------------------------------


def test_pictures_and_captions_come_before_the_partial_copy(fake, tmp_path):
    def put(*names):
        shutil.rmtree(tmp_path / "d", ignore_errors=True)
        fake.write(tmp_path / "d", dict.fromkeys(names, b""), ".")
        return [path.relative_to(tmp_path / "d").as_posix() for path in find(tmp_path / "d")]

    partial, tgz, xz = "cub/cub_50classes_64px.npz", "cub/CUB_200_2011.tgz", "cub/cub_captions_text_c10.tar.xz"
    assert put(partial) == [partial]
    assert put(partial, xz) == [partial]
    assert put(partial, tgz, xz) == [tgz, xz]
    assert put(tgz, xz, "text_c10/001.A/x.txt", "CUB_200_2011/images.txt") == ["CUB_200_2011", "text_c10"]
    with pytest.raises(DataError, match=r"captions.*0B0ywwgffWnLLZW9uVHNjb2JmNlE.*--from cvpr2016_cub\.tar\.gz"):
        put(partial, tgz)  # never silently less than what is there
    with pytest.raises(DataError, match="data fetch cub --data-dir"):
        put(xz)


# --- broken files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        (
            "text_c10/002.B/x_1.txt",
            "\n".join("123456789").encode(),
            r"1 files without 10 captions: '.*/x_1\.txt \(9\)'",
        ),
        ("text_c10/002.B/x_1.txt", "\n\n".join("123456789ab").encode(), r"x_1\.txt \(11\)'"),
        ("text_c10/002.B/x_1.txt", None, r"lacks the captions .* of 1 of 6 pictures: '002\.B/x_1'. Rename"),
        ("CUB_200_2011/images/004.C/x_1.jpg", CUT, r"truncated or not JPEG: '.*images/004\.C/x_1\.jpg'"),
        ("CUB_200_2011/images/004.C/x_1.jpg", b"<html>", r"not JPEG: '.*images/004\.C/x_1\.jpg'"),
        ("CUB_200_2011/images/004.C/new.jpg", JPEG, r"which images\.txt or .* lacks: 'images/004\.C/new\.jpg'"),
        ("CUB_200_2011/copy/images/002.B/x_1.jpg", JPEG, r"some images/<class>/<name>\.jpg twice"),
        ("text_c10/again/text_c10/002.B/x_1.txt", b"1\n2\n3\n4\n5\n6\n7\n8\n9\n0", r"captions of '002\.B/x_1' twice"),
        ("CUB_200_2011/images.txt", None, r"which images\.txt or train_test_split\.txt lacks"),
        ("CUB_200_2011/train_test_split.txt", b"11 1\n", "train_test_split"),
        ("CUB_200_2011/images.txt", b"1 2 3\n", r"which images\.txt or train_test_split\.txt lacks"),
    ],
)
@pytest.mark.parametrize("store", ["write", "write_archives"])
def test_a_broken_file_is_named_in_one_sentence(store, name, content, match, fake, tmp_path):
    content = {JPEG: fake.jpeg((1, 2, 3)), CUT: fake.jpeg((1, 2, 3))[:-200]}.get(content, content)
    files = fake.contents() | {name: content}
    root = getattr(fake, store)(tmp_path / "data", {n: c for n, c in files.items() if c is not None})
    with pytest.raises(DataError, match=match) as error:
        Cub().build(root)
    assert str(root) in str(error.value) and "\n" not in str(error.value)


def test_all_faults_of_a_kind_are_counted_and_near_names_shown(fake, tmp_path):
    """A wrong name says nothing against the archive of 1.2 GB."""
    files = fake.contents()
    captions = [name for name in files if name.startswith("text_c10/")]
    renamed = {name.replace("x_", "X_") if name in captions[:2] else name: files[name] for name in files}
    with pytest.raises(DataError) as error:
        Cub().build(fake.write(tmp_path / "renamed", renamed))
    why = str(error.value)
    for name in captions[:2]:
        own = name.removeprefix("text_c10/").removesuffix(".txt")
        assert f"'{own}' (is it '{own.replace('x_', 'X_')}'?)" in why
    assert "2 of 6 pictures" in why and "the pictures in" in why and why.endswith("can stay.")
    short = files | dict.fromkeys(captions, b"one caption")
    with pytest.raises(DataError, match=r"6 files without 10 captions: '.*', '.*', '.*' and 3 more"):
        Cub().build(fake.write(tmp_path / "short", short))


@pytest.mark.parametrize("kind", ["eps", "png"])
def test_no_other_format_is_opened_under_the_name_of_a_jpeg(kind, fake, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **options: started.append(args))
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, kind)
    root = fake.write(tmp_path, fake.contents() | {"CUB_200_2011/images/004.C/x_1.jpg": file.getvalue()})
    with pytest.raises(DataError, match=r"truncated or not JPEG: '.*x_1\.jpg'\. Move it away") as error:
        Cub().build(root)
    assert not started and "\n" not in str(error.value)


@pytest.mark.parametrize("fact", [{"captions": np.zeros((2, 10))}, {"official_test": np.array([0, 1])}])
def test_a_partial_copy_with_other_facts_is_one_sentence(fact, tmp_path):
    facts = {
        "images": np.zeros((2, 64, 64, 3), np.uint8), "names": ["001.A/x.jpg", "002.B/x.jpg"],
        "captions": np.full((2, 10), "a bird"), "official_test": np.array([False, True]),
    }  # fmt: skip
    path = tmp_path / "cub_50classes_64px.npz"
    np.savez(path, **facts)
    assert len(Cub().build(tmp_path).test) == 10
    np.savez(path, **facts | fact)
    with pytest.raises(DataError, match="captions and official_test are"):
        Cub().build(tmp_path)


def test_commands_that_are_suggested_can_be_pasted(fake, tmp_path):
    root = fake.write(tmp_path / "my data", fake.contents())
    with pytest.raises(DataError, match=r"--data-dir '/.*my data'$"):
        Cub(image="resnet101").sources(root)
    with pytest.raises(DataError, match=r"--data-dir '/.*my data/no' to download"):
        find(root / "no")


def test_pictures_of_one_side_alone_are_refused(fake, tmp_path):
    root = fake.write(tmp_path, {name: c for name, c in fake.contents().items() if "/002.B/" not in name})
    with pytest.raises(DataError, match="one side of the zero_shot split"):
        Cub().build(root)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 99])
def test_a_broken_partial_copy_is_one_sentence(content, fake, tmp_path):
    fake.write(tmp_path, {"cub_50classes_64px.npz": content})
    with pytest.raises(DataError, match="npz is truncated or damaged"):
        Cub().build(tmp_path)


@needs("cub")
def test_the_real_archives_hold_what_the_partial_copy_holds(tmp_path):
    (tmp_path / "CUB_200_2011.tgz").symlink_to(REAL / "cub" / "CUB_200_2011_mini.tgz")
    (tmp_path / "cub_captions_text_c10.tar.xz").symlink_to(REAL / "cub" / "cub_captions_text_c10.tar.xz")
    mini = read_official(*find(tmp_path), _shrunk)
    copy = read_partial(*find(REAL), _shrunk)
    assert (len(mini.names), len(copy.names)) == (200, 2889)
    assert copy.names == sorted(copy.names)
    same = [copy.names.index(name) for name in mini.names]
    np.testing.assert_array_equal(mini.images, copy.images[same])  # bicubic to the last bit
    np.testing.assert_array_equal(mini.ids, copy.ids[same])
    np.testing.assert_array_equal(mini.official_test, copy.official_test[same])
    assert mini.captions == [copy.captions[i] for i in same]
