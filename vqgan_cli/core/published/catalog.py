"""The table of published models."""

from __future__ import annotations

import os
import shlex
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from vqgan_cli.core.config.fields import Positive, Section
from vqgan_cli.core.errors import ConfigError, UsageError, did_you_mean
from vqgan_cli.core.plain_yaml import read_yaml
from vqgan_cli.core.published.locations import HubFile, RemoteFile, UrlFile

__all__ = ["Entry", "Location", "Score", "entries", "find_entry"]

_Text = Annotated[str, Field(min_length=1)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Location(Section):
    """A file: of a repository on the hub, or at an address of its own."""

    hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = Field(
        default=None, description="owner/repository."
    )
    file: _Text | None = Field(default=None, description="Path in the repository.")
    revision: _Text = Field(default="main", description="Branch, tag or commit of the repository.")
    url: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = Field(default=None, description="Address.")
    member: str = Field(default="", description="File in the zip archive at the address.")
    referer: str = Field(default="", description="Page that the server wants to have been visited first.")
    bytes: Positive | None = Field(default=None, description="Size of what is downloaded.")
    sha256: _Sha256 | None = Field(default=None, description="Of what is downloaded.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.url is None) == (self.hub is None) or (self.hub is None) != (self.file is None):
            raise ValueError("give either hub and file, or url")
        for path in (self.file or "", self.member):
            if path.startswith("/") or ".." in PurePosixPath(path).parts:
                raise ValueError(f"{path!r} leads out of its repository or archive")
        return self

    @property
    def remote(self) -> RemoteFile:
        """What `hub.fetch` takes."""
        if self.hub is not None and self.file is not None:
            return HubFile(self.hub, self.file, self.revision, self.sha256 or "", self.bytes)
        assert self.url is not None
        return UrlFile(
            self.url, member=self.member, referer=self.referer, sha256=self.sha256 or "", bytes=self.bytes
        )


class Score(Section):
    """How good a model is, as its authors say."""

    metric: Literal["FID", "rFID"] = Field(description="rFID: of reconstructions.")
    value: Annotated[float, Field(ge=0)]
    data: _Text = Field(description="Data, split and size.")
    source: _Text = Field(description="Page or paper that states it.")


class Entry(Section):
    """A published model."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")] = Field(description="As commands take it.")
    kind: Literal["tokenizer", "transformer"]
    project: _Text = Field(description="Who made it.")
    about: _Text = Field(description="What it is, in a few words.")
    condition: str = Field(default="", description="Of a transformer.")
    f: Positive | None = Field(default=None, description="Pixels of image side per code.")
    codebook_size: Positive | None = None
    codebook_dim: Positive | None = None
    image_size: Positive | None = Field(default=None, description="Side of the training images in pixels.")
    trained_on: str = ""
    score: Score | None = None
    licence: str = ""
    size: str = Field(
        default="", description="Of the weights as a page rounds it, where it is not known exactly."
    )
    weights: Location
    config: Location | None = None
    needs: str = Field(
        default="", description="Name of the tokenizer that the transformer's file does not hold."
    )
    settings: tuple[str, ...] = Field(default=(), description="--set of the import.")
    source: _Text = Field(description="Public page where the location was found.")

    @property
    def download_size(self) -> str:
        """In words; empty if it is unknown."""
        count = self.weights.bytes
        if count is None:
            return self.size
        return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"

    def import_command(self, weights: str | Path, config: str | Path, out: Path) -> str:
        """The command that imports files downloaded by hand, for people to type.

        Args:
            weights: the file, or a word for it.
            config: the same of the config; not used for a model without one.
            out: folder of the model.
        """
        words = ["vqgan", "import", str(weights)]
        if self.config is not None:
            words += ["--config", str(config)]
        if self.needs:
            words += ["--ae", self.needs]
        words += [word for setting in self.settings for word in ("--set", setting)]
        return shlex.join([*words, "-o", str(out)])


_ENTRIES = TypeAdapter(tuple[Entry, ...])
_SHIPPED = Path(__file__).with_name("catalog.yaml")


def entries(path: Path | None = None) -> tuple[Entry, ...]:
    """All published models; last those of the file that ``$VQGAN_CATALOG`` names, a list of one's own in the same form.

    Args:
        path: only those of this file.

    Raises:
        ConfigError: every problem of a file.
    """
    own = os.environ.get("VQGAN_CATALOG")
    files = [path] if path is not None else [_SHIPPED, *([Path(own)] if own else [])]
    found = tuple(entry for file in files for entry in _read(file))
    kinds = {entry.name: entry.kind for entry in found}
    names = [entry.name for entry in found]
    problems = [f"two models are called {name!r}" for name in kinds if names.count(name) > 1]
    problems += [
        f"{entry.name}: needs {entry.needs!r}, which is no tokenizer of the catalog"
        for entry in found
        if entry.needs and kinds.get(entry.needs) != "tokenizer"
    ]
    if problems:
        raise ConfigError(problems, where=f"the catalog {str(files[-1])!r}")
    return found


def find_entry(name: str) -> Entry:
    """The published model of a name.

    Raises:
        UsageError: there is none.
    """
    known = {entry.name: entry for entry in entries()}
    if name not in known:
        raise UsageError(
            f"no published model is called {name!r}{did_you_mean(name, known)}",
            hint="`vqgan models list` shows all",
        )
    return known[name]


def _read(path: Path) -> tuple[Entry, ...]:
    try:
        raw = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError([str(error)], where=f"the catalog {str(path)!r}") from None
    try:
        return _ENTRIES.validate_python(raw)
    except ValidationError as error:
        problems = [_problem(raw, each["loc"], each["msg"]) for each in error.errors(include_url=False)]
        raise ConfigError(problems, where=f"the catalog {str(path)!r}") from None


def _problem(raw: Any, loc: tuple[int | str, ...], message: str) -> str:
    """A failure with the name of the model, if it has one, and the dotted key."""
    number, *keys = loc or ("the file",)
    entry = raw[number] if isinstance(raw, list) and isinstance(number, int) else None
    name = entry.get("name") if isinstance(entry, dict) else None
    where = str(name) if name else f"model {number + 1}" if isinstance(number, int) else "the file"
    return f"{': '.join([where, *(['.'.join(map(str, keys))] if keys else [])])}: {message}"
