import io
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

CLASSES = ("001.A", "002.B", "004.C")  # 1 and 4 are unseen
NAMES = [f"{folder}/{name}" for folder in CLASSES for name in ("x_2", "x_1")]  # CUB's numbers are not in files' order
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 3))


def jpeg(colour, size=(40, 20)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, tuple(int(c) for c in colour)).save(file, "jpeg", quality=95)
    return file.getvalue()


def lines(i: int) -> list[str]:
    """Ten captions of picture i: its own word, the words of all, and one that is too rare."""
    return [
        f"A picture{i} of bird, line {j}. It is two sentences." + (" rare" if i == j == 2 else "") for j in range(10)
    ]


def contents() -> dict[str, bytes]:
    """The official layout with six pictures; the second of each class is of the official test split."""
    files = {f"CUB_200_2011/images/{name}.jpg": jpeg(COLOURS[i]) for i, name in enumerate(NAMES)}
    files["CUB_200_2011/images.txt"] = "".join(f"{i + 11} {n}.jpg\n" for i, n in enumerate(NAMES)).encode()
    files["CUB_200_2011/train_test_split.txt"] = "".join(f"{i + 11} {(i + 1) % 2}\n" for i in range(6)).encode()
    files["CUB_200_2011/README"] = b"not read"
    return files | {f"text_c10/{name}.txt": "\n".join(lines(i)).encode() for i, name in enumerate(NAMES)}


def write(root: Path, files: dict[str, bytes], place: str = "cub") -> Path:
    for name, content in files.items():
        path = root / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def pack(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:xz" if path.suffix == ".xz" else "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def write_archives(root: Path, files: dict[str, bytes]) -> Path:
    (root / "cub").mkdir(parents=True)
    for start, name in (("CUB_200_2011", "CUB_200_2011.tgz"), ("text_c10", "cvpr2016_cub.tar.gz")):
        prefix = "cvpr2016_cub/" if start == "text_c10" else "./"
        pack(root / "cub" / name, {prefix + n: c for n, c in files.items() if n.startswith(start)})
    return root


@pytest.fixture
def fake():
    """A CUB of six pictures in the official layout: its contents, and how to write them."""
    return SimpleNamespace(
        names=NAMES, colours=COLOURS, jpeg=jpeg, lines=lines, contents=contents, pack=pack, write=write,
        write_archives=write_archives,
    )  # fmt: skip


@pytest.fixture
def folder(fake, tmp_path):
    """It as folders below ``cub``."""
    return fake.write(tmp_path / "folder", fake.contents())
