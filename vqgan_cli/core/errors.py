"""Everything that a user can cause, as one tree of exceptions.

::

    VqganError                    exit 1
    ├── UsageError                exit 2   a flag, name or value that cannot be right
    │   └── ConfigError           exit 2   every problem of a config, all at once
    ├── DataError                 exit 1   a data source that cannot be used
    │   └── ImageError            exit 1   one image that cannot be read
    ├── CodesError                exit 1   a codes file that is damaged or out of range
    │   └── FingerprintError      exit 1   codes of another tokenizer
    ├── ModelError                exit 1   a model file that cannot be loaded
    │   └── CheckpointError       exit 1   no checkpoint to resume from
    ├── WeightsError              exit 1   pretrained weights neither cached nor downloadable
    ├── OutputError               exit 1   an output that cannot be written, or exists
    ├── DivergedError             exit 1   the loss stayed NaN or infinite
    ├── MemoryLimitError          exit 1   out of memory, with the flag to change
    ├── TrackerError              exit 1   a tracker that cannot be started
    ├── LostProcessError          exit 1   of several processes, another one has ended
    └── StoppedError              exit 129, 130 or 143, by the signal that stopped the work

The command line turns each into one message and its exit code. This module imports nothing of the package.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "CheckpointError",
    "CodesError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "FingerprintError",
    "ImageError",
    "LostProcessError",
    "MemoryLimitError",
    "ModelError",
    "OutputError",
    "StoppedError",
    "TrackerError",
    "UsageError",
    "VqganError",
    "WeightsError",
    "did_you_mean",
]


class VqganError(Exception):
    """Base of all errors that are the input's fault, not the program's.

    Args:
        message: what went wrong and where, one sentence.
        hint: the next thing to try; shown on a line of its own.

    Examples:
        >>> from vqgan_cli import VqganError, load_tokenizer
        >>> try:
        ...     load_tokenizer("runs/another-ae")
        ... except VqganError as error:
        ...     print(error.message)
        model 'runs/another-ae' does not exist
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(VqganError):
    """A flag, a name or a value that cannot be right, found before any work is done."""

    exit_code = 2


class ConfigError(UsageError):
    """One or more problems of a configuration, reported together."""

    def __init__(self, problems: Iterable[str], *, where: str = "config", hint: str | None = None) -> None:
        self.problems = list(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        noun = "problem" if len(self.problems) == 1 else "problems"
        super().__init__(f"{len(self.problems)} {noun} in {where}:\n{lines}", hint=hint)


class DataError(VqganError):
    """A data source that does not exist, is empty, or holds nothing usable."""


class ImageError(DataError):
    """One image that cannot be read or is refused.

    Attributes:
        path: the file.
        reason: a few words without the path, as they appear in summaries.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"{str(path)!r}: {reason}")

    def __reduce__(self) -> tuple[type[ImageError], tuple[Path, str]]:
        # Worker processes send this error to the parent, and the default would pass only the message.
        return type(self), (self.path, self.reason)


class CodesError(VqganError):
    """A codes file that is truncated, inconsistent, or holds a code outside the codebook."""


class FingerprintError(CodesError):
    """Codes that were made by another tokenizer than the one that should decode them."""


class ModelError(VqganError):
    """A model file that is missing, damaged or of another kind."""


class CheckpointError(ModelError):
    """No usable checkpoint in a run folder, or one that belongs to another configuration."""


class WeightsError(VqganError):
    """Pretrained weights that are neither cached nor downloadable, or are corrupt."""


class OutputError(VqganError):
    """An output that exists already or cannot be written."""


class DivergedError(VqganError):
    """The loss was NaN or infinite for several steps in a row."""


class MemoryLimitError(VqganError):
    """The device ran out of memory."""


class TrackerError(VqganError):
    """A service that was asked to track a run, and cannot be reached or does not know the user."""


class LostProcessError(VqganError):
    """Another process of the same command has ended, and this one cannot go on without it."""


class StoppedError(VqganError):
    """A signal stopped the work after everything worth keeping was saved."""

    def __init__(self, message: str, *, exit_code: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the known name nearest to ``name``, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""
