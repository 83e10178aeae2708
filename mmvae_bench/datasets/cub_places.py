"""Where the files of CUB-200-2011 lie, and which of them are read."""

import shlex
from collections.abc import Iterable
from itertools import product
from pathlib import Path

from mmvae_bench.errors import DataError

PLACES = (".", "cub")  # below data_dir, searched in this order; in each, these names:
PICTURES = ("CUB_200_2011", "CUB_200_2011.tgz", "CUB_200_2011.zip")
CAPTIONS = ("text_c10", "cub_captions_text_c10.tar.xz", "cvpr2016_cub.tar.gz", "cub_captions_text_c10.zip")
PARTIAL = ("cub_50classes_64px.npz",)


def find(data_dir: Path) -> list[Path]:
    """Decide what is read: pictures and captions, or the partial copy alone where the official pictures are absent.

    Returns:
        Pictures (a folder or an archive) and captions (the same); or one ``.npz``.

    Raises:
        DataError: If neither is complete: says what is missing and how to get it.
    """
    pictures, captions, partial = (first(data_dir, names) for names in (PICTURES, CAPTIONS, PARTIAL))
    if pictures and captions:
        return [pictures, captions]
    if partial and not pictures:
        return [partial]
    command, place = f"mmvae-bench data fetch cub --data-dir {shlex.quote(str(data_dir))}", data_dir / "cub"
    if not pictures:
        raise DataError(
            f"cub needs the pictures of CUB-200-2011: {command} downloads them (1.2 GB), or put CUB_200_2011.tgz, or "
            f"the folder CUB_200_2011 out of it, into {place}"
        )
    raise DataError(
        "cub needs the captions of Reed et al. 2016, which have no checksum to download them by: get "
        "cvpr2016_cub.tar.gz (https://drive.google.com/file/d/0B0ywwgffWnLLZW9uVHNjb2JmNlE/view) and run "
        f"{command} --from cvpr2016_cub.tar.gz, or put its folder text_c10 into {place}"
    )


def first(data_dir: Path, names: Iterable[str]) -> Path | None:
    """The first of :func:`places` that is there."""
    return next((path for path in places(data_dir, names) if path.exists()), None)


def places(data_dir: Path, names: Iterable[str]) -> list[Path]:
    """Where ``names`` are looked for, in this order: each of them in each of :data:`PLACES`."""
    return [data_dir / place / name for place, name in product(PLACES, names)]
