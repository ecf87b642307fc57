"""Names of a face's parts in its label map, and how far away they are."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["BACKDROP_METRES", "HEAD_METRES", "Part"]

HEAD_METRES = 1.0  # to the head's outline; its middle bulges towards the viewer
BACKDROP_METRES = 3.0


class Part(IntEnum):
    """Values of the label map."""

    BACKGROUND = 0
    CLOTHES = 1
    SKIN = 2
    HAIR = 3
    BEARD = 4
    BROW = 5
    EYE = 6
    NOSE = 7
    MOUTH = 8
    GLASSES = 9
    HAT = 10
    EARRING = 11
