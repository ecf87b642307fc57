"""How the page's events run: one at a time where the model computes, and with errors as messages in the page."""

from __future__ import annotations

import functools
import html
import inspect
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from vqgan_cli.core.errors import ImageError, StoppedError, VqganError
from vqgan_cli.core.interactive.background import StopButton
from vqgan_cli.core.memory import is_out_of_memory

__all__ = ["AT_ONCE", "WITH_MODEL", "Jobs", "scratch", "told"]

AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""Of an event that needs no model."""

WITH_MODEL: dict[str, Any] = {
    "concurrency_id": "model",
    "concurrency_limit": 1,
    "show_progress": "minimal",
    "api_visibility": "private",
}
"""Of an event that does: all of all people wait in one queue."""


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for one event, in that of the server, which vanishes even where the event is cut off."""
    return tempfile.TemporaryDirectory(dir=os.environ.get("GRADIO_TEMP_DIR"))


class Jobs:
    """The stop buttons of what is asked for, by session and tool, from the click on."""

    def __init__(self) -> None:
        self._buttons: dict[tuple[str, str], StopButton] = {}

    def asked(self, request: gr.Request, tool: str) -> None:
        """Somebody wants something, and may wait for others."""
        self._buttons[self._key(request, tool)] = StopButton()

    def begin(self, request: gr.Request, tool: str) -> StopButton:
        """It is their turn."""
        return self._buttons.setdefault(self._key(request, tool), StopButton())

    def stop(self, request: gr.Request, tool: str) -> None:
        """They want it no more."""
        button = self._buttons.get(self._key(request, tool))
        if button is not None:
            button.press()

    def leave(self, request: gr.Request) -> None:
        """They closed the page."""
        for key in [key for key in self._buttons if key[0] == str(request.session_hash)]:
            self._buttons.pop(key).press()

    def stop_all(self) -> None:
        """The server ends."""
        for button in list(self._buttons.values()):
            button.press()

    @staticmethod
    def _key(request: gr.Request, tool: str) -> tuple[str, str]:
        return str(request.session_hash), tool


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """An event's function whose errors are shown in the page, each as one message."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator(*arguments: Any) -> Iterator[Any]:
            with _messages():
                yield from function(*arguments)

        return generator

    @functools.wraps(function)
    def plain(*arguments: Any) -> Any:
        with _messages():
            return function(*arguments)

    return plain


@contextmanager
def _messages() -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except StoppedError:
        raise _error("stopped") from None
    except ImageError as error:  # where it lies on this machine is nobody's business
        raise _error(f"{Path(error.path).name}: {error.reason}") from None
    except VqganError as error:
        raise _error(error.message, error.hint) from None
    except Exception as error:
        if is_out_of_memory(error):
            raise _error("out of memory", "ask for fewer or smaller images") from None
        if os.environ.get("VQGAN_DEBUG"):
            traceback.print_exc()
        raise _error(f"internal error: {type(error).__name__}: {error}", "this is a bug in vqgan") from None


def _error(message: str, hint: str | None = None) -> gr.Error:
    text = html.escape(message) + (f"<br>{html.escape(hint)}" if hint else "")
    return gr.Error(text, title="That did not work", duration=20, print_exception=False)
