"""The frame of a page: one file with everything in it, which forbids a browser to fetch or to run anything else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

__all__ = ["GENERATOR", "data_block", "data_url", "document", "package_text"]

GENERATOR = "vqgan"
"""By which the program knows pages that it may replace."""


def package_text(package: str, name: str) -> str:
    """A style sheet or script that lies in a package, such as ``base.css`` of this one."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def document(
    title: str, body: Sequence[str], *, styles: Sequence[str] = (), scripts: Sequence[str] = ()
) -> str:
    """A whole page.

    Its policy lets no network be used, and of scripts only those that are given here, by their hashes: markup that
    came in by a name would be dead.

    Args:
        title: plain text.
        body: HTML, in order.
        styles: style sheets after the one that all pages share.
        scripts: JavaScript, run in this order after the body is there.
    """
    allowed = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    if scripts:
        policy += f"; script-src {allowed}"
    sheets = (package_text(__package__, "base.css"), *styles)
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="generator" content="{GENERATOR}">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n"
        + "".join(f"<style>\n{sheet}</style>\n" for sheet in sheets)
        + "</head>\n<body>\n"
        + "\n".join(body)
        + "".join(f"\n<script>{script}</script>" for script in scripts)
        + "\n</body>\n</html>\n"
    )
    # A file's name may hold bytes that are no text; no page can be written with what stands for them.
    return text.encode("utf-8", "replace").decode()


def data_block(identifier: str, value: Any) -> str:
    """Plain values for scripts to read: JSON in an element that no browser runs and no text in it can end.

    Raises:
        ValueError: a number is not finite, which JSON does not know.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # "<!--" with "<script" would change how the parser looks for the end.
    text = text.replace("<", "\\u003c")
    return f'<script type="application/json" id="{html.escape(identifier)}">{text}</script>'


def data_url(content: bytes, kind: str) -> str:
    """Bytes as the address of themselves, of type ``kind``, such as ``image/png``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
