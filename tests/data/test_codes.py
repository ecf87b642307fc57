"""Reading codes files: what is in them, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vqgan_cli.core.data.codes import Codes, check_fingerprint, open_codes
from vqgan_cli.core.data.codes_format import CodesMetadata, codes_type, safe_name
from vqgan_cli.core.data.codes_writer import CodesWriter
from vqgan_cli.core.errors import CodesError, FingerprintError

METADATA = CodesMetadata(
    codebook_size=512, downsampling=8, fingerprint="abc", size=(32, 40), classes=("cat", "dog")
)


def write_codes(path: Path, grids: list[tuple[int, int]], metadata: CodesMetadata = METADATA) -> list[Any]:
    """A codes file with random codes; returns them."""
    rng = np.random.default_rng(0)
    codes = [rng.integers(metadata.codebook_size, size=grid) for grid in grids]
    with CodesWriter(path, metadata, count=len(codes), source_fingerprint="photos") as writer:
        for index, image in enumerate(codes):
            writer.add(
                index, image, name=f"a/{index}.png", size=(90 + index, 80), resized=(45, 40), label=index % 2
            )
        writer.finalise()
    return codes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "codes.npy"


@pytest.mark.parametrize(
    ("codebook_size", "dtype"),
    [(2, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "u4"), (2**18, "u4")],
)
def test_smallest_type_that_holds_the_codebook(codebook_size: int, dtype: str) -> None:
    """Oracle: K - 1 fits, and does not fit into the next smaller type."""
    assert codes_type(codebook_size) == np.dtype(dtype)
    assert np.iinfo(codes_type(codebook_size)).max >= codebook_size - 1


def test_one_grid(path: Path) -> None:
    """Oracle: the codes that went in; numpy alone can read them as [N, h, w]."""
    written = write_codes(path, [(4, 5)] * 3)
    codes = open_codes(path)
    codes.validate()
    assert np.load(path).shape == (3, 4, 5)
    assert np.load(path).dtype == np.uint16
    assert len(codes) == 3
    assert codes.shape == (4, 5)
    assert codes.metadata == METADATA
    assert codes.names == ["a/0.png", "a/1.png", "a/2.png"]
    assert codes.labels.tolist() == [0, 1, 0]
    assert [image.size for image in codes.images] == [(90, 80), (91, 80), (92, 80)]
    for index, image in enumerate(written):
        np.testing.assert_array_equal(codes.grid(index), image)
        assert codes.grid(index).dtype == np.int64


def test_grids_of_different_size(path: Path) -> None:
    """Oracle: the codes that went in, and no code more than that in the file."""
    written = write_codes(path, [(4, 5), (1, 1), (7, 2)])
    codes = open_codes(path)
    codes.validate()
    assert codes.shape is None
    assert np.load(path).shape == (4 * 5 + 1 + 7 * 2,)
    for index, image in enumerate(written):
        np.testing.assert_array_equal(codes.grid(index), image)


@pytest.mark.parametrize("grids", [[(4, 5)] * 3, [(3, 3), (4, 5), (2, 2)]])
def test_code_outside_the_codebook_is_located(path: Path, grids: list[tuple[int, int]]) -> None:
    write_codes(path, grids)
    array = np.load(path)
    first = sum(height * width for height, width in grids[:1])
    array.reshape(-1)[first + 2 * 5 + 3] = 600
    np.save(path, array)
    with pytest.raises(
        CodesError, match=r"image 1 \('a/1.png'\) has the code 600 at row 2, column 3"
    ) as caught:
        open_codes(path).validate()
    assert "codebook of 512 (0 to 511)" in caught.value.message


def test_codes_of_a_larger_codebook_are_refused_by_a_smaller_one(path: Path) -> None:
    write_codes(path, [(16, 16)] * 4)
    open_codes(path).validate(512)
    with pytest.raises(CodesError, match="codebook of 256"):
        open_codes(path).validate(256)


def test_every_image_is_checked_whatever_the_chunk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a changed code in range is found by the checksum of its image, wherever chunks begin and end."""
    monkeypatch.setattr("vqgan_cli.core.data.codes._CHUNK", 50)
    write_codes(path, [(4, 5)] * 40)
    good = np.load(path)
    for index in (0, 1, 2, 21, 39):
        array = good.copy()
        array[index, 1, 1] ^= 1
        np.save(path, array)
        with pytest.raises(CodesError, match=rf"image {index} \('a/{index}.png'\) was changed or damaged"):
            open_codes(path).validate()


