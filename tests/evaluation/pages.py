"""What a report shows, as a browser would find it."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["Page", "numbers"]


class Page(HTMLParser):
    """A page.

    Attributes:
        tags: all that begin, in order.
        references: what it would fetch.
        text: everything between tags.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text += data

    def pictures(self) -> list[np.ndarray]:
        """Decoded; an assertion where one does not lie in the page itself."""
        assert all(reference.startswith("data:image/png;base64,") for reference in self.references)
        assert not {"script", "link", "iframe", "object"} & set(self.tags)
        encoded = [reference.partition(",")[2] for reference in self.references]
        return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in encoded]


def numbers(metrics: Any) -> list[float]:
    """Every number in a value of JSON."""
    if isinstance(metrics, dict):
        return [number for value in metrics.values() for number in numbers(value)]
    if isinstance(metrics, list):
        return [number for value in metrics for number in numbers(value)]
    return [metrics] if isinstance(metrics, int | float) and not isinstance(metrics, bool) else []
