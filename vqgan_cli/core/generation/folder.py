"""A folder of generated images: which ones it will hold, how they were made, and what is there already.

``samples.json`` says how every image was made. It is written before the first image, so that a second call knows
whether it is the same work, and again when all are there. An image file that exists is whole.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from vqgan_cli.core.data.images import contact_sheet, read_image, remove_unfinished, write_image
from vqgan_cli.core.data.transforms import resize
from vqgan_cli.core.errors import DataError, OutputError
from vqgan_cli.core.files import require_writable_folder, write_text

__all__ = ["Sample", "SampleFolder", "described_samples", "sheet_columns"]

Picture = npt.NDArray[np.uint8]

_DESCRIPTION = "samples.json"
_SHEET = "sheet.png"
_SHEET_IMAGES = 64
_SHEET_SIDE = 2048  # pixels of the sheet's longer side, more or less
_FOR_PEOPLE = ("model", "vqgan", "max_batch")  # settings on which no image depends


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Sample:
    """One generated image.

    Attributes:
        file: name inside the folder.
        index: number of the image; with the seed it decides every random number.
        seed: as given.
        size: [height, width] in pixels.
        label: class, or None.
        class_name: what people call the class.
        source: name of the map or photo that it was made from, or None.
        score: probability of the class by the scorer, where there was one.
    """

    file: str
    index: int
    seed: int
    size: tuple[int, int]
    label: int | None = None
    class_name: str | None = None
    source: str | None = None
    score: float | None = None


class _Description(BaseModel):
    """The content of ``samples.json``."""

    format: str = "vqgan-samples/1"
    finished: bool
    settings: dict[str, Any]
    images: list[Sample]


class SampleFolder:
    """The images of one call of generate, and of the calls that go on with it.

    Args:
        folder: created if need be.
        settings: everything that the images depend on, as JSON can hold it.
        files: names of all images.
        force: discard what an earlier call has left, unless it is this one, and unfinished.
        leads: whether this is the first of several processes, which prepares the folder before the others look at it.

    Attributes:
        known: what ``samples.json`` of an earlier call says about its images, by file.

    Raises:
        OutputError: images of other settings are there, or the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        files: Sequence[str],
        *,
        force: bool,
        leads: bool = True,
    ) -> None:
        self.folder = folder
        self.files = files
        self.settings = json.loads(json.dumps(settings))
        self.known: dict[str, Sample] = {}
        if leads:
            require_writable_folder(folder)
            remove_unfinished(folder)
        force = force and leads
        earlier = self._read(damaged_is_none=force)
        if force and (earlier is None or earlier.finished or self._changes(earlier)):
            self._discard(earlier)
            earlier = None
        elif earlier is not None and (earlier.finished or self._has_work()):
            self._require_same(earlier)
            self.known = {sample.file: sample for sample in earlier.images}
        else:
            existing = next((file for file in files if (folder / file).exists()), None)
            if existing is not None:
                raise OutputError(
                    f"{str(folder / existing)!r} exists, and no {_DESCRIPTION} says how it was made",
                    hint="overwrite with --force, or name another folder with -o",
                )
        self.finished = earlier is not None and earlier.finished and not self.missing(files)
        if not self.finished and leads:
            self._write(finished=False, images=list(self.known.values()))

    @property
    def candidates(self) -> Path:
        """Folder for unfinished work, removed at the end."""
        return self.folder / ".candidates"

    @property
    def preview(self) -> Path:
        """Where the picture that is being drawn is shown."""
        return self.folder / "preview.png"

    @property
    def sheet(self) -> Path:
        """The contact sheet."""
        return self.folder / _SHEET

    @property
    def job(self) -> str:
        """Hash of the settings that images depend on, 16 hex digits."""
        text = json.dumps(_comparable(self.settings), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def missing(self, files: Sequence[str]) -> list[str]:
        """Those of the files that are not there yet."""
        return [file for file in files if not (self.folder / file).exists()]

    def _has_work(self) -> bool:
        """Whether anything was drawn; a call that failed before that is in nobody's way."""
        return self.candidates.exists() or any(self.folder.glob("*.png"))

    def finish(
        self, samples: Sequence[Sample], shown: Mapping[str, Callable[[], Picture]] | None = None
    ) -> None:
        """Write the contact sheet and the final ``samples.json``; remove what was for the time of drawing.

        Args:
            samples: every image.
            shown: makes the picture of each `Sample.source`, to stand before the images that were made from it.

        Raises:
            OutputError: a file cannot be written.
            ImageError: an image is no image any more.
        """
        write_image(self.sheet, self._beside(samples, shown) if shown else self._sheet(samples))
        self._write(finished=True, images=list(samples))
        self.preview.unlink(missing_ok=True)
        shutil.rmtree(self.candidates, ignore_errors=True)

    def _sheet(self, samples: Sequence[Sample]) -> Picture:
        chosen = np.unique(np.linspace(0, len(samples) - 1, _SHEET_IMAGES).round().astype(int))
        columns = sheet_columns([samples[i].label for i in chosen])
        return contact_sheet(
            [self._thumbnail(samples[i].file, _SHEET_SIDE // columns) for i in chosen], columns
        )

    def _beside(self, samples: Sequence[Sample], shown: Mapping[str, Callable[[], Picture]]) -> Picture:
        """A row per map or photo: itself, then what was made from it."""
        rows = [list(row) for _, row in itertools.groupby(samples, lambda sample: sample.source)]
        in_row = min(max(map(len, rows)), _SHEET_IMAGES // 2)
        rows = rows[: max(1, _SHEET_IMAGES // in_row)]
        side = _SHEET_SIDE // max(len(rows), in_row + 1)
        pictures = []
        for row in rows:
            images = [self._thumbnail(sample.file, side) for sample in row[:in_row]]
            first = shown[row[0].source or ""]()
            pictures.append(resize(first, *images[0].shape[:2]))
            pictures += images + [np.full_like(images[0], 255)] * (in_row - len(images))
        return contact_sheet(pictures, in_row + 1)

    def _thumbnail(self, file: str, side: int) -> Picture:
        image = read_image(self.folder / file, max_megapixels=math.inf)  # ours, whatever its size
        scale = min(1.0, side / max(image.shape[:2]))
        return resize(image, *(max(1, round(length * scale)) for length in image.shape[:2]))

    def _read(self, *, damaged_is_none: bool) -> _Description | None:
        try:
            return _Description.model_validate_json((self.folder / _DESCRIPTION).read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, OSError) as error:
            if damaged_is_none:
                return None
            raise OutputError(
                f"{str(self.folder / _DESCRIPTION)!r} is damaged or of another program: {error}",
                hint="overwrite with --force, or name another folder with -o",
            ) from None

    def _write(self, *, finished: bool, images: list[Sample]) -> None:
        description = _Description(finished=finished, settings=self.settings, images=images)
        text = description.model_dump_json(indent=1, exclude_none=True)
        write_text(self.folder / _DESCRIPTION, text + "\n")

    def _require_same(self, earlier: _Description) -> None:
        if changes := self._changes(earlier):
            raise OutputError(
                f"{str(self.folder)!r} holds samples of another call: {', '.join(changes)}",
                hint="name another folder with -o, or replace them with --force",
            )

    def _changes(self, earlier: _Description) -> list[str]:
        """Settings on which images depend and that are others now."""
        before, now = _comparable(earlier.settings), _comparable(self.settings)
        return [
            # A fingerprint tells nobody anything.
            "other photos or maps"
            if name == "templates"
            else f"{name} {_short(now.get(name))} not {_short(before.get(name))}"
            for name in before | now
            if before.get(name) != now.get(name)
        ]

    def _discard(self, earlier: _Description | None) -> None:
        names = [sample.file for sample in earlier.images] if earlier else []
        for name in {*names, *self.files, _SHEET, self.preview.name}:
            if Path(name).name == name:  # nothing outside, whatever the file says
                (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.candidates, ignore_errors=True)


def described_samples(folder: Path) -> list[Sample]:
    """The images of a folder that ``vqgan generate`` filled; none if it is another folder.

    Raises:
        DataError: not all of them are there yet, or the description is damaged.
    """
    path = folder / _DESCRIPTION
    try:
        description = _Description.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except (ValidationError, OSError) as error:
        raise DataError(f"{str(path)!r} is damaged or of another program: {error}") from None
    if not description.finished:
        raise DataError(
            f"{str(folder)!r} holds samples that are not finished",
            hint="repeat the vqgan generate that drew them",
        )
    return description.images


def _comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in _FOR_PEOPLE}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def sheet_columns(labels: Sequence[int | None]) -> int:
    """Columns of a contact sheet that is about square. If all classes have as many images, whole classes fill a row.

    Args:
        labels: class of each picture, in the order of the sheet.
    """
    side = math.sqrt(len(labels))
    runs = {len(list(run)) for _, run in itertools.groupby(labels)}
    if len(runs) > 1 or len(labels) in runs:
        return math.ceil(side)
    images = runs.pop()
    return images * max(1, round(side / images))
