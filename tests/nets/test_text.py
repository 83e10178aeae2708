"""Nets of captions: every length, tied words, and that padding says nothing."""

import pytest
import torch
from torch import nn

from mmvae_bench import nets
from mmvae_bench.errors import Unsupported
from mmvae_bench.nets.text import TEXT, TransformerEncoder
from mmvae_bench.probability.distributions import CATEGORICAL
from mmvae_bench.types import Modality

V, E, L = 11, 32, 5
KINDS = sorted(TEXT)
both = pytest.mark.parametrize("text", KINDS)


def make(text, length=8, **options):
    torch.manual_seed(0)
    m = Modality("caption", (length,), "categorical", dtype="int16", vocabulary=("w",) * V)
    return nets.registry.get("conv")([m], L, text=text, **{"embedding": E, **options})


def captions(*lengths, length=8):
    """Random words, then <eos>, then padding; a length of 0 is an absent caption."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, V, (len(lengths), length), generator=generator)
    for row, n in zip(ids, lengths, strict=True):
        row[n:] = 0
        row[n - 1 : n] = 2
    return ids


def elbo(made, ids):
    """A loss that trains everything: log p(x | z) at the encoder's loc, and its raw scales."""
    loc, raw = made.encode_entries("caption", ids).chunk(2, -1)
    return CATEGORICAL.log_prob(ids, made.decode("caption", loc), 1.0, 1).sum() - raw.square().sum()


@both
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("length", "width"), [(8, 32), (16, 32), (32, 32), (8, 128), (16, 128), (32, 128)])
def test_shapes(text, rows, length, width):
    made = make(text, length, embedding=width)
    out = made.encode_entries("caption", captions(*[length] * rows, length=length))
    assert out.shape == (rows, 2 * L)
    assert made.decoders["caption"](torch.randn(rows, L)).shape == (rows, length, width)
    assert made.decode("caption", torch.randn(2, rows, L)).shape == (2, rows, length, V)


def test_conv_halves_the_map_as_the_papers_nets_do():
    encoder = nets.registry.get("conv")([Modality("c", (32,), dtype="int16", vocabulary=("w",))], 64).encoders["c"]
    x, maps = torch.randn(2, 32, 128), []
    for layer in encoder:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            maps.append(tuple(x.shape[1:]))
    assert maps == [(32, 16, 64), (64, 8, 32), (128, 4, 16), (128, 4, 8), (128, 4, 4), (128, 1, 1)]
    weights = 16 * (1 * 32 + 32 * 64 + 64 * 128) + 2 * 4 * 128 * 128  # no biases where a norm follows
    norms, heads = 2 * (32 + 64 + 3 * 128), 2 * (16 * 128 * 64 + 64)
    assert sum(p.numel() for p in encoder.parameters()) == weights + norms + heads


@pytest.mark.parametrize(("length", "width"), [(4, 32), (12, 32), (32, 16), (8, 48)])
def test_conv_says_which_captions_it_cannot_have(length, width):
    with pytest.raises(Unsupported, match=r"conv\[text=transformer\]"):
        make("conv", length, embedding=width)


def test_the_transformer_takes_any_length_and_says_which_sizes_it_cannot_have():
    assert make("transformer", 5, embedding=12).encode_entries("caption", captions(5, length=5)).shape == (1, 2 * L)
    with pytest.raises(Unsupported, match="multiple of 4"):
        make("transformer", embedding=30)


@both
def test_gradients_are_finite_and_reach_every_parameter(text):
    made = make(text)
    elbo(made, captions(8, 3, 1)).backward()
    for name, p in made.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all() and p.grad.any(), name


@both
def test_an_absent_caption_is_finite_and_moves_no_other_row(text):
    made = make(text).double()
    ids = captions(6, 0, 3)
    out = made.encode_entries("caption", ids)
    assert out.isfinite().all()
    torch.testing.assert_close(out[[0, 2]], made.encode_entries("caption", ids[[0, 2]]))
    grads = torch.autograd.grad(out[1].sum(), list(made.parameters()), allow_unused=True)
    assert all(g.isfinite().all() for g in grads if g is not None)


@both
def test_evaluation_gives_the_numbers_of_training(text):
    made = make(text)
    ids, z = captions(8, 3, 0), torch.randn(3, L)
    trained = made.encode_entries("caption", ids), made.decode("caption", z)
    made.eval()
    with torch.no_grad():
        evaluated = made.encode_entries("caption", ids), made.decode("caption", z)
    assert all(torch.equal(a, b) for a, b in zip(trained, evaluated, strict=True))


@both
def test_tied_words_are_one_parameter_that_trains_from_both_sides(text):
    made, untied = make(text), make(text, tied=False)
    assert sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in made.parameters()) == V * E
    table = made.words["caption"].embedding.weight
    assert [name for name, p in made.named_parameters() if p.shape == (V, E)] == ["words.caption.embedding.weight"]
    (reading,) = torch.autograd.grad(made.encode_entries("caption", captions(4)).square().sum(), table)
    (writing,) = torch.autograd.grad(made.decode("caption", torch.randn(2, L))[..., 3].sum(), table)
    assert reading.any() and writing[3].any()


@both
@pytest.mark.parametrize("tied", [True, False])
def test_padding_embeds_to_exact_zeros_also_after_training(text, tied):
    made = make(text, tied=tied)
    optimiser = torch.optim.Adam(made.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        (-elbo(made, captions(6, 3))).backward()
        optimiser.step()
    vectors = made.embed("caption", captions(6, 0))
    assert not vectors[0, 6:].any() and not vectors[1].any() and vectors[0, :6].any()


def test_the_transformer_gives_the_mean_over_words():
    """The same words alone, in a net of their own length with the same weights."""
    long, short = TransformerEncoder(8, E, L).double(), TransformerEncoder(5, E, L).double()
    state = long.state_dict()
    short.load_state_dict({**state, "positions": state["positions"][:5]})
    vectors = torch.randn(2, 8, E, dtype=torch.float64)
    vectors[:, 5:] = 0
    torch.testing.assert_close(long(vectors), short(vectors[:, :5]))
    assert not torch.allclose(short(vectors[:, :5]), short(vectors[:, :5].flip(1)))  # their order says something


def test_padding_of_a_learned_caption_stays_padding():
    """MEME's pseudo-inputs are vectors: where they are zero, nothing flows into them."""
    u = torch.randn(2, 8, E)
    u[0, 3:] = 0
    u.requires_grad_()
    TransformerEncoder(8, E, L)(u).square().sum().backward()
    assert u.grad[0, :3].any() and not u.grad[0, 3:].any()


def test_layers_do_not_start_as_copies():
    first, second = TransformerEncoder(8, E, L).layers.layers
    assert not any(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True) if a.dim() == 2
    )


@both
def test_a_decoder_knows_how_long_z_is(text):
    """A group norm right after z would not: the posterior's mean would be decoded like its draws."""
    decoder = make(text).decoders["caption"]
    z = torch.randn(1, L)
    assert not torch.allclose(decoder(z), decoder(3 * z), atol=1e-3)
