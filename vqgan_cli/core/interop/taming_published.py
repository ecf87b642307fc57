"""The transformers that were published with taming-transformers, told by their shapes.

Shapes and heads are those of their configs. What a file without its config does not show is taken from here.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PUBLISHED", "PublishedTransformer", "published_as"]


@dataclass(frozen=True)
class PublishedTransformer:
    """A shape, and what it tells.

    Attributes:
        names: of the models that have it.
        layers: number of blocks.
        heads: attention heads, which no tensor shows.
        width: length of a token's vector.
        vocabulary: rows of the table of tokens.
        block: positions.
        condition: kind of the condition where it has no tokenizer of its own; empty where it always has one.
        classes: number of classes where that is ``class``.
    """

    names: str
    layers: int
    heads: int
    width: int
    vocabulary: int
    block: int
    condition: str = ""
    classes: int = 0


PUBLISHED = (
    PublishedTransformer("FacesHQ, D-RIN, S-FLCKR", 24, 16, 1024, 1024, 512, "coordinates"),
    PublishedTransformer("FFHQ, CelebA-HQ", 24, 16, 1664, 1024, 256, "none"),
    PublishedTransformer("ADE20K", 28, 16, 1024, 4096, 512),
    PublishedTransformer("COCO-Stuff", 32, 16, 1280, 8192, 512),
    PublishedTransformer("ImageNet", 48, 24, 1536, 16384, 256, "class", 1000),
)


def published_as(layers: int, width: int, vocabulary: int, block: int) -> PublishedTransformer | None:
    """The published transformers of a shape; None if there are none."""
    shape = (layers, width, vocabulary, block)
    return next((p for p in PUBLISHED if (p.layers, p.width, p.vocabulary, p.block) == shape), None)
