"""Files of the Hugging Face hub, and of any other address: from where they lie already, else downloaded.

The hub's own library does the work: its cache (``HF_HOME``), tokens (``HF_TOKEN``), mirrors (``HF_ENDPOINT``) and
offline mode (``HF_HUB_OFFLINE``) are those that people know from elsewhere. It resumes a broken transfer as long as the
process lives. What is added here: a file placed by hand is found, every content is checked against its hash, and
whatever goes wrong is one message.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vqgan_cli.core.errors import WeightsError
from vqgan_cli.core.published.checks import check_content, disk_problem, failed
from vqgan_cli.core.published.downloads import download
from vqgan_cli.core.published.locations import HubFile, RemoteFile, hub_endpoint, parse_hub_url, parse_remote
from vqgan_cli.core.published.progress import bytes_progress
from vqgan_cli.core.reporting import Reporter

__all__ = ["fetch", "parse_hub_url", "parse_remote"]

_OUT_OF_REACH = (None, 429, 500, 502, 503, 504)
"""Answers, or none, after which a copy in the hub's cache is as good as there is."""

_DIFFUSERS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


def fetch(file: RemoteFile, reporter: Reporter, *, otherwise: str = "") -> Path:
    """A published file on this machine.

    Args:
        file: where it is published.
        reporter: who listens.
        otherwise: what to do if it cannot be had, for the hint; empty: import a copy of it.

    Returns:
        Its path; of a diffusers model on the hub, that of the folder.

    Raises:
        WeightsError: it cannot be had, or is not the one that was expected.
        OutputError: the cache cannot be written.
    """
    otherwise = otherwise or "import a copy of it: vqgan import FILE"
    if not isinstance(file, HubFile):
        return download(file, reporter, otherwise=otherwise)
    if not file.is_folder:
        return _from_hub(file, reporter, otherwise)
    config = _from_hub(file.beside("config.json"), reporter, otherwise)
    try:
        _from_hub(file.beside(_DIFFUSERS[0]), reporter, otherwise)
    except _AbsentError:
        _from_hub(file.beside(_DIFFUSERS[1]), reporter, otherwise)
    return config.parent


class _AbsentError(WeightsError):
    """The repository has no such file."""


def _from_hub(file: HubFile, reporter: Reporter, otherwise: str) -> Path:
    if file.place.is_file():
        check_content(file, file.place, reporter, hint="delete it, or replace it by a good copy")
        reporter.info(f"found {file.place}")
        return file.place
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url

    endpoint = hub_endpoint()
    url = hf_hub_url(file.repo, file.file, revision=file.revision, endpoint=endpoint)
    with _library_messages(reporter), ExitStack() as stack:
        try:
            # First without the retries of a download, so that who has no connection learns it at once.
            found = get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT, endpoint=endpoint)
        except _library_errors() as error:
            cached = _cached(file) if _status(error) in _OUT_OF_REACH else None
            if cached is None:
                raise _explained(file, error, otherwise) from error
            reporter.warning(f"the hub is out of reach ({_reason(error)}): taking {file.name} from its cache")
            # The cache keeps a content under the hub's name for it and links to there.
            return _checked(file, cached, cached.resolve().name, reporter)
        try:
            path = hf_hub_download(
                file.repo,
                file.file,
                revision=file.revision,
                endpoint=endpoint,
                tqdm_class=_bar(stack, reporter, f"downloading {file.name}", found.size),
            )
        except _library_errors() as error:
            problem = disk_problem(error, Path(constants.HF_HUB_CACHE), "HF_HOME")
            raise problem or _explained(file, error, otherwise) from error
    return _checked(file, Path(path), found.etag or "", reporter)


def _library_errors() -> tuple[type[Exception], ...]:
    """What the hub's library raises: errors of its HTTP client too, which differs between its versions."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, ValueError, *HfHubHTTPError.__bases__)


def _checked(file: HubFile, path: Path, etag: str, reporter: Reporter) -> Path:
    """A file of the hub's cache after a look at its content; a damaged one is removed.

    The hub calls large files by their SHA-256 and small ones by their git hash.
    """
    published = etag if re.fullmatch(r"[0-9a-f]{64}", etag) else ""
    git = etag if re.fullmatch(r"[0-9a-f]{40}", etag) else ""
    as_served = HubFile(file.repo, file.file, file.revision)
    try:
        check_content(
            as_served,
            path,
            reporter,
            hint="it was damaged on its way and is deleted: repeat the command",
            published=published,
            git=git,
        )
    except WeightsError:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise
    if file.sha256 not in ("", published) or file.bytes not in (None, path.stat().st_size):
        check_content(
            file,
            path,
            reporter,
            hint=f"its publisher has replaced it; if you trust what is there now: vqgan import {as_served}",
        )
    return path


def _cached(file: HubFile) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(file.repo, file.file, revision=file.revision)
    return Path(path) if isinstance(path, str) else None


def _bar(stack: ExitStack, reporter: Reporter, description: str, size: int | None) -> type[Any]:
    """A progress bar as the library wants it, which shows nothing itself and tells the reporter."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **(kwargs | {"disable": True}))
            self._done = int(kwargs.get("initial") or 0)
            self._advance = stack.enter_context(bytes_progress(reporter, description, size, self._done))

        def update(self, n: float | None = 1) -> None:
            self._done += int(n or 0)
            self._advance(self._done)

        def update_transfer(self, n: float) -> None:
            """Bytes that came over the network, of which a compressed transfer needs fewer: not shown."""

    return Bar


@contextmanager
def _library_messages(reporter: Reporter) -> Iterator[None]:
    """What the library logs, such as a resumed transfer, becomes a warning of ours for the time being."""

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # Addresses of large files carry a signature of a thousand letters.
            reporter.warning(re.sub(r"\?\S+", "", record.getMessage()).replace("\n", " "))

    logger = logging.getLogger("huggingface_hub")
    before, logger.handlers = logger.handlers, [Forward()]
    try:
        yield
    finally:
        logger.handlers = before


def _status(error: Exception) -> int | None:
    """The answer's status; None if there was no answer."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _explained(file: HubFile, error: Exception, otherwise: str) -> WeightsError:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status = _status(error)
    token = f"ask for access on {file.page} and set HF_TOKEN to a token of yours"
    if isinstance(error, RevisionNotFoundError):
        return failed(file, f"{file.repo} has no revision {file.revision!r}", otherwise=otherwise)
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        problem = failed(file, f"{file.repo} has no file {file.file!r}", otherwise=otherwise)
        return _AbsentError(problem.message, hint=f"see {file.page}; {problem.hint}")
    if isinstance(error, GatedRepoError) or status == 403:
        return failed(file, f"{file.repo} gives access to some only", first=token, otherwise=otherwise)
    if status == 401 or isinstance(error, RepositoryNotFoundError):
        reason = f"there is no repository {file.repo}, or it wants a login"
        return failed(file, reason, first=f"if it exists, {token}", otherwise=otherwise)
    if status == 404:
        return failed(file, f"{file.repo} has no file {file.file!r}", otherwise=otherwise)
    return failed(file, _reason(error), otherwise=otherwise)


def _reason(error: Exception) -> str:
    """A few words."""
    status, name = _status(error), type(error).__name__
    if status is not None:
        return f"the hub answers with status {status}"
    if name == "OfflineModeIsEnabled":
        return "offline mode is on (HF_HUB_OFFLINE)"
    if "Timeout" in name:
        return "no answer in time"
    if "Connect" in name:
        return f"no connection ({error})"
    return str(error).partition("\n")[0] or name
