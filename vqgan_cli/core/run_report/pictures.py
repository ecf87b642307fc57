"""The pictures that a run made over time, few and small enough for a page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from vqgan_cli.core.data.images import read_image
from vqgan_cli.core.errors import ImageError
from vqgan_cli.core.pages.document import data_url

__all__ = ["MAX_FRAMES", "Frame", "FrameReader", "spread"]

MAX_FRAMES = 24
_MAX_SIDES = (1536, 1152, 864, 640)
"""Pixels; a larger picture is reduced, to the first of these at which it has no more than the bytes below."""

_MAX_PNG, _MAX_JPEG = 100_000, 150_000
"""Bytes; a picture that is larger without loss is stored with loss."""

_QUALITY = 85
_SHOWN_WIDTH, _SHOWN_HEIGHT = 1100, 450
"""Pixels on the screen to which smaller pictures are enlarged, by whole pixels."""

_Item = TypeVar("_Item")
_NAME = re.compile(r"step-(\d{8,15})\.png")


@dataclass(frozen=True)
class Frame:
    """One picture of a run.

    Attributes:
        step: optimiser steps done when it was made.
        source: ``data:`` URL.
        width: in pixels, as it is in the page.
        height: likewise.
        reduced: it is smaller than its file, or stored with loss.
    """

    step: int
    source: str
    width: int
    height: int
    reduced: bool

    @property
    def size_on_screen(self) -> str:
        """Attributes of the picture's element."""
        scale = max(1, min(_SHOWN_WIDTH // self.width, _SHOWN_HEIGHT // self.height))
        return f'width="{self.width * scale}" height="{self.height * scale}"'


class FrameReader:
    """Reads pictures, and keeps what it has made of them for the next time; a run is looked at again and again."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], Frame] = {}

    def read(self, folder: Path, problems: list[str], limit: int = MAX_FRAMES) -> tuple[list[Frame], int]:
        """The pictures of a folder, in the order of their steps, and how many there are.

        Args:
            folder: ``samples/`` of a run; need not exist.
            problems: gets those that cannot be read.
            limit: the most that are returned: the first, the newest, and others evenly between them.
        """
        try:
            paths = list(folder.iterdir())
        except FileNotFoundError:
            paths = []
        except OSError as error:
            problems.append(f"{str(folder)!r} cannot be read: {error.strerror or error}")
            paths = []
        found = sorted((int(match[1]), path) for path in paths if (match := _NAME.fullmatch(path.name)))
        known, frames = self._known, []
        self._known = {}
        for step, path in spread(found, limit):
            try:
                stat = path.stat()
                key = (path, stat.st_mtime_ns, stat.st_size)
                frame = known.get(key) or _frame(step, path)
            except ImageError as error:
                problems.append(error.message)
            except OSError as error:  # removed meanwhile
                problems.append(f"{str(path)!r}: {error.strerror or error}")
            else:
                self._known[key] = frame
                frames.append(frame)
        return frames, len(found)


def spread(items: Iterable[_Item], limit: int) -> list[_Item]:
    """At most so many of the items, evenly spread, with the first and the last; of one, the last."""
    everything = list(items)
    if len(everything) <= limit:
        return everything
    if limit < 2:
        return everything[-limit:] if limit else []
    return [everything[index] for index in np.linspace(0, len(everything) - 1, limit).round().astype(int)]


def _frame(step: int, path: Path) -> Frame:
    image = Image.fromarray(read_image(path))
    size = image.size
    image.thumbnail((_MAX_SIDES[0], _MAX_SIDES[0]), Image.Resampling.LANCZOS)
    # Where the file is far too large, it need not be compressed anew to know that.
    large = image.size == size and path.stat().st_size > 2 * _MAX_PNG
    content, kind = b"" if large else _encoded(image, "PNG"), "png"
    lossy = large or len(content) > _MAX_PNG
    for side in _MAX_SIDES if lossy else ():
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        content, kind = _encoded(image, "JPEG", quality=_QUALITY, subsampling=0), "jpeg"
        if len(content) <= _MAX_JPEG:
            break
    return Frame(
        step,
        data_url(content, f"image/{kind}"),
        image.width,
        image.height,
        reduced=lossy or image.size != size,
    )


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
