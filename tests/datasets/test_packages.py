"""Data sets that are generated are built without torch, and without the packages whose files they read."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "use",
    [
        "captioned_shapes import CaptionedShapes as D; D(level=2).judges({}); D(level=2).build(Path('.'))",
        "avatars import Avatars as D, CAPTIONS; D().judges({}); CAPTIONS.write(__import__('numpy').zeros((1, 5), int))",
        "celeba import CelebA as D; D().judges({}); D().protocol; D().attributes",
        "mnist_street import MnistStreet as D; D().protocol; D().sources(Path('.'))",
        "polymnist import PolyMnist as D; D(m=2, digits='embedded', translated=True).build(Path('.'))",
    ],
    ids=lambda use: use.partition(" ")[0],
)
def test_building_imports_none_of_these(use):
    code = (
        f"import sys; from pathlib import Path; from mmvae_bench.datasets.{use}\n"
        "print([m for m in ('torch', 'matplotlib', 'mlxtend', 'skimage', 'sklearn') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
