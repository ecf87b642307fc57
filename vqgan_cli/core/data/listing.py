"""Which image files a folder, a list or a glob pattern stands for, in an order that never depends on the disk."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vqgan_cli.core.data.images import IMAGE_SUFFIXES
from vqgan_cli.core.errors import DataError, did_you_mean

__all__ = ["Listing", "below_common_folder", "find_images", "natural_order", "user_path"]

_GLOB = re.compile(r"[*?[]")
_DIGITS = re.compile(r"(\d{1,1000})")  # Python refuses to make a number of more than 4,300


class Listing(NamedTuple):
    """Image files below a folder.

    Attributes:
        root: the folder.
        keys: paths below it, with forward slashes.
        by_class: the files came from a folder in which every image lies in a subfolder.
    """

    root: Path
    keys: list[str]
    by_class: bool


def find_images(spec: str, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> Listing:
    """Find the files that ``spec`` names; see `vqgan_cli.core.data.opening.open_source` for its forms.

    Args:
        spec: folder, file, list or glob.
        suffixes: of files that count, in lower case.

    Raises:
        DataError: nothing is there, or nothing that counts.
    """
    path = user_path(spec)
    if path.is_dir():
        keys = sorted(_walk(path, suffixes), key=_natural_path)
        if not keys:
            raise DataError(f"no images in folder {spec!r}", hint=_hint(suffixes))
        return Listing(path, keys, by_class=all("/" in key for key in keys))
    if path.is_file():
        files = [path] if path.suffix.lower() in suffixes else _read_list(path, suffixes)
        return below_common_folder(files)
    if _GLOB.search(spec):
        listing = below_common_folder(_match(path, spec, suffixes))
        return listing._replace(keys=sorted(listing.keys, key=_natural_path))
    raise _missing(path, spec)


def user_path(spec: str) -> Path:
    """A path as somebody typed it, ``~`` included."""
    return Path(os.path.expanduser(spec))  # noqa: PTH111 - Path.expanduser raises for an unknown user


def _hint(suffixes: Sequence[str]) -> str:
    return "files that count: " + ", ".join(suffix.removeprefix(".") for suffix in suffixes)


def natural_order(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sort key that puts ``img2`` before ``img10``; different names never tie."""
    # Splitting at a group alternates text and digits, so equal positions always compare equal types.
    parts = _DIGITS.split(name)
    return tuple(int(part) if number % 2 else part for number, part in enumerate(parts)), name


def _natural_path(key: str) -> list[tuple[tuple[str | int, ...], str]]:
    return [natural_order(part) for part in key.split("/")]


def _walk(root: Path, suffixes: Sequence[str]) -> Iterator[str]:
    """Keys of all images below a folder. Each real folder is read once, real folders before links to folders."""
    top = os.path.realpath(root)
    seen = {top}
    folders = [""]
    links: deque[str] = deque()
    while folders or links:
        if not folders:
            link = links.popleft()
            target = os.path.realpath(root / link)
            # A link that leads to a parent would pull in all that lies around the folder.
            if target in seen or Path(top).is_relative_to(target):
                continue
            seen.add(target)
            folders.append(link)
        folder = folders.pop()
        prefix = f"{folder}/" if folder else ""
        for entry in _entries(root / folder):
            key = prefix + entry.name
            if entry.is_symlink() and Path(entry.path).is_dir():
                links.append(key)
            elif entry.is_dir(follow_symlinks=False):
                seen.add(os.path.realpath(entry.path))
                folders.append(key)
            elif _counts(entry.name, suffixes) and (
                entry.is_file(follow_symlinks=False) or entry.is_symlink()
            ):
                # Broken links stay: reading them fails, and so they are named and counted like other bad files.
                yield key


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not _is_hidden(entry.name)]
    except OSError as error:
        raise DataError(f"cannot read folder {str(folder)!r}: {error.strerror}") from error
    return sorted(visible, key=lambda entry: natural_order(entry.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _counts(name: str, suffixes: Sequence[str]) -> bool:
    return os.path.splitext(name)[1].lower() in suffixes  # noqa: PTH122 - a Path per file doubles the time


def _read_list(path: Path, suffixes: Sequence[str]) -> list[Path]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{str(path)!r} is neither an image nor a text file of paths", hint=_hint(suffixes)
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
    lines = [line.strip() for line in text.split("\n")]
    names = [os.path.expanduser(line) for line in lines if line and not line.startswith("#")]  # noqa: PTH111
    if not names:
        raise DataError(f"{str(path)!r} lists no paths", hint="one path of an image per line")
    files = [path.parent / name for name in names]
    # One that is missing is a bad file like others. If all are, the list belongs to another place.
    if not any(os.path.exists(file) for file in files):  # noqa: PTH110 - Path.exists raises for a name too long
        raise DataError(
            f"none of the {len(files)} files listed in {str(path)!r} exists; the first is {str(files[0])!r}",
            hint="paths are relative to the folder of the list",
        )
    return files


def _match(pattern: Path, spec: str, suffixes: Sequence[str]) -> list[Path]:
    parts = pattern.parts
    first = next(number for number, part in enumerate(parts) if _GLOB.search(part))
    rest = list(parts[first:])
    if rest[-1] == "**":
        rest.append("*")  # Python 3.13 matches files with a final `**`, earlier versions only folders
    folder = Path(*parts[:first])
    hidden_wanted = any(part.startswith(".") for part in rest)
    files = [
        file
        for file in folder.glob("/".join(rest))
        if _counts(file.name, suffixes)
        and not file.is_dir()
        and (hidden_wanted or not any(_is_hidden(part) for part in file.relative_to(folder).parts))
    ]
    if not files:
        if not folder.is_dir():
            raise _missing(folder, spec)
        raise DataError(f"no image matches {spec!r}", hint=_hint(suffixes))
    return files


def below_common_folder(files: Sequence[Path]) -> Listing:
    """Files in a given order, as keys below the deepest folder that holds them all."""
    # Without symbolic links resolved: the user's names are the ones to keep.
    absolute = [os.path.abspath(file) for file in files]  # noqa: PTH100 - Path.absolute keeps `..`
    root = os.path.commonpath([os.path.dirname(name) for name in absolute])  # noqa: PTH120
    keys = [Path(name).relative_to(root).as_posix() for name in absolute]
    return Listing(Path(root), keys, by_class=False)


def _missing(path: Path, spec: str) -> DataError:
    """Names the first part of a path that does not exist, and what is there in its place."""
    missing = path
    while not missing.parent.exists() and missing.parent != missing:
        missing = missing.parent
    try:
        neighbours = [entry.name for entry in missing.parent.iterdir()]
    except OSError:
        neighbours = []
    where = "" if missing == path else f": there is no {str(missing)!r}"
    return DataError(
        f"no such file or folder: {spec!r}{where}{did_you_mean(missing.name, neighbours)}",
        hint="give a folder, a quoted pattern, a text file of paths, or synthetic:faces",
    )
