"""Painting with anti-aliased shapes; the label map and the depth come from the same strokes as the colours."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vqgan_cli.core.data.synthetic.shapes import Array, Shape

__all__ = ["Canvas", "Colour", "Paint", "linear", "mix", "rgb", "tone"]

Colour = NDArray[np.float32]  # [3, 1, 1], sRGB in [0, 1]
Paint = Colour | Callable[[Array, Array], Array]  # a colour, or (x, y) -> [3, h, w]
Depth = float | Callable[[Array, Array], Array]  # metres, or (x, y) -> [h, w]


def rgb(code: str) -> Colour:
    """A colour from six hexadecimal digits."""
    return (np.frombuffer(bytes.fromhex(code), np.uint8).astype(np.float32) / np.float32(255)).reshape(
        3, 1, 1
    )


def mix(first: Array, second: Array, share: float | Array) -> Array:
    """From `first` (share 0) to `second` (share 1)."""
    return first + share * (second - first)


def tone(colour: Array, factor: float) -> Array:
    """Darker towards black below 1, lighter towards white above."""
    if factor <= 1.0:
        return colour * np.float32(factor)
    return colour + (1.0 - colour) * np.float32(factor - 1.0)


def linear(top: Colour, bottom: Colour, y0: float, y1: float) -> Paint:
    """A vertical gradient from `top` at y0 to `bottom` at y1."""
    return lambda x, y: mix(top, bottom, np.clip((y - y0) / (y1 - y0), 0.0, 1.0))


class Canvas:
    """Pixels with a frame of coordinates in which shapes are placed.

    Each pixel's coordinates are those of its centre. `placed` gives another frame over the same pixels.

    Attributes:
        x, y: coordinates, broadcastable to [H, W].
        left, right, top, bottom: what the frame can see.
        unit: pixels per unit of length.
        image: float32 [3, H, W], sRGB in [0, 1].
        labels: uint8 [H, W].
        depth: float32 [H, W], metres.
    """

    def __init__(self, height: int, width: int, *, unit: float, origin: tuple[float, float]) -> None:
        """Frame with `unit` pixels per coordinate unit and its zero at pixel position `origin` (x, y)."""
        self.image = np.zeros((3, height, width), np.float32)
        self.labels = np.zeros((height, width), np.uint8)
        self.depth = np.zeros((height, width), np.float32)
        self.x: Array = ((np.arange(width, dtype=np.float32) + 0.5 - origin[0]) / unit)[None, :]
        self.y: Array = ((np.arange(height, dtype=np.float32) + 0.5 - origin[1]) / unit)[:, None]
        self._place(unit, 0.0, origin)

    def _place(self, unit: float, angle: float, origin: tuple[float, float]) -> None:
        height, width = self.labels.shape
        self.unit, self._origin = unit, origin
        self._angle = angle
        self._cos, self._sin = math.cos(angle) * unit, math.sin(angle) * unit
        self.left, self.right = -origin[0] / unit, (width - origin[0]) / unit
        self.top, self.bottom = -origin[1] / unit, (height - origin[1]) / unit

    def placed(self, cx: float, cy: float, *, angle: float = 0.0, scale: float = 1.0) -> Self:
        """The same pixels in a frame with its zero at (cx, cy), turned clockwise by `angle` and scaled."""
        other = object.__new__(type(self))
        other.image, other.labels, other.depth = self.image, self.labels, self.depth
        dx, dy = self.x - cx, self.y - cy
        cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
        other.x, other.y = (dx * cos + dy * sin, dy * cos - dx * sin) if angle else (dx * cos, dy * cos)
        other._place(self.unit * scale, self._angle + angle, self.pixel(cx, cy))
        return other

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of this frame lies, in pixels from the top left corner."""
        return (
            self._origin[0] + x * self._cos - y * self._sin,
            self._origin[1] + x * self._sin + y * self._cos,
        )

    def fill(self, shape: Shape, paint: Paint, part: int, depth: Depth) -> None:
        """Paint a shape that belongs to `part` of the label map."""
        window = self._window(shape)
        if window is None:
            return
        coverage, x, y = self._stroke(window, shape, paint, 1.0)
        inside = coverage >= 0.5
        np.copyto(self.labels[window], np.uint8(part), where=inside)
        np.copyto(self.depth[window], depth(x, y) if callable(depth) else np.float32(depth), where=inside)

    def tint(self, shape: Shape, paint: Paint, opacity: float = 1.0) -> None:
        """Paint a shape that is only a detail of what lies under it: labels and depth stay."""
        window = self._window(shape)
        if window is not None:
            self._stroke(window, shape, paint, opacity)

    def glow(self, cx: float, cy: float, rx: float, ry: float, colour: Colour, opacity: float) -> None:
        """Tint an ellipse that fades out smoothly towards its border."""

        def fade(x: Array, y: Array) -> Array:
            u, v = (x - cx) / rx, (y - cy) / ry
            return np.square(np.maximum(1.0 - u * u - v * v, 0.0))

        window = self._window(Shape((cx - rx, cy - ry, cx + rx, cy + ry), fade))
        if window is not None:
            x, y = self._coordinates(window)
            pixels = self.image[:, window[0], window[1]]
            pixels += (fade(x, y) * opacity) * (colour - pixels)

    def pixels(self) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3]."""
        levels = np.rint(np.clip(self.image, 0.0, 1.0) * 255.0).astype(np.uint8)
        return np.ascontiguousarray(levels.transpose(1, 2, 0))

    def _stroke(
        self, window: tuple[slice, slice], shape: Shape, paint: Paint, opacity: float
    ) -> tuple[Array, Array, Array]:
        x, y = self._coordinates(window)
        coverage = np.clip(0.5 - shape.distance(x, y) * self.unit, 0.0, 1.0)
        pixels = self.image[:, window[0], window[1]]
        colour = paint(x, y) if callable(paint) else paint
        pixels += (coverage if opacity == 1.0 else coverage * opacity) * (colour - pixels)
        return coverage, x, y

    def _coordinates(self, window: tuple[slice, slice]) -> tuple[Array, Array]:
        rows, columns = window
        x = self.x[:, columns] if self.x.shape[0] == 1 else self.x[window]
        y = self.y[rows] if self.y.shape[1] == 1 else self.y[window]
        return x, y

    def _window(self, shape: Shape) -> tuple[slice, slice] | None:
        """The pixels that a shape can touch, or None if it lies outside the picture."""
        left, top, right, bottom = shape.box
        ax, ay = self.pixel(left, top)
        bx, by = self.pixel(right, bottom)
        if self._sin:
            cx, cy = self.pixel(left, bottom)
            dx, dy = self.pixel(right, top)
            ax, bx = min(ax, bx, cx, dx), max(ax, bx, cx, dx)
            ay, by = min(ay, by, cy, dy), max(ay, by, cy, dy)
        height, width = self.labels.shape
        # One pixel more on each side: anti-aliasing reaches half a pixel beyond the outline.
        x0, x1 = max(math.floor(ax) - 1, 0), min(math.ceil(bx) + 1, width)
        y0, y1 = max(math.floor(ay) - 1, 0), min(math.ceil(by) + 1, height)
        return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None