def test_description_of_other_codes_is_noticed_on_opening(tmp_path: Path, path: Path) -> None:
    """Two sets of the same shape, as a crash between the two renames could leave them."""
    write_codes(path, [(4, 5)] * 3)
    other = tmp_path / "other.npy"
    write_codes(other, [(4, 5)] * 3, METADATA.model_copy(update={"codebook_size": 300}))
    other.rename(path)
    with pytest.raises(CodesError, match=r"'codes\.json' belongs to other codes"):
        open_codes(path)


def test_array_without_description(path: Path) -> None:
    array = np.arange(24).reshape(2, 3, 4)
    np.save(path, array)
    with pytest.raises(CodesError, match=r"codes\.json"):
        open_codes(path)
    codes = open_codes(path, require_metadata=False)
    assert codes.names == ["000000", "000001"]
    assert codes.fingerprint is None
    np.testing.assert_array_equal(codes.grid(1), array[1])
    with pytest.raises(CodesError, match="code 20 at row 2, column 0"):
        codes.validate(20)
    np.save(path, array - 1)
    with pytest.raises(CodesError, match="code -1 at row 0, column 0"):
        open_codes(path, require_metadata=False)


class _Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_unusable_arrays(path: Path, tmp_path: Path) -> None:
    """Truncated, pickled and foreign files are refused by name, and no pickle is executed."""
    write_codes(path, [(4, 5)] * 3)
    whole = path.read_bytes()
    payload = np.empty(1, object)
    payload[0] = _Payload(tmp_path / "executed")
    np.save(tmp_path / "objects.npy", payload, allow_pickle=True)
    np.savez(tmp_path / "archive.npz", codes=np.zeros((1, 2, 2), np.uint8))
    contents = {
        "truncated": whole[:-1],
        "header only": whole[:60],
        "empty": b"",
        "objects": (tmp_path / "objects.npy").read_bytes(),
        "pickle": pickle.dumps(_Payload(tmp_path / "executed")),
        "archive": (tmp_path / "archive.npz").read_bytes(),
    }
    for content in contents.values():
        path.write_bytes(content)
        with pytest.raises(CodesError, match=r"codes\.npy.* is damaged, truncated or no plain \.npy array"):
            open_codes(path)
    assert not (tmp_path / "executed").exists()
    np.save(path, np.zeros((3, 4, 5), np.float32))
    with pytest.raises(CodesError, match="float32 values; codes are integers"):
        open_codes(path)
    path.unlink()
    with pytest.raises(CodesError, match="no codes file"):
        open_codes(path)


def _drop_an_image(description: dict[str, Any]) -> None:
    description["images"].pop()


def _misspell(description: dict[str, Any]) -> None:
    description["metadata"]["codebok_size"] = description["metadata"].pop("codebook_size")


def _climb(description: dict[str, Any]) -> None:
    description["images"][0]["name"] = "../../evil.png"


def _grow(description: dict[str, Any]) -> None:
    description["images"][0]["grid"] = [5, 4]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_drop_an_image, "2 images that are not those"),
        (_misspell, "metadata.codebook_size: Field required"),
        (_climb, "does not stay inside"),
        (_grow, "not those of"),
    ],
)
def test_descriptions_that_do_not_fit(path: Path, change: Any, complaint: str) -> None:
    write_codes(path, [(4, 5)] * 3)
    file = path.with_suffix(".json")
    description = json.loads(file.read_text())
    change(description)
    file.write_text(json.dumps(description))
    with pytest.raises(CodesError, match=complaint):
        open_codes(path)
    file.write_text("{")
    with pytest.raises(CodesError, match="does not describe codes"):
        open_codes(path)


def test_fingerprints(path: Path) -> None:
    write_codes(path, [(4, 5)] * 3)
    codes = open_codes(path)
    check_fingerprint(codes, "abc")
    with pytest.raises(FingerprintError, match=r"abc.*xyz") as caught:
        check_fingerprint(codes, "xyz")
    assert "--force" in (caught.value.hint or "")
    check_fingerprint(codes, "xyz", force=True)


def test_codes_alone_pass_any_fingerprint(path: Path) -> None:
    check_fingerprint(Codes(path, np.zeros((1, 2, 2), np.uint8), None), "xyz")


@pytest.mark.parametrize("name", ["a.png", "a b/ü\n.png", "..a/b..png", "a\\b.png", "日本.jpg"])
def test_names_that_are_safe_stay_as_they_are(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "/", "/etc/passwd", "..", "../a.png", "a/../../b.png", "a\0b.png"])
def test_names_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(CodesError, match="output folder"):
        safe_name(name)


def test_undecodable_names_become_writable() -> None:
    assert safe_name(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"
