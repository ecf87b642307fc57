"""How often each code was used in a run's newest validation, kept in the run folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field, NonNegativeInt

from vqgan_cli.core.files import write_text

__all__ = ["CODE_COUNTS_FILE", "CodeCounts", "read_code_counts", "write_code_counts"]

CODE_COUNTS_FILE = "code_counts.json"


@dataclass(frozen=True)
class CodeCounts:
    """Counts of the codes of all validation images.

    Attributes:
        step: optimiser steps done when they were counted.
        counts: [K], int64, by code.
    """

    step: int
    counts: npt.NDArray[np.int64]


class _File(BaseModel):
    step: NonNegativeInt
    counts: list[NonNegativeInt] = Field(min_length=1)


def write_code_counts(folder: Path, found: CodeCounts) -> None:
    """Replace those of an earlier validation.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    content = {"step": found.step, "counts": found.counts.tolist()}
    write_text(folder / CODE_COUNTS_FILE, json.dumps(content, separators=(",", ":")) + "\n")


def read_code_counts(folder: Path, problems: list[str]) -> CodeCounts | None:
    """Those of a run; None where there are none, or they cannot be read, which is added to the problems."""
    path = folder / CODE_COUNTS_FILE
    try:
        found = _File.model_validate_json(path.read_bytes())
        return CodeCounts(found.step, np.array(found.counts, np.int64))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, OverflowError) as error:
        problems.append(f"{str(path)!r} cannot be read: {str(error).splitlines()[0]}")
        return None
