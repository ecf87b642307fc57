"""Write a codes file image by image, from any number of processes, so that a second call goes on after a crash.

Until the end everything lies in ``.codes.npy.partial/`` beside the target, in the journals of
`vqgan_cli.core.data.codes_journal`. At the end process 0 copies the codes in the order of the inputs. So the result
depends neither on the number of processes nor on interruptions, and inputs that failed leave no hole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from vqgan_cli.core.data.codes_format import (
    CodesMetadata,
    Failure,
    ImageRecord,
    checksum,
    codes_type,
    description_path,
    safe_name,
)
from vqgan_cli.core.data.codes_journal import Journals, JournalWriter, journal_files
from vqgan_cli.core.errors import DataError, OutputError, UsageError
from vqgan_cli.core.files import staged_file, write_text

__all__ = ["CodesWriter", "require_free_target"]

_JOB = "job.json"
_LOCK = "lock"
_IMAGE = TypeAdapter(ImageRecord)
_FAILURE = TypeAdapter(Failure)


def require_free_target(target: Path, *, overwrite: bool = False) -> None:
    """Check, before any work, that codes may be written to ``target``.

    Raises:
        UsageError: the name does not end in .npy.
        OutputError: a codes file exists there and ``overwrite`` is off.
    """
    if target.suffix != ".npy":
        raise UsageError(f"{str(target)!r} does not end in .npy", hint=f"-o {target.with_suffix('.npy')}")
    # The description is renamed first: without the array, and with the staging folder, it is part of a crash.
    described = description_path(target).exists() and not _staging_folder(target).exists()
    if not overwrite and (target.exists() or described):
        existing = target if target.exists() else description_path(target)
        raise OutputError(
            f"{str(existing)!r} exists", hint="replace it with --force, or name another file with -o"
        )


class CodesWriter:
    """Collects the codes of inputs 0 to ``count`` - 1 and makes the codes file at the end.

    All processes of a job construct it with the same arguments, process 0 before the others. Unless the caller
    divides them in another way, input i is the share of process ``i % processes``. `finalise` is for process 0, after
    all others have called `close`.

    Args:
        target: the ``.npy`` file; its folder is created.
        metadata: what goes into ``codes.json``.
        count: number of inputs, failing ones included.
        source_fingerprint: changes when the inputs change. With the metadata it decides whether an unfinished job is
            this one.
        process: number of this process.
        processes: number of all processes.
        overwrite: replace an existing codes file, and discard an unfinished one of another job.

    Raises:
        OutputError: the target exists, cannot be written, is being written by another call, or an unfinished job of
            other inputs or settings is in the way.
    """

    def __init__(
        self,
        target: Path,
        metadata: CodesMetadata,
        *,
        count: int,
        source_fingerprint: str,
        process: int = 0,
        processes: int = 1,
        overwrite: bool = False,
    ) -> None:
        require_free_target(target, overwrite=overwrite)
        self.target = target
        self.metadata = metadata
        self.count = count
        self._share = slice(process, count, processes)
        self._staging = _staging_folder(target)
        job = _job_key(metadata, count, source_fingerprint)
        with self._output_errors(), ExitStack() as on_failure:
            self._lock = _lock(self._staging) if process == 0 else None
            if self._lock is not None:
                on_failure.callback(self._lock.close)
                self._prepare(job, overwrite=overwrite)
            elif _read_job(self._staging) != job:
                raise OutputError(f"{str(self._staging)!r} was not prepared by process 0")
            self._done = Journals(self._staging, metadata.codebook_size, count).done
            self.resumed = int(self._done.sum())
            self._journal = JournalWriter(self._staging, metadata.codebook_size)
            on_failure.pop_all()

    def pending(self, *, of_all: bool = False) -> list[int]:
        """Inputs that are still to be encoded; those that failed before are tried again.

        Args:
            of_all: those of all processes, for work that is divided in another way; else of this one's share.
        """
        share = slice(None) if of_all else self._share
        return [int(index) for index in np.arange(self.count)[share][~self._done[share]]]

    def add(
        self,
        index: int,
        codes: npt.NDArray[Any],
        *,
        name: str,
        size: tuple[int, int],
        resized: tuple[int, int],
        label: int = -1,
    ) -> None:
        """Store the codes of one input.

        Args:
            index: of the input.
            codes: integers [h, w], 0 to codebook_size - 1.
            name: relative path, as it will be restored.
            size: [height, width] of the original, in pixels.
            resized: [height, width] after resizing and before the crop to grid * f, in pixels.
            label: class, or -1.

        Raises:
            OutputError: the disk is full, or cannot be written.
            CodesError: a name that would leave an output folder.
        """
        if codes.min() < 0 or codes.max() >= self.metadata.codebook_size:
            raise ValueError(
                f"codes from {codes.min()} to {codes.max()} in a codebook of {self.metadata.codebook_size}"
            )
        height, width = codes.shape
        image = ImageRecord(
            name=safe_name(name),
            grid=(height, width),
            size=size,
            resized=resized,
            label=label,
            crc32=checksum(codes, self.metadata.codebook_size),
        )
        with self._output_errors():
            self._journal.add(index, image, codes)
        self._done[index] = True

    def fail(self, index: int, name: str, reason: str) -> None:
        """Note that an input cannot be encoded: its file, and why in a few words."""
        name, reason = (text.encode(errors="backslashreplace").decode() for text in (name, reason))
        with self._output_errors():
            self._journal.fail(index, Failure(name=name, reason=reason))

    def finalise(self) -> list[Failure]:
        """Make ``codes.json`` and the array, and remove the staging folder.

        Returns:
            The inputs that failed, in their order.

        Raises:
            OutputError: inputs are missing, or the disk cannot be written.
            DataError: every input failed.
        """
        with self._output_errors():
            journals = Journals(self._staging, self.metadata.codebook_size, self.count)
            failed, order = journals.failed, np.flatnonzero(journals.done)
            missing = self.count - len(order) - len(failed)
            if missing:
                raise OutputError(
                    f"{missing} of {self.count} images are not encoded yet",
                    hint="repeat the same command to go on",
                )
            if not len(order):
                first = f"; the first, {failed[0].name!r}: {failed[0].reason}" if failed else ""
                raise DataError(f"none of the {self.count} images could be encoded{first}")
            # Left in reverse: the description is renamed before the array, whose presence says that all is done.
            with staged_file(self.target) as array, staged_file(description_path(self.target)) as description:
                _write(array, description, journals, self.metadata)
            self.close()
            shutil.rmtree(self._staging)
        return failed

    def close(self) -> None:
        """Let go of all files; what was added stays for `finalise` or a later call."""
        self._journal.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, job: str, *, overwrite: bool) -> None:
        """Make the staging folder this job's, once it is locked."""
        if _read_job(self._staging) == job:
            return
        if not overwrite and any(path.stat().st_size for path in journal_files(self._staging)):
            raise OutputError(
                f"{str(self._staging)!r} holds an unfinished encoding of other images or with other settings",
                hint="repeat that command to finish it, or discard it with --force",
            )
        for path in self._staging.iterdir():
            if path.name != _LOCK:
                path.unlink()
        write_text(self._staging / _JOB, json.dumps({"job": job}) + "\n")

    @contextmanager
    def _output_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write {str(self.target)!r}: {error.strerror or error}") from error


