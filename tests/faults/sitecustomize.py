"""Causes a fault at a known point of a process; Python imports this by itself when the folder is on its path.

``VQGAN_FAULT="EVENT PART ACTION..."`` waits for the first audit event of that name whose first argument contains
PART, such as ``open step-00000008.partial/facts.json``, and then does each ACTION once:

- ``SIGKILL``, ``SIGINT``, ``SIGTERM``: this process sends the signal to itself;
- ``DISK_FULL``: from then on no file can grow beyond 100 kB.

Several faults are divided by semicolons. Of the processes that a launcher has started, only the one whose rank is
``VQGAN_FAULT_RANK`` (0) has them.
"""

from __future__ import annotations

import os
import resource
import signal
import sys


def _watch(event: str, part: str, *actions: str) -> None:
    own, pending = os.getpid(), list(actions)

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        if name == event and pending and part in str(arguments[0]) and os.getpid() == own:
            todo, pending[:] = list(pending), []
            for action in todo:
                _act(action)

    sys.addaudithook(hook)


def _act(action: str) -> None:
    if action == "DISK_FULL":
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    else:
        os.kill(os.getpid(), signal.Signals[action])


if "VQGAN_FAULT" in os.environ and os.environ.get("RANK", "0") == os.environ.get("VQGAN_FAULT_RANK", "0"):
    for _fault in os.environ["VQGAN_FAULT"].split(";"):
        _watch(*_fault.split(" "))
