"""Colours of the landscapes by time of the day and year."""

from __future__ import annotations

from dataclasses import dataclass

from vqgan_cli.core.data.synthetic.canvas import Colour, rgb

__all__ = ["LIGHTS", "Light"]


@dataclass(frozen=True)
class Light:
    """The colours of a time of the day and year.

    `haze` is the colour into which far things fade; `ambient` multiplies the colours of near things.
    """

    zenith: Colour
    horizon: Colour
    glow: Colour
    sun: Colour
    cloud: Colour
    cloud_shade: Colour
    haze: Colour
    rock: Colour
    meadow: Colour
    conifer: Colour
    leaves: tuple[Colour, ...]
    ambient: Colour


LIGHTS: dict[str, tuple[Light, ...]] = {
    "summer": (
        Light(
            zenith=rgb("4f94cf"),
            horizon=rgb("cfe6ee"),
            glow=rgb("fff4d6"),
            sun=rgb("fff3b8"),
            cloud=rgb("ffffff"),
            cloud_shade=rgb("c7d8e6"),
            haze=rgb("bcd3e0"),
            rock=rgb("6d7d92"),
            meadow=rgb("93b860"),
            conifer=rgb("3d6b4c"),
            leaves=(rgb("6fa046"), rgb("88b04e"), rgb("5a8f52")),
            ambient=rgb("ffffff"),
        ),
        Light(
            zenith=rgb("74a9c9"),
            horizon=rgb("f2e6cf"),
            glow=rgb("fff0c8"),
            sun=rgb("fff2c0"),
            cloud=rgb("fffaf0"),
            cloud_shade=rgb("d8cfc6"),
            haze=rgb("cfd0cb"),
            rock=rgb("7c7f86"),
            meadow=rgb("b9a95c"),
            conifer=rgb("4f6b45"),
            leaves=(rgb("d08a3c"), rgb("b85a35"), rgb("dcae4a"), rgb("8a8f46")),
            ambient=rgb("fff6ea"),
        ),
    ),
    "sunset": (
        Light(
            zenith=rgb("5a6aa6"),
            horizon=rgb("f9b98a"),
            glow=rgb("ffd99a"),
            sun=rgb("ffe2a0"),
            cloud=rgb("f7bfa2"),
            cloud_shade=rgb("b77f95"),
            haze=rgb("d9a09a"),
            rock=rgb("6b5674"),
            meadow=rgb("8f7f50"),
            conifer=rgb("41464e"),
            leaves=(rgb("7d6a44"), rgb("8f5f46"), rgb("66603f")),
            ambient=rgb("ffdcc8"),
        ),
        Light(
            zenith=rgb("7b6fa8"),
            horizon=rgb("f7a58f"),
            glow=rgb("ffc98f"),
            sun=rgb("ffd59a"),
            cloud=rgb("f3b3b0"),
            cloud_shade=rgb("a87ba0"),
            haze=rgb("d0919f"),
            rock=rgb("5f5078"),
            meadow=rgb("7f7a5c"),
            conifer=rgb("3f4353"),
            leaves=(rgb("6f6a50"), rgb("85604f"), rgb("5d6350")),
            ambient=rgb("ffd6cc"),
        ),
    ),
    "night": (
        Light(
            zenith=rgb("172243"),
            horizon=rgb("4a5f8c"),
            glow=rgb("7f93b8"),
            sun=rgb("f6f1dc"),
            cloud=rgb("5f7099"),
            cloud_shade=rgb("3d4c75"),
            haze=rgb("4b5e88"),
            rock=rgb("39476b"),
            meadow=rgb("33505a"),
            conifer=rgb("1f3443"),
            leaves=(rgb("2d4a4c"), rgb("35524e"), rgb("2a4350")),
            ambient=rgb("7f8fb8"),
        ),
        Light(
            zenith=rgb("1c1e40"),
            horizon=rgb("5a5484"),
            glow=rgb("8f80a8"),
            sun=rgb("f8ecd0"),
            cloud=rgb("6a638f"),
            cloud_shade=rgb("454270"),
            haze=rgb("55517d"),
            rock=rgb("3c3a62"),
            meadow=rgb("3a4d5c"),
            conifer=rgb("222f47"),
            leaves=(rgb("33475a"), rgb("3d4f5a"), rgb("2c3f52")),
            ambient=rgb("8a88b4"),
        ),
    ),
    "winter": (
        Light(
            zenith=rgb("8fb4d2"),
            horizon=rgb("eaf0f3"),
            glow=rgb("fdf6e6"),
            sun=rgb("fffbe8"),
            cloud=rgb("ffffff"),
            cloud_shade=rgb("d5dfe8"),
            haze=rgb("d5e2ea"),
            rock=rgb("8797a8"),
            meadow=rgb("eef3f7"),
            conifer=rgb("5a7d7a"),
            leaves=(rgb("b9c9d3"), rgb("c8d2d8"), rgb("a99f9a")),
            ambient=rgb("f4f8ff"),
        ),
        Light(
            zenith=rgb("a3b3d0"),
            horizon=rgb("f5e3dc"),
            glow=rgb("ffeeda"),
            sun=rgb("fff3dc"),
            cloud=rgb("fffaf6"),
            cloud_shade=rgb("d9d3df"),
            haze=rgb("dfdae3"),
            rock=rgb("8b8ea6"),
            meadow=rgb("f1eef4"),
            conifer=rgb("5f7684"),
            leaves=(rgb("c3c6d6"), rgb("d0cfda"), rgb("a89aa0")),
            ambient=rgb("fff4f6"),
        ),
    ),
}
