"""Classes of images from a file, in place of folders."""

from __future__ import annotations

import csv
import json
from pathlib import Path, PurePosixPath

from vqgan_cli.core.data.listing import natural_order
from vqgan_cli.core.data.sources import ImageSource
from vqgan_cli.core.errors import DataError

__all__ = ["labels_of", "read_labels"]


def read_labels(path: Path) -> dict[str, str]:
    """Class name by image name.

    Args:
        path: ``.json``, an object ``{"a.jpg": "cat"}``; or ``.csv``, two columns, name and class, of which the first
            line may be a heading.

    Raises:
        DataError: the file cannot be read, or is neither.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"labels file {str(path)!r} cannot be read: {error}") from None
    if path.suffix.lower() == ".json":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"labels file {str(path)!r} is not JSON: {error}") from None
        if not isinstance(found, dict) or not all(isinstance(v, str | int) for v in found.values()):
            raise DataError(
                f'labels file {str(path)!r} is no object of names and classes: {{"a.jpg": "cat"}}'
            )
        return {str(name): str(label) for name, label in found.items()}
    try:
        rows = [row for row in csv.reader(text.splitlines()) if row]
    except csv.Error as error:
        raise DataError(f"labels file {str(path)!r} is not CSV: {error}") from None
    wrong = next((number for number, row in enumerate(rows, 1) if len(row) != 2), None)
    if wrong is not None or not rows:
        raise DataError(
            f"labels file {str(path)!r}, line {wrong or 1}: expected two columns, image name and class"
        )
    if [cell.strip().lower() for cell in rows[0]] in (
        ["name", "class"],
        ["name", "label"],
        ["file", "label"],
    ):
        rows = rows[1:]
    return {name.strip(): label.strip() for name, label in rows}


def labels_of(source: ImageSource, named: dict[str, str]) -> tuple[tuple[str, ...], list[int]]:
    """Names of the classes, in natural order, and the label of each image of a source.

    A name in the file may be the image's path in the source, its file name, or that without the suffix.

    Raises:
        DataError: images without a class, the first of them named.
    """
    classes = tuple(sorted(set(named.values()), key=natural_order))
    number = {name: label for label, name in enumerate(classes)}
    labels, missing = [], []
    for index in range(len(source)):
        key = PurePosixPath(source.key(index))
        found = next((named[name] for name in (str(key), key.name, key.stem) if name in named), None)
        if found is None:
            missing.append(str(key))
        labels.append(-1 if found is None else number[found])
    if missing:
        raise DataError(
            f"{len(missing)} of {len(source)} images have no class in the labels file, the first {missing[0]!r}",
            hint="names are paths below the folder, file names, or file names without suffix",
        )
    return classes, labels
