"""The server of the page: on this machine alone, gone with the command."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager

from vqgan_cli.core.errors import OutputError
from vqgan_cli.core.interactive.workbench import Workbench

__all__ = ["PageServer", "serving"]

FIRST_PORT = 7860
_PORTS = 100
_SECONDS_TO_END = 2  # for requests that are under way


class PageServer:
    """A server that is ready to run.

    Args:
        bench: the model.
        bound: where it listens.
        max_upload: bytes of the largest file.
    """

    def __init__(self, bench: Workbench, bound: socket.socket, max_upload: int) -> None:
        import fastapi
        import gradio as gr
        import uvicorn

        from vqgan_cli.ui.events import Jobs
        from vqgan_cli.ui.guard import Guard
        from vqgan_cli.ui.page import CSS, THEME, build_page

        self._socket, port = bound, bound.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}/"
        self._jobs = Jobs()
        outer = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app = gr.mount_gradio_app(
            outer,
            build_page(bench, self._jobs),
            path="/",
            server_name="127.0.0.1",
            server_port=port,
            footer_links=[],
            run_history=False,
            app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
            show_error=True,
            max_file_size=max_upload,
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            mcp_server=False,
            theme=THEME,
            css=CSS,
        )
        config = uvicorn.Config(
            Guard(app, port, max_upload),
            log_config=None,
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=_SECONDS_TO_END,
        )
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Serve until a signal or `stop`."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._jobs.stop_all()

    def stop(self) -> None:
        """End `run`, from another thread."""
        self._jobs.stop_all()
        self._server.should_exit = True

    def open_when_ready(self) -> None:
        """Show the page in the browser of whoever sits here."""
        threading.Timer(1.0, webbrowser.open, [self.address]).start()


@contextmanager
def serving(bench: Workbench, *, port: int | None, max_upload: int) -> Iterator[PageServer]:
    """A server with a folder of its own for what is uploaded and made, which vanishes with it.

    Args:
        bench: the model.
        port: None: the first free one from 7860 on.
        max_upload: bytes of the largest file.

    Raises:
        OutputError: the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="vqgan-ui-") as folder, _bound(port) as bound:
        # gradio takes both from the environment alone.
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it would tell of each page left open
        yield PageServer(bench, bound, max_upload)


@contextmanager
def _bound(port: int | None) -> Iterator[socket.socket]:
    for tried in [port] if port is not None else [*range(FIRST_PORT, FIRST_PORT + _PORTS), 0]:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                bound.bind(("127.0.0.1", tried))
                bound.listen(128)
            except OSError as error:
                reason = error.strerror
                continue
            yield bound
            return
    raise OutputError(f"port {port} cannot be used: {reason}", hint="leave --port out, or name another")
