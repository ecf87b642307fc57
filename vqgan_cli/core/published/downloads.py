"""A file at any http address: downloaded with resume, checked, and then put in its place in one step."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from vqgan_cli import __version__
from vqgan_cli.core.errors import WeightsError
from vqgan_cli.core.files import locked, staged_file
from vqgan_cli.core.published.checks import check_content, disk_errors, failed
from vqgan_cli.core.published.locations import UrlFile
from vqgan_cli.core.published.progress import bytes_progress
from vqgan_cli.core.reporting import Reporter

__all__ = ["download"]

TIMEOUT = 30.0
"""Seconds without an answer or a byte; a firewall that drops packets would hold a command for minutes."""
TRIES = 3
"""How often a broken transfer goes on where it broke, with less than a MiB in between, before it is given up."""
PAUSE = 1.0
"""Seconds before each of them."""

_BLOCK = 1 << 20


class _RefusedError(Exception):
    """The server cannot be reached, or gives no such file: there is no use in asking again."""


class _BrokenError(Exception):
    """The connection ended before the file did."""


def download(file: UrlFile, reporter: Reporter, *, otherwise: str = "") -> Path:
    """The file of an address: the one that lies in its place, else downloaded to there.

    What an earlier call could not finish is gone on with, provided that the server still has the same file.

    Args:
        file: where it is.
        reporter: who listens.
        otherwise: what to do if it cannot be had, for the hint.

    Returns:
        The file; of an archive, the member that is meant.

    Raises:
        WeightsError: it cannot be had, or is not the one that was expected.
        OutputError: the cache cannot be written.
    """
    place = file.place
    extracted = place.with_name(f"{place.name}.content") / file.member
    if file.member and extracted.is_file():
        return extracted
    with disk_errors(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place.with_name(f".{place.name}.lock"), _waiting(file, reporter)):
            if place.is_file():
                check_content(file, place, reporter, hint="delete it, so that it is downloaded again")
                reporter.info(f"found {place}")
            else:
                _download(file, place, reporter, otherwise)
            if not file.member:
                return place
            _extract(file, place, extracted)
            place.unlink()  # its content is what is needed
    return extracted


def _waiting(file: UrlFile, reporter: Reporter) -> Callable[[], None]:
    told: list[bool] = []

    def waiting() -> None:
        if not told:
            reporter.info(f"another process is downloading {file.name}: waiting for it")
            told.append(True)

    return waiting


def _download(file: UrlFile, place: Path, reporter: Reporter, otherwise: str) -> None:
    partial, mark = (place.with_name(f"{place.name}{end}") for end in (".partial", ".partial.mark"))
    tries = 0
    while True:
        before = _size(partial)
        try:
            _transfer(file, partial, mark, reporter)
            break
        except _RefusedError as error:
            raise failed(file, str(error), otherwise=otherwise) from error
        except _BrokenError as error:
            done = _size(partial)
            tries = 1 if done - before >= _BLOCK else tries + 1
            if tries > TRIES:
                raise failed(
                    file, str(error), first="repeat the command to go on", otherwise=otherwise
                ) from error
            reporter.warning(f"the connection broke after {done >> 20} MiB ({error}): going on there")
            time.sleep(PAUSE)
    try:
        check_content(
            file, partial, reporter, hint="it was deleted: repeat the command; if this comes again, the publisher has "
            f"replaced the file, and what is there now can be imported with `vqgan import {file}`",
        )  # fmt: skip
    except WeightsError:
        partial.unlink()
        raise
    finally:
        mark.unlink(missing_ok=True)
    partial.replace(place)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _transfer(file: UrlFile, partial: Path, mark: Path, reporter: Reporter) -> None:
    """One request: for the whole file, or for what is still missing.

    ``mark`` holds what the server calls the version of the file that ``partial`` is the beginning of.
    """
    version = mark.read_text(encoding="utf-8") if mark.exists() else ""
    # Without a version or a hash, nothing would tell whether the rest belongs to the same file.
    done = _size(partial) if version or file.sha256 else 0
    headers = {"User-Agent": f"vqgan/{__version__}", "Accept-Encoding": "identity"}
    if file.referer:
        headers["Referer"] = file.referer
    if done:
        headers["Range"] = f"bytes={done}-"
        if version:
            headers["If-Range"] = version
    with _open(file, headers) as response:
        if response.status == 416:  # nothing follows: the file is complete, or a shorter one now
            if response.headers.get("Content-Range") != f"bytes */{done}":
                partial.unlink()
                raise _BrokenError("the file has changed meanwhile")
            return
        if response.headers.get_content_type() == "text/html" and Path(file.name).suffix != ".html":
            raise _RefusedError(f"the server answers with a web page; open {file.page} in a browser")
        if response.status != 206:
            done = 0
        elif not (response.headers.get("Content-Range") or "").startswith(f"bytes {done}-"):
            raise _RefusedError("the server sends another part than the one that was asked for")
        length = response.headers.get("Content-Length") or ""
        total = done + int(length) if length.isdecimal() else file.bytes
        if file.bytes is not None and total != file.bytes:
            raise _RefusedError(f"it has {total} bytes there, and {file.bytes} were expected")
        mark.write_text(_version(response), encoding="utf-8")
        with (
            partial.open("ab" if done else "wb") as output,
            bytes_progress(reporter, f"downloading {file.name}", total, done) as advance,
        ):
            done = _copy(response, output, advance, done)
    if total is not None and done < total:
        raise _BrokenError(f"{done} of {total} bytes came")


def _open(file: UrlFile, headers: dict[str, str]) -> Any:
    try:
        return urllib.request.urlopen(urllib.request.Request(file.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error
        error.close()  # it holds the connection
        reasons = {401: "it wants a login", 403: "access is refused", 404: "there is no such file"}
        where = f"; open {file.page} in a browser" if error.code in (401, 403) else ""
        raise _RefusedError(
            f"{reasons.get(error.code, error.reason)} (status {error.code}){where}"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _RefusedError(_reason(error)) from error


def _version(response: Any) -> str:
    etag = response.headers.get("ETag") or ""
    # A weak tag is no promise of equal bytes.
    return "" if etag.startswith("W/") else etag or response.headers.get("Last-Modified") or ""


def _copy(response: Any, output: BinaryIO, advance: Callable[[int], None], done: int) -> int:
    while True:
        try:
            block = response.read1(_BLOCK)
        except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
            raise _BrokenError(_reason(error)) from error
        if not block:
            return done
        output.write(block)
        done += len(block)
        advance(done)


def _reason(error: Exception) -> str:
    """A few words."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:g} seconds"
    if isinstance(error, socket.gaierror):
        return f"no connection ({error.strerror})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return re.sub(r"^<urlopen error (.*)>$", r"\1", str(error)) or type(error).__name__


def _extract(file: UrlFile, archive: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            zipfile.ZipFile(archive) as opened,
            opened.open(file.member) as member,
            staged_file(target) as staging,
            staging.open("wb") as output,
        ):
            while block := member.read(_BLOCK):
                output.write(block)
    except KeyError:
        raise WeightsError(
            f"{str(archive)!r} holds no {file.member!r}, but {', '.join(opened.namelist()[:10]) or 'nothing'}",
            hint="the publisher has packed it anew: unpack it by hand, and import what is in it with `vqgan import`",
        ) from None
    except (zipfile.BadZipFile, EOFError) as error:
        raise WeightsError(
            f"{str(archive)!r} is damaged: {error}", hint="delete it, so that it is downloaded again"
        ) from error
