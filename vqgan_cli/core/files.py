"""Writing files so that a crash leaves the old one or the new one, never half of one."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from vqgan_cli.core.errors import OutputError

__all__ = [
    "locked",
    "require_writable_folder",
    "reserved",
    "staged_file",
    "staged_folder",
    "sync_folder",
    "write_text",
]


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_file(path: Path) -> None:
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


@contextmanager
def staged_file(target: Path) -> Iterator[Path]:
    """A path beside ``target`` to write to; flushed and renamed to ``target`` at the end, removed on failure.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    staging = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        staging.touch()
        mode = staging.stat().st_mode
        yield staging
        staging.chmod(mode)  # safetensors makes files that nobody else may read
        _sync_file(staging)
        staging.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise OutputError(f"cannot write {str(target)!r}: {error.strerror or error}") from error
    finally:
        staging.unlink(missing_ok=True)


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` to fill; flushed and renamed to ``target`` at the end, removed on failure.

    A folder that is there by that name is removed after that. A process that is killed just before it has its new
    name leaves the old one as ``.NAME.replaced``: folders cannot be exchanged in one step.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    staging, replaced = (target.with_name(f".{target.name}.{what}") for what in ("partial", "replaced"))
    try:
        shutil.rmtree(staging, ignore_errors=True)  # left by a process that was killed
        staging.mkdir(parents=True)
        mode = staging.stat().st_mode & 0o666
        yield staging
        for path in staging.iterdir():
            path.chmod(mode)  # safetensors makes files that nobody else may read
            _sync_file(path)
        sync_folder(staging)
        if target.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            target.rename(replaced)
        staging.rename(target)
        sync_folder(target.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write {str(target)!r}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock that a file stands for; the kernel gives it up with the process, however that dies.

    Args:
        path: created if need be, and left there.
        waiting: called twice a second while another process holds the lock; may raise to give up.

    Raises:
        OutputError: the file cannot be written.
    """
    while (file := _try_lock(path)) is None:
        waiting()
        time.sleep(0.5)
    with file:
        yield


@contextmanager
def reserved(output: Path, *, is_folder: bool) -> Iterator[None]:
    """Keep every other process from writing to an output; the kernel ends that with the process, however it dies.

    Args:
        output: the file or folder that is written.
        is_folder: it is a folder that exists and is filled in place, and the lock lies in it; else beside it.

    Raises:
        OutputError: another process is writing there, or the lock cannot be written.
    """
    path = output / ".lock" if is_folder else output.with_name(f".{output.name}.writing")
    file = _try_lock(path)
    if file is None:
        raise OutputError(
            f"another process is writing to {str(output)!r}", hint="wait for it, or name another with --out"
        )
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _try_lock(path: Path) -> TextIO | None:
    """The file, created if need be, with its lock; None while another process holds that."""
    while True:
        try:
            file = path.open("a")
        except OSError as error:
            raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            file.close()
            raise OutputError(f"cannot lock {str(path)!r}: {error.strerror or error}") from error
        try:
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        file.close()  # whoever held it has removed it meanwhile, and the next one makes another


def write_text(target: Path, text: str) -> None:
    """Replace a text file in one step.

    Raises:
        OutputError: it cannot be written.
    """
    with staged_file(target) as staging:
        staging.write_text(text, encoding="utf-8")


def require_writable_folder(folder: Path) -> None:
    """Create a folder and try to write into it, before any work is done for it.

    Raises:
        OutputError: it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write to {str(folder)!r}: {error.strerror or error}",
            hint="name another folder with --out",
        ) from error
