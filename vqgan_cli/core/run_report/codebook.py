"""How often each code of the codebook is used, as a picture."""

from __future__ import annotations

import html
import io
import math

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from vqgan_cli.core.evaluation.figures import shown
from vqgan_cli.core.evaluation.report import heat_map
from vqgan_cli.core.metrics.codebook import CodebookUsage
from vqgan_cli.core.pages.document import data_url
from vqgan_cli.core.training.code_counts import CodeCounts

__all__ = ["codebook_html", "codebook_picture"]

_SHOWN_SIDE = 384
"""Pixels on the screen to which the picture is enlarged, by whole pixels."""

_UNUSED = (200, 60, 50)
"""Red, which is no colour of the heat map."""

_NO_CODE = (128, 128, 128)
_MAX_READABLE = 2**16
"""Codes up to which a page holds the counts as well, for the pointer to read."""


def codebook_picture(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """A cell for each code, in rows from the top left, uint8 [H, W, 3].

    The more often a code was used, the brighter, by the logarithm; one that was never used is red, and what is beyond
    the last one gray.

    Args:
        counts: [K].
    """
    width = math.ceil(math.sqrt(len(counts)))
    height = math.ceil(len(counts) / width)
    cells = np.zeros(width * height, np.int64)
    cells[: len(counts)] = counts
    picture = heat_map(np.log1p(cells).reshape(1, -1), (0.0, float(np.log1p(cells.max()) or 1.0)))[0]
    picture[cells == 0] = _UNUSED
    picture[len(counts) :] = _NO_CODE
    return picture.reshape(height, width, 3)


def codebook_html(found: CodeCounts) -> tuple[str, dict[str, object]]:
    """The section of a page, and the values for its script."""
    counts = found.counts
    picture = codebook_picture(counts)
    height, width = picture.shape[:2]
    scale = max(1, _SHOWN_SIDE // width)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    usage = CodebookUsage(len(counts))
    usage.counts = torch.from_numpy(counts)
    ranked = np.sort(counts)[::-1]
    tenth = ranked[: max(1, len(counts) // 10)].sum() / max(1, counts.sum())
    facts = (
        f"{len(counts) - usage.never_used:,} of {len(counts):,} codes were used, {usage.never_used:,} never. "
        f"{shown(usage.perplexity)} are in effective use (perplexity). "
        f"The most frequent tenth makes up {tenth:.0%} of all {int(counts.sum()):,} codes."
    )
    text = (
        '<section id="codebook">\n<h2>Codebook</h2>\n'
        f"<p>How often the validation images use each code, at step {found.step:,}. {html.escape(facts)}</p>\n"
        '<div class="codebook">\n<figure>'
        f'<img id="codebook-picture" width="{width * scale}" height="{height * scale}" '
        f'alt="A cell for each of {len(counts)} codes, brighter the more often it was used. {html.escape(facts)}" '
        f'src="{data_url(buffer.getvalue(), "image/png")}">\n'
        "<figcaption>A cell for each code, by its number, from the top left. "
        '<span class="key unused"></span> never used '
        '<span class="key rare"></span> rarely <span class="key often"></span> most often (logarithmic)</figcaption>\n'
        '<p id="codebook-readout" class="readout">&nbsp;</p></figure>\n'
        '<section class="chart" id="chart-ranks">\n<div class="head"><h4>Share by rank <span class="unit">%</span></h4>'
        '<span class="at"></span></div>\n<div class="plot"></div>\n<div class="legend"></div>\n'
        '<p class="note">Codes from the most to the least frequent, both axes logarithmic. A level curve is a codebook '
        "that is used evenly, a steep one rests on a few codes.</p></section>\n</div>\n</section>"
    )
    data: dict[str, object] = {"width": width, "ranks": _ranks(ranked)}
    if len(counts) <= _MAX_READABLE:
        data["counts"] = counts.tolist()
    return text, data


def _ranks(ranked: npt.NDArray[np.int64]) -> dict[str, list[float]]:
    """Share of all codes by rank: few points, as the axis of ranks is logarithmic."""
    last = len(ranked)
    places = np.unique(np.geomspace(1, last, 400).round().astype(int))
    total = max(1, int(ranked.sum()))
    kept = [(int(rank), int(ranked[rank - 1]) / total) for rank in places if ranked[rank - 1]]
    return {
        "x": [rank for rank, _ in kept],
        "y": [float(f"{100 * share:.4g}") for _, share in kept],
    }