def _write(array: Path, description: Path, journals: Journals, metadata: CodesMetadata) -> None:
    """Write both files in one pass over the inputs that have codes."""
    order = np.flatnonzero(journals.done)
    grids = journals.grids[order]
    if (grids == grids[0]).all():
        shape: tuple[int, ...] = (len(order), int(grids[0, 0]), int(grids[0, 1]))
    else:
        shape = (int(grids.prod(axis=1).sum()),)
    dtype = np.lib.format.dtype_to_descr(codes_type(metadata.codebook_size))
    with array.open("wb") as binary, description.open("w", encoding="utf-8") as text:
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(binary, header)

        def rows() -> Iterator[bytes]:
            # Plain writes, no memory map: a full disk is an error here, and would be a bus error there.
            for index in order:
                image, codes = journals.read(int(index))
                binary.write(codes.data)
                yield _IMAGE.dump_json(image)

        text.write('{"format": "vqgan-codes", "version": 1,\n')
        text.write(f'"metadata": {metadata.model_dump_json()},\n"images": [\n')
        _write_rows(text, rows())
        text.write('],\n"failed": [\n')
        _write_rows(text, (_FAILURE.dump_json(failure) for failure in journals.failed))
        text.write("]}\n")


def _write_rows(text: TextIO, rows: Iterable[bytes]) -> None:
    """The elements of a JSON list, one per line."""
    separator = ""
    for row in rows:
        text.write(separator + row.decode())
        separator = ",\n"
    text.write("\n" if separator else "")


def _staging_folder(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _lock(staging: Path) -> TextIO:
    """Create the staging folder and lock it until the file is closed or the process dies."""
    staging.mkdir(parents=True, exist_ok=True)
    lock = (staging / _LOCK).open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise OutputError(
            f"{str(staging)!r} is in use by another process", hint="wait for it, or name another file with -o"
        ) from error
    return lock


def _job_key(metadata: CodesMetadata, count: int, source_fingerprint: str) -> str:
    """Hash of everything that the codes depend on; where tokenizer and images were found is not part of it."""
    settings = metadata.model_dump_json(exclude={"tokenizer", "source"})
    return hashlib.sha256(f"{settings}\n{count}\n{source_fingerprint}".encode()).hexdigest()


def _read_job(staging: Path) -> str | None:
    try:
        return str(json.loads((staging / _JOB).read_text(encoding="utf-8"))["job"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
