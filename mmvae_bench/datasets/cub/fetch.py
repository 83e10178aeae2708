"""Download of the pictures of CUB-200-2011."""

from pathlib import Path

import click
from filelock import FileLock

from mmvae_bench.datasets.cub.files import PICTURES, first
from mmvae_bench.datasets.download import Pinned, disk_errors, download

# Size and checksum: tensorflow_datasets/url_checksums/caltech_birds2011.txt; the checksum also in torchvision's
# prototype data set (cub200.py), and in FastAI.jl (src/datasets/fastaidatasets.jl) for the copy at the second place.
CUB = Pinned(
    urls=(
        "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
        "https://s3.amazonaws.com/fast-ai-imageclas/CUB_200_2011.tgz",
    ),
    size=1_150_585_339,
    sha256="0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
)


def fetch(data_dir: Path) -> None:
    """Download the pictures into ``data_dir/cub``, unless there are pictures already.

    Raises:
        DataError: If the download fails.
    """
    path = data_dir / "cub" / "CUB_200_2011.tgz"
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(".lock")):
            if found := first(data_dir, PICTURES):  # perhaps downloaded by another process in the meantime
                click.echo(f"Found: {found} (mmvae-bench data check cub examines it)")
            else:
                download(CUB, path)
                click.echo(f"Downloaded: {path}")
