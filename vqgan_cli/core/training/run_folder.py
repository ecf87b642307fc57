"""The folder of one training run: config, log, status, samples and checkpoints."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from vqgan_cli.core.cards.writing import CARD_FILE, is_users_own
from vqgan_cli.core.errors import OutputError
from vqgan_cli.core.files import require_writable_folder, write_text
from vqgan_cli.core.training.code_counts import CODE_COUNTS_FILE, read_code_counts

__all__ = ["CONDITION_FILE", "TOKENIZER_FILE", "TRACKER_FOLDERS", "RunFolder", "is_validation", "next_free"]

TOKENIZER_FILE = "tokenizer.safetensors"
"""Copy of the tokenizer in the run folder of a transformer."""

CONDITION_FILE = "condition.safetensors"
"""Copy of the maps' tokenizer there, if they have one of their own."""

TRACKER_FOLDERS = {"tensorboard": "vqgan", "wandb": "wandb"}
"""By tracker, the folder there for its files, which it writes before anything else is written."""

_TRIES = 6


def next_free(path: Path) -> Path:
    """``path`` itself if nothing or an empty folder is there, else ``path-2``, ``path-3`` and so on."""
    candidate, number = path, 2
    while candidate.exists() and not (candidate.is_dir() and not _content(candidate)):
        candidate = path.with_name(f"{path.name}-{number}")
        number += 1
    return candidate


def is_validation(record: Mapping[str, Any]) -> bool:
    """Whether a line of the log is one of a validation."""
    return any(name.startswith("validation/") for name in record)


def _content(folder: Path) -> list[Path]:
    """What a run leaves behind once it has begun."""
    return [entry for entry in folder.iterdir() if entry.name != ".lock"]


def _with_files_of_trackers(content: Iterable[Path]) -> Iterator[Path]:
    """What is there, with single files in place of folders into which trackers will have put new ones."""
    for entry in content:
        if entry.name in TRACKER_FOLDERS.values() and entry.is_dir() and not entry.is_symlink():
            yield from entry.iterdir()
        else:
            yield entry


class RunFolder:
    """A run folder, locked for as long as this object lives.

    The lock is the kernel's: it ends with the process, however that dies. Nothing else is written or replaced before
    `begin`, so a run that fails while it opens its data leaves no trace, and no trace is in the way of the next try.
    What trackers have written by then (see `TRACKER_FOLDERS`) stays.

    Attributes:
        state: the last status that was written through this object; empty before the first.
        watcher: called after each status and each line of the log, with whether that was a status.

    Raises:
        OutputError: the folder cannot be written, is not empty and not to be continued, or another process uses it.
    """

    def __init__(self, path: Path, *, resume: bool = False, force: bool = False) -> None:
        self.path = path
        self.state = ""
        self.watcher: Callable[[bool], None] = lambda is_status: None
        self._replaced: list[Path] = []
        self._log: TextIO | None = None
        require_writable_folder(path)
        self._lock = (path / ".lock").open("a")
        # The kernel's lock lasts while any process has the file, and a forked worker may outlive this one.
        os.register_at_fork(after_in_child=self._lock.close)
        try:
            self._take(resume, force)
        except BaseException:
            self._lock.close()
            raise

    def _take(self, resume: bool, force: bool) -> None:
        try:
            _lock(self._lock)
        except BlockingIOError as error:
            raise OutputError(
                f"another process is writing to {str(self.path)!r}",
                hint="wait for it, or name another folder with --out",
            ) from error
        except OSError as error:
            raise OutputError(
                f"cannot lock {str(self.path / '.lock')!r}: {error.strerror or error}",
                hint="some network file systems have no locks; name a folder on another with --out",
            ) from error
        content = _content(self.path)
        if content and force:
            if not any(entry.name in ("config.yaml", "status.json") for entry in content):
                raise OutputError(
                    f"{str(self.path)!r} is not empty and no run folder, so --force does not replace it",
                    hint="name another folder with --out",
                )
            # Nothing of what the user has written about a model is in the way of a new one.
            replaced = [entry for entry in content if entry.name != CARD_FILE or not is_users_own(entry)]
            self._replaced = [*_with_files_of_trackers(replaced)]
        elif content and not resume:
            raise OutputError(
                f"{str(self.path)!r} exists and is not empty",
                hint="go on with --resume, replace it with --force",
            )

    @property
    def samples(self) -> Path:
        """Folder of pictures made during training."""
        return self.path / "samples"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    def begin(self, config: str) -> None:
        """Remove what is to be replaced, and keep the resolved config, as YAML.

        Raises:
            OutputError: something cannot be removed or written.
        """
        try:
            # Links last: those of a tracker that has started point to something that is there.
            for entry in sorted(self._replaced, key=Path.is_symlink):
                if entry.parent != self.path and entry.is_symlink() and entry.exists():
                    continue
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            for folder in TRACKER_FOLDERS.values() if self._replaced else ():
                with suppress(OSError):  # not there, or in use
                    (self.path / folder).rmdir()
            self._replaced = []
            self.samples.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot replace what is in {str(self.path)!r}: {error}") from error
        write_text(self.path / "config.yaml", config)

    def write_status(self, state: str, **details: Any) -> None:
        """Say what the run is doing or why it ended: ``running``, ``finished``, ``stopped`` or ``failed``."""
        record = {"state": state, "time": _now(), "pid": os.getpid(), **details}
        write_text(self.path / "status.json", json.dumps(record, indent=2) + "\n")
        self.state = state
        self.watcher(True)

    def read_status(self) -> dict[str, Any]:
        """The last status, or an empty dict."""
        try:
            return dict(json.loads((self.path / "status.json").read_text()))
        except (OSError, ValueError):
            return {}

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Add one line to ``log.jsonl``."""
        try:
            if self._log is None:
                self._log = (self.path / "log.jsonl").open("a", encoding="utf-8")
            self._log.write(json.dumps({"step": step, "time": _now(), **values}) + "\n")
            self._log.flush()
        except OSError as error:
            raise OutputError(f"cannot write {str(self.path / 'log.jsonl')!r}: {error.strerror}") from error
        self.watcher(False)

    def rewind(self, step: int, validated: int) -> None:
        """Drop what a resumed run writes again: lines of the log and pictures after ``step``, what validations found
        after ``validated``.

        Raises:
            OutputError: something cannot be removed or written.
        """
        counts = read_code_counts(self.path, [])
        abandoned = [path for path in self.samples.glob("step-*.png") if _step_of(path) > step]
        if counts is not None and counts.step > validated:
            abandoned.append(self.path / CODE_COUNTS_FILE)
        try:
            for path in abandoned:
                path.unlink()
        except OSError as error:
            raise OutputError(f"cannot remove {str(error.filename)!r}: {error.strerror}") from error
        self._rewind_log(step, validated)

    def _rewind_log(self, step: int, validated: int) -> None:
        path = self.path / "log.jsonl"
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
                last = validated if is_validation(record) else step
                if record["step"] <= last:
                    kept.append(line + "\n")
            except (ValueError, KeyError):
                continue  # the last line of a killed process may be cut short
        write_text(path, "".join(kept))

    def close(self) -> None:
        """Release the lock."""
        if self._log is not None:
            self._log.close()
        self._lock.close()


def _lock(file: TextIO) -> None:
    """Lock a file for this process alone; `vqgan info` and `vqgan report` hold it for a moment to see who does."""
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.05)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _step_of(picture: Path) -> int:
    number = picture.stem.removeprefix("step-")
    return int(number) if number.isdecimal() else 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
