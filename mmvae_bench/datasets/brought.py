"""Files that a user has: where they are looked for, and how ``data fetch --from`` copies them there."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from filelock import FileLock

from mmvae_bench.datasets.download import disk_errors, sha256
from mmvae_bench.disk import sync
from mmvae_bench.errors import DataError


def first(data_dir: Path, own: str, names: Iterable[str]) -> Path | None:
    """Return the first existing file or folder of these names in ``data_dir``, then in its folder ``own``; or None."""
    paths = (data_dir / place / name for place, name in product((".", own), names))
    return next((path for path in paths if path.exists()), None)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder, and hold its lock."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            yield


def bring(file: Path, data_dir: Path, own: str, name: str, group: Sequence[str]) -> None:
    """Copy a user's file to ``data_dir/own/name``, unless the same file is there; its lock is held.

    Args:
        file: of the user.
        data_dir: folder of all data.
        own: its folder of this data set.
        name: under which the file is read.
        group: all names under which such content is read, in this order.

    Raises:
        DataError: If a different file is there, or one that is read before it.
    """
    path, digest, found = data_dir / own / name, sha256(file), first(data_dir, own, group)
    if found and found.is_file() and sha256(found) == digest:
        return
    if found == path:
        raise DataError(f"{path} exists with a different content. Move it away to take {file}.")
    if found and group.index(found.name) <= group.index(name):
        raise DataError(f"{file} would not be read: {found} is read before it. Move that away and run it again.")
    part = path.with_name(f"{name}.copy")
    shutil.copyfile(file, part)
    sync(part)
    part.replace(path)
