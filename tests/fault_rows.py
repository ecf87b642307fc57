"""The faults that the program is built for, and the commands that meet each: a test for every pair is marked with it.

``make faults`` runs those tests and prints which took how long; `tests/test_fault_rows.py` finds pairs without a test.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ROWS", "Row"]


class Row(NamedTuple):
    """One fault.

    Attributes:
        what: happens, and what must follow.
        commands: that meet it.
    """

    what: str
    commands: tuple[str, ...]


_TRAINERS = ("train-ae", "train-transformer")
_READERS = (*_TRAINERS, "encode", "generate", "upscale")
_WRITERS = ("encode", "decode", "generate", "upscale")

ROWS = {
    1: Row("Ctrl-C: the step ends, work is saved, exit 130, and goes on later", (*_TRAINERS, *_WRITERS)),
    2: Row("a second Ctrl-C stops at once; the last checkpoint is valid", _TRAINERS),
    3: Row("SIGTERM in a step, in evaluation, in start-up: saved, exit 143", (*_TRAINERS, *_WRITERS)),
    4: Row("SIGTERM to one process of two: all save and leave together", _TRAINERS),
    5: Row("kill -9 in a step: resumed from the last checkpoint", _TRAINERS),
    6: Row("kill -9 while saving: the one before loads", _TRAINERS),
    7: Row("kill -9 of one process of two: the others leave", (*_TRAINERS, "encode", "generate")),
    8: Row("full disk: a clear error, nothing old is lost", (*_TRAINERS, *_WRITERS, "import")),
    9: Row("output not writable: fails before any work", (*_TRAINERS, *_WRITERS, "import", "evaluate")),
    10: Row("newest checkpoint truncated: said, and the one before is taken", _TRAINERS),
    11: Row("a flipped bit in weights is caught", (*_TRAINERS, *_WRITERS, "evaluate")),
    12: Row("a foreign folder among the checkpoints is ignored", _TRAINERS),
    13: Row("resumed equals never stopped, bit for bit", _TRAINERS),
    14: Row("resumed twice: the steps add up", _TRAINERS),
    15: Row("another batch size or number of processes: only with a flag", _TRAINERS),
    16: Row("another architecture: the differences are listed, exit 2", _TRAINERS),
    17: Row("the loss is not finite: no update, and several in a row stop", _TRAINERS),
    18: Row("malicious pickle: refused, nothing executed", ("import", *_TRAINERS, *_WRITERS)),
    19: Row("damaged, empty and false images: named, counted, exit 3", (*_READERS, "evaluate")),
    20: Row("decompression bomb: refused by name", (*_READERS, "evaluate")),
    21: Row("EXIF orientation: upright", ("train-ae", "encode", "upscale")),
    22: Row("16 bits, gray, palette, alpha, CMYK, animation: right RGB", ("train-ae", "encode", "upscale")),
    23: Row("truncated or pickled .npy: refused", ("train-transformer", "decode", "generate")),
    24: Row("a code outside the codebook: image, position and value", ("train-transformer", "decode", "generate")),
    25: Row("codes of another tokenizer: refused", ("train-transformer", "decode", "generate")),
    26: Row("no network: one message with the way out", ("train-ae", "generate", "import", "models", "evaluate")),
    27: Row("corrupt cached weights: named, with the expected hash", ("train-ae", "models")),
    28: Row("unknown preset, key, class, size: exit 2 and the nearest", (*_TRAINERS, *_WRITERS, "import")),
    29: Row("stdout closed: a quiet exit", ("presets", "info", "encode", "decode", "generate", "models")),
    30: Row("two runs into one folder: the second is refused", (*_TRAINERS, *_WRITERS, "import")),
    31: Row("odd sizes, names, links and loops: handled or refused", ("train-ae", "encode", "upscale")),
    32: Row("out of memory: what to change", (*_TRAINERS, *_WRITERS)),
    33: Row("the terminal is closed: saved, exit 129, and goes on later; not with nohup", (*_TRAINERS, *_WRITERS)),
}  # fmt: skip
"""By number."""
