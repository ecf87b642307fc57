"""What Python's audit hears of a process: events that are refused, and noted, for as long as somebody wants it."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["EXECUTION", "NETWORK", "REMOVAL", "WRITING", "Audit"]

NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")
EXECUTION = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "subprocess.Popen",
    "pickle.find_class",
)
REMOVAL = ("os.remove", "os.rename", "os.rmdir", "shutil.rmtree")
WRITING = ("open to write", "os.mkdir", "os.symlink", "os.link")
"""The first is a name of our own: the event ``open`` with a mode that writes."""


class Audit:
    """Refuses events while their names are ``forbidden``; a hook of Python's audit cannot be taken away again.

    Attributes:
        forbidden: names of events.
        happened: those that were refused, with their arguments; what refuses may be caught on its way.
    """

    def __init__(self) -> None:
        self.forbidden: tuple[str, ...] = ()
        self.happened: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.forbidden:
            return
        if event == "open" and isinstance(arguments[1], str) and not {*"wax+"}.isdisjoint(arguments[1]):
            event = WRITING[0]
        if event in self.forbidden:
            self.happened.append(f"{event} {arguments!r:.200}")
            raise PermissionError(f"{event} is forbidden here")
