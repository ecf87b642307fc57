"""Is a file the one that was expected, and the one message if it is not, or cannot be had."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vqgan_cli.core.errors import OutputError, WeightsError
from vqgan_cli.core.published.locations import RemoteFile
from vqgan_cli.core.published.progress import bytes_progress
from vqgan_cli.core.reporting import Reporter

__all__ = ["check_content", "disk_errors", "disk_problem", "failed"]

_BLOCK = 1 << 22
_DISK = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO", "ENOTDIR", "EEXIST")
    if hasattr(errno, name)
}


def check_content(
    file: RemoteFile, path: Path, reporter: Reporter, *, hint: str, published: str = "", git: str = ""
) -> None:
    """Check size and hash of a file, as far as they are known.

    Args:
        file: what is expected.
        path: what was found.
        reporter: who listens.
        hint: what to do if it is another file.
        published: SHA-256 that the server states; empty: none.
        git: hash by which git knows the content (SHA-1 of a blob) as the server states it; empty: none.

    Raises:
        WeightsError: another size or hash, with what was expected and what was found.
    """
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        raise _wrong(path, f"{file.bytes} bytes", f"{size}", hint)
    expected = {each for each in (file.sha256, published) if each}
    if not expected and not git:
        return
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    done = 0
    with path.open("rb") as content, bytes_progress(reporter, f"checking {file.name}", size) as advance:
        while block := content.read(_BLOCK):
            if expected:
                sha256.update(block)
            if git:
                blob.update(block)
            done += len(block)
            advance(done)
    for each in expected:
        if sha256.hexdigest() != each:
            raise _wrong(path, f"SHA-256 {each}", sha256.hexdigest(), hint)
    if git and blob.hexdigest() != git:
        raise _wrong(path, f"git hash {git}", blob.hexdigest(), hint)


def _wrong(path: Path, expected: str, found: str, hint: str) -> WeightsError:
    return WeightsError(
        f"{str(path)!r} is not the file that was expected: {expected}, but found {found}", hint=hint
    )


def failed(file: RemoteFile, reason: str, *, otherwise: str = "", first: str = "") -> WeightsError:
    """The one message of a file that cannot be had: what, from where, why, and what to do by hand.

    Args:
        file: what was wanted; the folder where a copy of it is looked for is made, as far as that is possible.
        reason: a few words.
        otherwise: another way to the same end.
        first: what to try before that.
    """
    with suppress(OSError):
        file.place.parent.mkdir(parents=True, exist_ok=True)
    ways = [first, f"put the file at {str(file.place)!r} by other means, and repeat the command", otherwise]
    return WeightsError(
        f"cannot download {file.name} from {file.url}: {reason}", hint="; or ".join(filter(None, ways))
    )


def disk_problem(error: Exception, folder: Path, variable: str = "VQGAN_CACHE") -> OutputError | None:
    """What a failure says about the disk; None if it says nothing.

    Args:
        error: errors of a connection are of the same class as those of a disk; they have other numbers, or none.
        folder: below which something was written.
        variable: of the environment, which names that folder.
    """
    if not isinstance(error, OSError) or error.errno not in _DISK:
        return None
    return OutputError(
        f"cannot write to {str(folder)!r}: {error.strerror}",
        hint=f"free some space, or set {variable} to a folder on another disk",
    )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn failures of writing below a folder of the cache into one message.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        problem = disk_problem(error, folder)
        if problem is None:
            raise
        raise problem from error
