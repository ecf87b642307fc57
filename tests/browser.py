"""A real browser for pages that this project makes: Chromium, headless, driven by playwright.

``apt install chromium`` on Debian; tests that need it skip where it is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["console_errors", "open_browser", "open_page"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# Root in a container has no sandbox; the others keep Chromium from asking its maker for anything.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium; skips the test where it or playwright is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (on Debian: apt install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(browser: Browser, width: int = 1200, height: int = 900, **context: Any) -> Iterator[Page]:
    """A page of its own; what it asks of any network but this machine is refused, and counts as an error.

    Args:
        browser: of ``open_browser``.
        width: of the window in pixels.
        height: of the window in pixels.
        context: for playwright's ``new_context``, such as ``color_scheme="dark"``.
    """
    opened = browser.new_context(viewport={"width": width, "height": height}, **context)
    try:
        page = opened.new_page()
        page.set_default_timeout(30_000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("requestfailed", lambda request: errors.append(f"{request.url}: {request.failure}"))
        opened.route(_elsewhere, lambda route: route.abort())
        _ERRORS[page] = errors
        yield page
    finally:
        opened.close()


def console_errors(page: Page) -> list[str]:
    """What went wrong in the page until now: exceptions, errors on its console, requests that failed."""
    return _ERRORS[page]


_ERRORS: dict[Any, list[str]] = {}


def _elsewhere(url: str) -> bool:
    local = ("http://127.0.0.1", "http://localhost", "ws://127.0.0.1", "ws://localhost")
    return not url.startswith((*local, "file:", "data:", "blob:", "about:"))
