"""Who is in the picture: every parameter of a face, drawn once, independent of the size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from vqgan_cli.core.data.synthetic.canvas import Colour, mix, rgb, tone

__all__ = ["EXPRESSIONS", "HAIR_KINDS", "Person", "draw_person"]

EXPRESSIONS = ("smiling", "neutral", "surprised", "sad")
HAIR_KINDS = ("short", "long", "curly")

_SKIN = tuple(map(rgb, ("f8d9c3", "f3cbad", "ecbd97", "dda67c", "c78d62", "a9714a", "865437", "633c28")))
_HAIR = tuple(map(rgb, ("2a2326", "3b2a25", "5a3a28", "7c4f30", "a3683a", "c99a57", "e3c27f", "a5472c")))
_GREY = tuple(map(rgb, ("8f8f94", "b9b8b8", "dcdad6")))
_IRIS = tuple(map(rgb, ("4a2f20", "6b4526", "3d6b4f", "4a7fa5", "6f8fa6", "58482f")))
_CLOTHES = tuple(
    map(
        rgb,
        ("3f5f86", "b5564d", "4e8071", "e0b35c", "6b5a8c", "38424f", "e8e2d6", "c98aa0", "7fa3c4", "8a9a5b"),
    )
)
_HATS = tuple(map(rgb, ("b8483e", "2f4b6e", "d9a441", "4d7a63", "6a4f7a", "d8cbb0", "3d3d45", "cf7f93")))
_FRAMES = tuple(map(rgb, ("2b2a2e", "3a2a22", "7a3b2e", "34465e", "8d7a4a")))
_BACKDROPS = tuple(
    map(
        rgb,
        ("a9c7d9", "e9cdb0", "bcd3b2", "d8bfd6", "f0dca8", "8fb3b8", "c5c9d3", "e4b7a5", "9aa6c4", "cfd8c0"),
    )
)

T = TypeVar("T")


@dataclass(frozen=True)
class Person:
    """Lengths are in half sides of the square that the face is composed in, angles in radians.

    `side` is where the light comes from (-1 left, 1 right); `yaw` and `pitch` in [-1, 1] turn the head by
    moving the features across it.
    """

    expression: str
    hair_kind: str
    # Pose
    x: float
    y: float
    scale: float
    roll: float
    yaw: float
    pitch: float
    side: float
    # Head
    age: str  # "child", "adult" or "old"
    skin: Colour
    head_width: float
    head_height: float
    jaw: float
    eye_size: float
    eye_gap: float
    eye_slant: float
    iris: Colour
    gaze: float
    brow_width: float
    nose_size: float
    mouth_width: float
    lips: Colour
    lip_fullness: float
    teeth: bool
    blush: float
    freckles: int
    beard: str  # "", "stubble", "moustache", "goatee" or "full"
    # Hair
    hair: Colour
    volume: float
    length: float
    hairline: float
    parting: float
    fringe: bool
    phase: float
    # Attire
    hat: str  # "", "beanie", "cap", "brim" or "beret"
    hat_colour: Colour
    glasses: str  # "", "round", "square" or "sun"
    frame_colour: Colour
    earrings: bool
    clothes: Colour
    neckline: str  # "crew", "v", "collar" or "hood"
    backdrop: str  # "plain", "halo", "lights" or "outdoors"
    backdrop_colours: tuple[Colour, Colour]


def draw_person(rng: np.random.Generator, expression: str, hair_kind: str) -> Person:
    """Draw everything that the class (expression, kind of hair) leaves open."""

    def among(low: float, high: float) -> float:
        return rng.uniform(low, high)

    def chance(share: float) -> bool:
        return rng.random() < share

    def pick(options: Sequence[T]) -> T:
        return options[int(rng.integers(len(options)))]

    age = "child" if chance(0.16) else "old" if chance(0.2) else "adult"
    child = age == "child"
    feminine = chance(0.85 if hair_kind == "long" else 0.25 if hair_kind == "short" else 0.5)

    depth = among(0.0, len(_SKIN) - 1.001)
    skin = mix(_SKIN[int(depth)], _SKIN[int(depth) + 1], depth % 1.0)
    # Fair hair on the darkest skin is rare enough to look like a mistake at this size.
    hairs = _HAIR[: 8 if depth < 3.5 else 4]
    hair = pick(_GREY) if age == "old" and chance(0.8) else tone(pick(hairs), among(0.9, 1.08))
    lips = mix(tone(skin, 0.78), rgb("b5444a"), among(0.3, 0.75) if feminine else among(0.15, 0.3))

    beard = ""
    if not feminine and not child and chance(0.45):
        beard = pick(("stubble", "moustache", "goatee", "full", "full"))
    hat = pick(("beanie", "cap", "brim", "beret")) if chance(0.2) else ""
    glasses = pick(("round", "square", "round", "square", "sun")) if chance(0.1 if child else 0.3) else ""
    first, second = pick(_BACKDROPS), pick(_BACKDROPS)

    return Person(
        expression=expression,
        hair_kind=hair_kind,
        x=among(-0.07, 0.07),
        y=among(-0.04, 0.04) + (0.06 if hat else 0.0),
        scale=among(0.86, 1.0),
        roll=rng.normal(0.0, 0.06),
        yaw=among(-1.0, 1.0),
        pitch=among(-1.0, 1.0),
        side=pick((-1.0, 1.0)),
        age=age,
        skin=skin,
        head_width=among(0.53, 0.6) + (0.03 if child else 0.0) - (0.02 if feminine else 0.0),
        head_height=among(0.6, 0.66) - (0.04 if child else 0.0),
        jaw=among(0.08, 0.26) + (0.04 if feminine else 0.0),
        eye_size=among(0.9, 1.08) * (1.14 if child else 0.94 if age == "old" else 1.0),
        eye_gap=among(0.235, 0.27),
        eye_slant=among(-0.012, 0.02),
        iris=pick(_IRIS[: 6 if depth < 3.5 else 2]),
        gaze=among(-1.0, 1.0),
        brow_width=among(0.022, 0.032) if feminine or child else among(0.032, 0.046),
        nose_size=among(0.85, 1.25) * (0.8 if child else 1.0),
        mouth_width=among(0.2, 0.26) * (0.88 if child else 1.0),
        lips=lips,
        lip_fullness=among(0.9, 1.25) if feminine else among(0.65, 0.95),
        teeth=chance(0.65),
        blush=among(0.15, 0.45) if child or feminine else among(0.05, 0.25),
        freckles=int(rng.integers(2**31)) if depth < 2.0 and chance(0.2) else 0,
        beard=beard,
        hair=hair,
        volume=among(0.05, 0.1),
        length=among(0.75, 1.3),
        hairline=-among(0.34, 0.46) - (0.08 if age == "old" and not feminine else 0.0),
        parting=pick((0.0, among(0.12, 0.3), -among(0.12, 0.3))),
        fringe=chance(0.35 if not hat else 0.0),
        phase=among(0.0, 6.28),
        hat=hat,
        hat_colour=pick(_HATS),
        glasses=glasses,
        frame_colour=pick(_FRAMES),
        earrings=feminine and not child and chance(0.4),
        clothes=tone(pick(_CLOTHES), among(0.9, 1.08)),
        neckline=pick(("crew", "v", "collar", "hood")),
        backdrop=pick(("plain", "halo", "lights", "outdoors")),
        backdrop_colours=(first, mix(second, first, 0.4)),
    )
