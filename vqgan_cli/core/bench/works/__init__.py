"""The works that are measured, by name. A new one is a file beside this one and a line in ``WORKS``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vqgan_cli.core.bench.settings import BenchSettings
from vqgan_cli.core.bench.subject import Subject
from vqgan_cli.core.bench.work import Work
from vqgan_cli.core.bench.works.reading import io_works
from vqgan_cli.core.bench.works.sampling import sample_works
from vqgan_cli.core.bench.works.sliding import window_works
from vqgan_cli.core.bench.works.tokenizing import decode_works, encode_works
from vqgan_cli.core.bench.works.training import train_works

__all__ = ["WORKS"]

WORKS: dict[str, Callable[[Subject, BenchSettings], Iterator[Work]]] = {
    "encode": encode_works,
    "decode": decode_works,
    "train": train_works,
    "sample": sample_works,
    "window": window_works,
    "io": io_works,
}
