"""Properties of the writer and the reader of codes files."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.fuzz.damage import changed, damaged
from tests.fuzz.efforts import attempted, efforts
from vqgan_cli.core.data.codes import Codes, open_codes
from vqgan_cli.core.data.codes_format import CodesMetadata, safe_name
from vqgan_cli.core.data.codes_writer import CodesWriter
from vqgan_cli.core.errors import CodesError

SIZES = st.integers(1, 6)
K = st.sampled_from([1, 2, 256, 257, 65536, 65537, 2**31, 2**32])


def is_safe(name: str) -> bool:
    try:
        safe_name(name)
    except (CodesError, UnicodeEncodeError):
        return False
    return True


NAMES = st.text(max_size=12).filter(is_safe)


@efforts
def test_what_is_written_is_read(effort: settings, tmp_path: Path) -> None:
    """Oracle: the codes, names, sizes, classes and failures that went in, in their order, whatever they are."""
    path = tmp_path / "codes.npy"

    @settings(effort, max_examples=effort.max_examples // 3)  # each is flushed to disk
    @given(
        st.data(),
        K,
        st.booleans(),
        st.lists(NAMES, min_size=1, max_size=5),
        st.lists(st.text(max_size=5), max_size=3),
    )
    def holds(data: st.DataObject, size: int, alike: bool, names: list[str], classes: list[str]) -> None:
        grids = [data.draw(st.tuples(SIZES, SIZES)) for _ in names]
        metadata = CodesMetadata(
            codebook_size=size, downsampling=8, fingerprint="abc", classes=tuple(classes)
        )
        rng = np.random.default_rng(len(names))
        codes = [rng.integers(size, size=grids[0] if alike else grid) for grid in grids]
        codes[0][0, 0] = size - 1
        labels = [data.draw(st.integers(-1, len(classes) - 1)) for _ in names]
        reason = data.draw(st.text(max_size=10))
        with CodesWriter(
            path, metadata, count=len(names) + 1, source_fingerprint="", overwrite=True
        ) as writer:
            for index, name in enumerate(names):
                pixels = (8 * codes[index].shape[0], 8 * codes[index].shape[1])
                writer.add(index, codes[index], name=name, size=pixels, resized=pixels, label=labels[index])
            writer.fail(len(names), "bad", reason)
            writer.finalise()
        read = open_codes(path)
        read.validate()
        assert read.metadata == metadata
        assert read.names == [safe_name(name) for name in names]
        assert read.labels.tolist() == labels
        assert [(each.name, each.reason) for each in read.failed] == [("bad", reason)]
        assert all(np.array_equal(read.grid(index), image) for index, image in enumerate(codes))

    holds()


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Three images of different grids; one failure."""
    path = tmp_path / "codes.npy"
    metadata = CodesMetadata(codebook_size=300, downsampling=8, fingerprint="abc", classes=("cat", "dog"))
    with CodesWriter(path, metadata, count=4, source_fingerprint="photos") as writer:
        for index, grid in enumerate([(4, 5), (2, 2), (3, 1)]):
            codes = np.random.default_rng(index).integers(300, size=grid)
            writer.add(index, codes, name=f"a/{index}.png", size=(40, 41), resized=(40, 40), label=index % 2)
        writer.fail(3, "a/bad.png", "is empty")
        writer.finalise()
    return path


def read_or_refuse(path: Path) -> Codes | None:
    """What can be read is what codes can be; else there is one error, of the project."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, of headers that Python 2 could have written
            codes = open_codes(path)
        codes.validate()
    except CodesError:
        return None
    assert codes.metadata is not None
    for index, image in enumerate(codes.images):
        grid = codes.grid(index)
        assert grid.shape == image.grid
        assert 0 <= grid.min() <= grid.max() < codes.metadata.codebook_size
        assert (path.parent / "out" / image.name).resolve().is_relative_to(path.parent / "out")
        assert -1 <= image.label < len(codes.metadata.classes)
    assert len(codes.labels) == len(codes.names) == len(codes)
    return codes


@efforts
def test_damaged_files(effort: settings, pair: Path) -> None:
    """Invariant: bytes of the array or of its description are changed at will, and every reading is a sound one."""
    files = [pair, pair.with_suffix(".json")]
    whole = [file.read_bytes() for file in files]

    @effort
    @given(st.randoms(use_true_random=False), st.sampled_from([(0,), (1,), (0, 1)]))
    def holds(rng: Any, which: tuple[int, ...]) -> None:
        for number, file in enumerate(files):
            content = whole[number]
            file.write_bytes(damaged(content, rng, whole[1 - number]) if number in which else content)
        read_or_refuse(pair)

    holds()


@efforts
def test_arbitrary_files(effort: settings, pair: Path) -> None:
    """Invariant: as above, for bytes that never were codes, behind the magic of numpy or not."""
    array, description = pair.read_bytes(), pair.with_suffix(".json").read_bytes()
    starts = st.sampled_from(
        [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00", b"\x93NUMPY\x03\x00", array[:10]]
    )

    @effort
    @given(starts, st.binary(max_size=300), st.booleans())
    def holds(start: bytes, rest: bytes, as_array: bool) -> None:
        pair.write_bytes(start + rest if as_array else array)
        pair.with_suffix(".json").write_bytes(description if as_array else rest)
        assume(as_array or rest != description)
        assert read_or_refuse(pair) is None

    holds()


@efforts
def test_changed_descriptions(effort: settings, pair: Path) -> None:
    """Invariant: a description that is still JSON, with values of any kind in any place."""
    file = pair.with_suffix(".json")
    document = json.loads(file.read_text())

    @settings(effort, max_examples=3 * effort.max_examples)
    @given(changed(document))
    def holds(description: dict[str, Any]) -> None:
        file.write_text(json.dumps(description))
        read_or_refuse(pair)

    holds()


@efforts
def test_headers(effort: settings, pair: Path) -> None:
    """Invariant: headers of numpy that ask for any type and any shape."""
    types = st.sampled_from(["<u2", "<i8", "|O", "V0", "S0", "<f4", "<U4", "(3,)u1", "b", "<M8[s]", "zz", ""])
    shapes = st.lists(st.integers() | st.integers(0, 6), max_size=4).map(tuple)

    @effort
    @given(types | st.text(max_size=5), shapes, st.booleans() | st.text(max_size=3), st.booleans())
    def holds(type_: str, shape: tuple[int, ...], order: Any, alone: bool) -> None:
        head = repr({"descr": type_, "fortran_order": order, "shape": shape}).encode() + b"\n"
        pair.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(64))
        if not alone:
            read_or_refuse(pair)
            return
        moved = pair.rename(pair.with_name("alone.npy"))
        codes = attempted(lambda: open_codes(moved, require_metadata=False))
        if not isinstance(codes, CodesError):
            assert all(codes.grid(index).min() >= 0 for index in range(len(codes)))

    holds()
