"""Large grids in tiles. Oracle: the same decoder on the whole grid."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vqgan_cli.core.config import TokenizerConfig
from vqgan_cli.core.models import tiled_decoding
from vqgan_cli.core.models.tiled_decoding import decode_in_tiles, decode_tiled
from vqgan_cli.core.models.tokenizer import Tokenizer

HEIGHT, WIDTH = 48, 96  # cells
WHOLE = HEIGHT * WIDTH * 16 * 32  # values of the largest activation: 32 channels at 4 x 4 pixels per code


def tokenizer(**changes: object) -> Tokenizer:
    """f = 4 with attention and random weights, those of GroupNorm included."""
    config = TokenizerConfig.model_validate(
        {
            "channels": 32,
            "channel_multipliers": (1, 1, 1),
            "res_blocks": 1,
            "attention_resolutions": (16,),
            "resolution": 64,
            "z_channels": 16,
            "codebook_size": 64,
            "codebook_dim": 4,
            **changes,
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Tokenizer(config).eval().requires_grad_(False)
        nn.init.normal_(module.quantizer.embedding.weight)  # type: ignore[union-attr, arg-type]
        for norm in module.modules():
            if isinstance(norm, nn.GroupNorm):
                nn.init.normal_(norm.weight, 1, 0.2)
                nn.init.normal_(norm.bias, 0, 0.2)
    return module


@pytest.fixture(scope="module")
def scene() -> Tensor:
    """Codes [1, h, w] of a picture that is flat above, busy below, and has another mix on the right."""
    codes = torch.randint(64, (1, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(1))
    codes[:, : HEIGHT // 2] = 5
    codes[:, :, WIDTH // 2 :] %= 20
    return codes


def test_what_fits_is_decoded_whole(scene: Tensor) -> None:
    module = tokenizer()
    whole = module.decode(scene)
    assert torch.equal(decode_tiled(module, scene), whole)
    assert torch.equal(decode_tiled(module, scene, max_activations=WHOLE), whole)
    assert not torch.equal(decode_tiled(module, scene, max_activations=WHOLE - 1), whole)


def test_batches_are_divided(scene: Tensor) -> None:
    """As many images at once as fit; each image as if it were alone."""
    module = tokenizer()
    batch = torch.cat([scene, scene.flip(1), scene.flip(2)])
    torch.testing.assert_close(
        decode_tiled(module, batch, max_activations=2 * WHOLE), module.decode(batch), atol=1e-5, rtol=0
    )
    tiled = decode_tiled(module, batch, max_activations=WHOLE // 3)
    assert torch.equal(tiled[1:2], decode_tiled(module, scene.flip(1), max_activations=WHOLE // 3))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attention_resolutions": (), "mid_attention": False},
        {"res_blocks": 2},
        {"decoder_res_blocks": 1, "downsample": "average", "pixel_range": "unit"},
        {"in_channels": 5, "out_channels": 5},
    ],
    ids=["attention", "no attention", "more blocks", "fewer blocks", "label maps"],
)
def test_tiles_see_all_that_they_need(
    scene: Tensor, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    """With the statistics of the whole picture, tiled and untiled decoding are one and the same."""
    module = tokenizer(**changes)
    expected = decoded_whole(module, scene, monkeypatch)
    for share in (2, 5, 13):
        tiled = decode_tiled(module, scene, max_activations=WHOLE // share)
        if tiled.ndim == 3:  # classes: a pixel of a near tie may change its own
            assert (tiled == expected).float().mean() > 0.999
        else:
            torch.testing.assert_close(tiled, expected, atol=2e-4, rtol=0)


def decoded_whole(module: Tokenizer, codes: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """The whole picture, whose true statistics from now on take the place of those from patches."""
    whole: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def remember(norm: nn.GroupNorm, args: tuple[Tensor], _: Tensor) -> None:
        groups = args[0].unflatten(1, (norm.num_groups, -1))
        variance, mean = torch.var_mean(groups, (0, 2, 3, 4), correction=0)
        whole[norm] = mean, variance

    norms = [module for module in module.decoder.modules() if isinstance(module, nn.GroupNorm)]
    handles = [norm.register_forward_hook(remember) for norm in norms]
    expected = module.decode(codes)
    for handle in handles:
        handle.remove()
    monkeypatch.setattr(
        tiled_decoding, "statistics_of", lambda norms, run, patches, margin: (whole, run(patches))
    )
    return expected


@pytest.mark.parametrize("share", [2, 5])
def test_no_seams(scene: Tensor, share: int) -> None:
    """The error is small everywhere, and its steps are no larger at the borders of tiles than inside them."""
    module = tokenizer()
    whole = module.decode(scene)
    spans: list[tuple[int, list[tuple[int, int]]]] = []
    find = tiled_decoding._spans
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            tiled_decoding, "_spans", lambda n, side: spans.append((n, find(n, side))) or spans[-1][1]
        )
        error = decode_tiled(module, scene, max_activations=WHOLE // share) - whole
    assert error.square().mean() < 0.05 * whole.var()
    borders: dict[int, set[int]] = {2: set(), 3: set()}
    for length, found in spans:
        axis = 2 if length % WIDTH else 3
        borders[axis] |= {end * whole.shape[axis] // length for _, end in found[:-1]}
    assert len(borders[2] | borders[3]) >= 2
    for axis, places in borders.items():
        steps = error.diff(dim=axis).abs().mean([0, 1, 5 - axis])  # between a row or column and the next
        for place in places:
            assert steps[place - 1] <= steps.quantile(0.98)


WITHOUT_ATTENTION = {"attention_resolutions": (), "mid_attention": False}


@pytest.mark.parametrize(
    "changes", [{}, {"in_channels": 5, "out_channels": 5}], ids=["picture", "label maps"]
)
@pytest.mark.parametrize(
    ("activations", "cells"),
    [(WHOLE, 2**16), (WHOLE // 7, 2**16), (WHOLE, 2**10), (WHOLE // 40, 2**10)],
    ids=["whole", "tiles", "regions", "regions in tiles"],
)
def test_each_pixel_comes_once(
    scene: Tensor, changes: dict[str, object], activations: int, cells: int
) -> None:
    """Invariant; and the parts make up the picture of `decode_tiled`."""
    module = tokenizer(**changes)
    codes = scene[:, :37, :83]
    picture = decode_tiled(module, codes, max_activations=activations, max_cells=cells)
    times = torch.zeros(picture.shape[-2:], dtype=torch.int64)
    for top, left, pixels in decode_in_tiles(module, codes, max_activations=activations, max_cells=cells):
        height, width = pixels.shape[-2:]
        times[top : top + height, left : left + width] += 1
        assert torch.equal(pixels, picture[..., top : top + height, left : left + width])
    assert (times == 1).all()


@pytest.mark.parametrize("share", [1, 5])
def test_regions_see_all_that_they_need(scene: Tensor, monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    """Without attention, with the statistics of the whole picture, regions are the whole picture's."""
    module = tokenizer(**WITHOUT_ATTENTION)
    estimated = decode_tiled(module, scene, max_activations=WHOLE // share, max_cells=2**10)
    expected = decoded_whole(module, scene, monkeypatch)
    tiled = decode_tiled(module, scene, max_activations=WHOLE // share, max_cells=2**10)
    torch.testing.assert_close(tiled, expected, atol=2e-4, rtol=0)
    # Statistics from patches are not far from those.
    assert 0 < (estimated - expected).square().mean() < 0.1 * expected.var()


def test_attention_looks_at_the_whole_up_to_a_number_of_cells(scene: Tensor) -> None:
    module = tokenizer()
    whole = decode_tiled(module, scene, max_activations=WHOLE // 3)
    assert torch.equal(
        decode_tiled(module, scene, max_activations=WHOLE // 3, max_cells=scene.numel()), whole
    )
    assert not torch.equal(
        decode_tiled(module, scene, max_activations=WHOLE // 3, max_cells=scene.numel() - 1), whole
    )


def test_regions_have_no_seams(scene: Tensor) -> None:
    """Their attention sees less. What that changes, changes no faster where regions meet than elsewhere."""
    module = tokenizer()
    whole = module.decode(scene)
    error = decode_tiled(module, scene, max_cells=2**10) - whole
    assert 0 < error.square().mean() < 0.2 * whole.var()
    for axis, borders in ((2, (16, 32)), (3, (16, 32, 48, 64, 80))):  # cells: regions of 16 by 16
        steps = error.diff(dim=axis).abs().mean([0, 1, 5 - axis])
        near = torch.zeros_like(steps, dtype=torch.bool)
        for border in borders:
            for edge in (-tiled_decoding._FADE, 0, tiled_decoding._FADE):
                near[(border + edge) * 4 - 1] = True
        assert steps[near].mean() < 1.1 * steps[~near].mean()
        assert steps[near].max() <= steps.quantile(0.99)
