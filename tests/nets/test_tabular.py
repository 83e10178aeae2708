"""Residual nets for tables take views of any size, and words."""

import pytest
import torch
from torch import nn

from mmvae_bench import nets
from mmvae_bench.nets.tabular import Block, residual
from mmvae_bench.types import Modality

WORDS = ("<pad>", "a", "b")
VIEWS = [Modality(f"x{d}", (d,), "normal", dtype="float32") for d in (1, 5, 300)]
SYMBOL = Modality("symbol", (1,), "categorical", dtype="int16", vocabulary=WORDS)
CAPTION = Modality("caption", (6,), "categorical", dtype="int16", vocabulary=WORDS)
PICTURE = Modality("picture", (3, 4, 5))


@pytest.mark.parametrize("m", [*VIEWS, SYMBOL, CAPTION, PICTURE], ids=lambda m: m.name)
def test_every_entry_is_encoded_and_decoded_to_its_own_shape(m: Modality) -> None:
    made = nets.registry.get("tabular")([*VIEWS, SYMBOL, CAPTION, PICTURE], 4)
    x = torch.randint(3, (2, *m.shape)) if m.is_text else torch.rand(2, *m.shape)
    assert made.encode_entries(m.name, x).shape == (2, 8)
    theta = made.decode(m.name, torch.randn(3, 2, 4))
    assert theta.shape == (3, 2, *m.shape, *([len(WORDS)] if m.is_text else []))


def test_a_block_that_changes_nothing_is_the_identity_and_one_with_known_weights_is_its_formula() -> None:
    block, x = Block(3).double(), torch.randn(4, 3, dtype=torch.float64)
    last = block.change[-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, 0.5)
    torch.testing.assert_close(block(x), x + 0.5)
    first, last = nn.init.eye_(block.change[1].weight), nn.init.eye_(last.weight)
    h = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    a = h @ first.T + block.change[1].bias
    torch.testing.assert_close(block(x), x + 0.5 + (a / (1 + (-a).exp())) @ last.T)


def test_other_rows_do_not_matter() -> None:
    encoder, x = nets.registry.get("tabular")(VIEWS, 4).encoders["x5"].train(), torch.randn(6, 5)
    torch.testing.assert_close(encoder(x)[2:3], encoder(x[2:3]))


@pytest.mark.parametrize(("hidden", "blocks"), [(8, 0), (8, 1), (6, 3)])
def test_hidden_and_blocks_are_what_they_say(hidden: int, blocks: int) -> None:
    count = sum(p.numel() for p in residual(5, 7, hidden, blocks).parameters())
    block = 2 * hidden + (hidden + 1) * 2 * hidden + (2 * hidden + 1) * hidden
    assert count == 6 * hidden + blocks * block + 2 * hidden + (hidden + 1) * 7
