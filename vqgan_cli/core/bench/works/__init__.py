"""The works that are measured, by name. A new one is a file beside this one and a line in ``WORKS``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vqgan_cli.core.bench.settings import BenchSettings
from vqgan_cli.core.bench.subject import Subject
from vqgan_cli.core.bench.work import Work
from vqgan_cli.core.bench.works.reading import io_works
from vqgan_cli.core.bench.works.sampling import sample_works
from vqgan_cli.core.bench.works.sliding import check_window, window_works
from vqgan_cli.core.bench.works.tokenizing import decode_works, encode_works
from vqgan_cli.core.bench.works.training import check_training, train_works

__all__ = ["WORKS", "Kind"]


def _nothing_to_check(subject: Subject, settings: BenchSettings) -> None:
    pass


@dataclass(frozen=True)
class Kind:
    """A work that can be asked for.

    Attributes:
        works: its rows, each built when the one before is measured.
        draws: whether a prior draws codes, for which a tokenizer alone does not do.
        check: raises a `UsageError` for what cannot be measured, before anything is.
    """

    works: Callable[[Subject, BenchSettings], Iterator[Work]]
    draws: bool = False
    check: Callable[[Subject, BenchSettings], None] = _nothing_to_check


WORKS: dict[str, Kind] = {
    "encode": Kind(encode_works),
    "decode": Kind(decode_works),
    "train": Kind(train_works, check=check_training),
    "sample": Kind(sample_works, draws=True),
    "window": Kind(window_works, draws=True, check=check_window),
    "io": Kind(io_works),
}
