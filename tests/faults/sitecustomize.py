"""Causes a fault at a known point of a process; Python imports this by itself when the folder is on its path.

``VQGAN_FAULT="EVENT PART ACTION..."`` waits for the first audit event of that name whose first argument contains
PART, such as ``open step-00000008.partial/facts.json``, or for nothing if EVENT is ``start``, and then does each ACTION
once:

- ``SIGKILL``, ``SIGINT``, ``SIGTERM``, ``SIGHUP``, ``SIGSTOP``: this process sends the signal to itself;
- ``IGNORED:SIGHUP``: from then on this process ignores the signal, as one that ``nohup`` has started;
- ``DISK_FULL:3000``: from then on no file can grow beyond so many bytes, without a number beyond 100 kB;
- ``STDOUT_CLOSED``: whoever read what this process writes to stdout has left;
- ``MEMORY_FULL:50``: from then on this process can take no more than so many MB in addition (Linux).

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
    if event == "start":
        for action in actions:
            _act(action)
        return

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        if name == event and pending and part in str(arguments[0]) and os.getpid() == own:
            todo, pending[:] = list(pending), []
            for action in todo:
                _act(action)

    sys.addaudithook(hook)


def _act(action: str) -> None:
    name, _, number = action.partition(":")
    if name == "DISK_FULL":
        limit = int(number or 100_000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    elif name == "IGNORED":
        signal.signal(signal.Signals[number], signal.SIG_IGN)
    elif name == "STDOUT_CLOSED":
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        os.close(reader)
    elif name == "MEMORY_FULL":
        limit = _writable_memory() + int(number) * 1_000_000
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    else:
        os.kill(os.getpid(), signal.Signals[name])


def _writable_memory() -> int:
    """Bytes that this process has taken, as RLIMIT_DATA counts them."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - nothing is imported for this
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))


if "VQGAN_FAULT" in os.environ and os.environ.get("RANK", "0") == os.environ.get("VQGAN_FAULT_RANK", "0"):
    for _fault in os.environ["VQGAN_FAULT"].split(";"):
        _watch(*_fault.split(" "))
