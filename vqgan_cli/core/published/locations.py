"""Where a published file lies, and where it is put on this machine."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from vqgan_cli.core.cache import cache_root
from vqgan_cli.core.errors import UsageError

__all__ = ["HubFile", "RemoteFile", "UrlFile", "hub_endpoint", "parse_hub_url", "parse_remote"]

_HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_FORM = "hf://owner/repository/file[@revision], such as hf://FoundationVision/LlamaGen/vq_ds16_c2i.pt"
_PART = re.compile(r"[\w.-]+")
_NAME_BYTES = (
    200  # of 255 that file systems take; something is added to the name of a download that is not finished
)


def hub_endpoint() -> str:
    """Address of the hub: ``$HF_ENDPOINT``, else the public one; without a slash at the end."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


@dataclass(frozen=True)
class HubFile:
    """A file of a model repository on the Hugging Face hub, or a folder that holds a diffusers model.

    Attributes:
        repo: ``owner/repository``.
        file: path in it.
        revision: branch, tag or commit.
        sha256: of the content, 64 hex digits, where it is known beforehand; else empty.
        bytes: size of the file, where it is known.
    """

    repo: str
    file: str
    revision: str = "main"
    sha256: str = ""
    bytes: int | None = None

    def __str__(self) -> str:
        """As ``vqgan import`` takes it."""
        return f"hf://{self.repo}/{self.file}" + ("" if self.revision == "main" else f"@{self.revision}")

    @property
    def name(self) -> str:
        """Of the file."""
        return Path(self.file).name

    @property
    def url(self) -> str:
        """Where a browser downloads it."""
        return f"{hub_endpoint()}/{self.repo}/resolve/{quote(self.revision, safe='')}/{quote(self.file)}"

    @property
    def page(self) -> str:
        """Where a person finds it."""
        return f"{hub_endpoint()}/{self.repo}"

    @property
    def is_folder(self) -> bool:
        """Whether this names a folder: its last part has no extension, which weights and configs have."""
        return not Path(self.file).suffix

    @property
    def place(self) -> Path:
        """Where a copy that was downloaded by hand is looked for."""
        return cache_root() / "downloads" / self.repo / self.file

    def beside(self, name: str) -> HubFile:
        """Another file in the folder that this one names."""
        return HubFile(self.repo, f"{self.file}/{name}", self.revision)


@dataclass(frozen=True)
class UrlFile:
    """A file with an address of its own.

    Attributes:
        url: http or https.
        file_name: its name here, where the address does not say it; empty: the last part of the address.
        member: of a zip archive at the address, the file that is meant; empty: the file at the address itself.
        referer: page that the server wants to have been visited first; empty: none.
        sha256: of what lies at the address, 64 hex digits, where it is known beforehand; else empty.
        bytes: size of that, where it is known.
    """

    url: str
    file_name: str = ""
    member: str = ""
    referer: str = ""
    sha256: str = ""
    bytes: int | None = None

    def __str__(self) -> str:
        """As ``vqgan import`` takes it; a member of an archive is not part of it."""
        return self.url

    @property
    def name(self) -> str:
        """Of the file that is downloaded: the given one, else what looks like one in the path or the query."""
        parts = urlsplit(self.url)
        found = [unquote(parts.path), *(value for _, value in parse_qsl(parts.query))]
        names = [text.rstrip("/").rpartition("/")[2] for text in found]
        name = self.file_name or next((name for name in names if Path(name).suffix), names[0])
        return _part_of_path(name) or "download"

    @property
    def page(self) -> str:
        """Where a person finds it."""
        return self.referer or self.url

    @property
    def place(self) -> Path:
        """Where the download lies; a copy that was downloaded by hand is looked for there as well."""
        # Servers name many files alike (last.ckpt), and a query can be all that tells them apart.
        mark = hashlib.sha256(self.url.encode()).hexdigest()[:8]
        return (
            cache_root() / "downloads" / _part_of_path(urlsplit(self.url).hostname or "") / mark / self.name
        )


RemoteFile = HubFile | UrlFile


def _part_of_path(name: str) -> str:
    """A name as one folder or file of a path; empty if it would lead to another one."""
    name = name.replace("\0", "")
    return "" if name in (".", "..") else _utf8(name)[-_NAME_BYTES:].decode(errors="ignore")


def _utf8(name: str) -> bytes:
    return name.encode(errors="ignore")


def parse_hub_url(text: str) -> HubFile:
    """``hf://owner/repository/file[@revision]``; the revision may also follow the repository, as on the hub's pages.

    Raises:
        UsageError: of another form.
    """
    body = text.removeprefix("hf://").removeprefix("models/")
    owner, _, rest = body.partition("/")
    repository, _, file = rest.partition("/")
    repository, at, revision = repository.partition("@")
    if not at and "@" in file:
        file, at, revision = file.rpartition("@")
    parts = [owner, repository, *file.split("/")]
    wrong = not text.startswith("hf://") or not all(map(_PART.fullmatch, parts[:2])) or not all(parts)
    wrong = wrong or ".." in parts or "\0" in text or max(len(_utf8(part)) for part in parts) > _NAME_BYTES
    if wrong or bool(at) != bool(revision):
        raise UsageError(f"{text!r} names no file on the hub", hint=f"its form is {_FORM}")
    return HubFile(f"{owner}/{repository}", file, revision or "main")


def parse_remote(text: str) -> RemoteFile | None:
    """A file on the hub (``hf://``, or the address of its page) or at another http(s) address; None for a path.

    Raises:
        UsageError: ``hf://`` of a wrong form, or an address that is none.
    """
    if text.startswith("hf://"):
        return parse_hub_url(text)
    try:
        parts = urlsplit(text)
    except ValueError as error:
        if text.startswith(("http:", "https:")):
            raise UsageError(f"{text!r} is no address: {error}") from None
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return None
    hosts = (*_HUB_HOSTS, urlsplit(hub_endpoint()).netloc)
    page = re.fullmatch(r"/([\w.-]+/[\w.-]+)/(?:resolve|blob|raw)/([^/]+)/(.+)", parts.path)
    if parts.netloc in hosts and page:
        repo, revision, file = (unquote(group) for group in page.groups())
        return parse_hub_url(f"hf://{repo}/{file}@{revision}")
    return UrlFile(text)
