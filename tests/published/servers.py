"""A server on this machine that answers as the Hugging Face hub does, and as any other server of files."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["COMMIT", "Answer", "Break", "Request", "Server", "Stall"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Request:
    """What was asked, and how many bytes of a body were answered."""

    method: str
    path: str
    headers: dict[str, str]
    sent: int


@dataclass(frozen=True)
class Break:
    """The connection ends after so many bytes of the body."""

    after: int


@dataclass(frozen=True)
class Stall:
    """Nothing comes any more after so many bytes of the body."""

    after: int = 0


@dataclass(frozen=True)
class Answer:
    """Another answer than the file; ``code`` is what the hub puts in ``X-Error-Code``."""

    status: int
    code: str = ""
    body: bytes = b""
    content_type: str = "text/plain"


@dataclass(frozen=True)
class _File:
    content: bytes
    etag: str
    redirect: str = ""
    content_type: str = "application/octet-stream"
    ranges: bool = True


class Server:
    """Files by path; what goes wrong with the next requests of each; and what was asked.

    ``faults[path]`` is a queue: each request of the path (GET, or any that the fault is an `Answer` for) takes one.
    Requests of ``silent`` paths get no answer.
    """

    def __init__(self) -> None:
        self.files: dict[str, _File] = {}
        self.faults: defaultdict[str, deque[Any]] = defaultdict(deque)
        self.silent: set[str] = set()
        self.requests: list[Request] = []
        self._released = threading.Event()
        outer = self

        class Handler(_Handler):
            server_of_files = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def elsewhere(self) -> str:
        """The same under another name: the hub's large files lie on another host."""
        return f"http://localhost:{self._server.server_port}"

    def release(self) -> None:
        """Whatever is stalled breaks."""
        self._released.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def wait(self) -> None:
        """Until `release`, but not for ever."""
        self._released.wait(30)

    def put(
        self, path: str, content: bytes, *, etag: str = "", ranges: bool = True, content_type: str = ""
    ) -> str:
        """A plain file.

        Returns:
            Its address.
        """
        tag = etag or f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        self.files[path] = _File(content, tag, "", content_type or "application/octet-stream", ranges)
        return self.address + path

    def put_hub(
        self,
        repo: str,
        file: str,
        content: bytes,
        *,
        large: bool = True,
        revision: str = "main",
        claimed: str = "",
    ) -> str:
        """A file of a repository: large ones lie elsewhere and are called by their SHA-256, others by their git hash.

        Args:
            repo: ``owner/name``.
            file: path in it.
            content: of the file.
            large: which of both.
            revision: of the repository.
            claimed: hash that the hub states; empty: the right one.

        Returns:
            The path at which the content lies in the end.
        """
        path = f"/{repo}/resolve/{revision}/{file}"
        if not large:
            git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            self.files[path] = _File(content, f'"{claimed or git}"')
            return path
        digest = claimed or hashlib.sha256(content).hexdigest()
        elsewhere = f"/cdn/{repo}/{digest}"
        self.files[path] = _File(content, f'"{digest}"', elsewhere)
        self.files[elsewhere] = _File(content, f'"{digest}"')
        return elsewhere

    def sent(self, path: str) -> list[int]:
        """Bytes of the body of each GET of a path."""
        return [each.sent for each in self.requests if each.path == path and each.method == "GET"]

    def asked(self, method: str = "") -> list[str]:
        """Paths, in order."""
        return [each.path for each in self.requests if method in ("", each.method)]


class _Handler(BaseHTTPRequestHandler):
    server_of_files: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if self.path in self.server_of_files.silent:
            self.server_of_files.wait()
            self.close_connection = True
            return
        outer, queue = self.server_of_files, self.server_of_files.faults[self.path]
        fault = queue.popleft() if queue and (body or isinstance(queue[0], Answer)) else None
        file = outer.files.get(self.path)
        if isinstance(fault, Answer) or file is None:
            self._refuse(fault if isinstance(fault, Answer) else Answer(404, "EntryNotFound"), body)
            return
        if file.redirect:
            self.send_response(302)
            self._hub_headers(file)
            self.send_header("Location", outer.elsewhere + file.redirect)
            self.send_header("Content-Length", "0")
            self._log(0)
            self.end_headers()
            return
        start = self._start(file)
        if start > 0 and start >= len(file.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(file.content)}")
            self.send_header("Content-Length", "0")
            self._log(0)
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(file.content) - 1}/{len(file.content)}")
        self._hub_headers(file)
        self.send_header("Content-Type", file.content_type)
        self.send_header("Content-Length", str(len(file.content) - start))
        content = file.content[start:] if body else b""
        if isinstance(fault, Break | Stall):
            content = content[: fault.after]
        self._log(len(content))  # first, so that whoever has the answer finds it logged
        self.end_headers()
        self.wfile.write(content)
        if isinstance(fault, Stall):
            outer.wait()
        if fault is not None:
            self.close_connection = True

    def _start(self, file: _File) -> int:
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes=") or not file.ranges:
            return 0
        if self.headers.get("If-Range", file.etag) != file.etag:
            return 0
        return int(wanted.removeprefix("bytes=").partition("-")[0])

    def _hub_headers(self, file: _File) -> None:
        self.send_header("ETag", file.etag)
        if "/resolve/" in self.path:
            self.send_header("X-Repo-Commit", COMMIT)
            if file.redirect:
                self.send_header("X-Linked-Etag", file.etag)
                self.send_header("X-Linked-Size", str(len(file.content)))

    def _refuse(self, answer: Answer, body: bool) -> None:
        self.send_response(answer.status)
        if answer.code:
            self.send_header("X-Error-Code", answer.code)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self._log(0)
        self.end_headers()
        if body:
            self.wfile.write(answer.body)

    def _log(self, sent: int) -> None:
        if self.path.startswith("/api/"):
            return  # the hub's library asks once a day which programs may have started it
        self.server_of_files.requests.append(Request(self.command, self.path, dict(self.headers), sent))
