"""``vqgan models``: published models, which of them are on this machine, and how to get the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from vqgan_cli.core.artifacts import read_model_info
from vqgan_cli.core.errors import ModelError, OutputError
from vqgan_cli.core.files import locked
from vqgan_cli.core.published.catalog import Entry, entries, find_entry
from vqgan_cli.core.published.checks import disk_errors
from vqgan_cli.core.published.hub import fetch
from vqgan_cli.core.published.names import model_folder
from vqgan_cli.core.reporting import Reporter

__all__ = ["Importer", "PublishedModel", "published_model", "published_models", "pull_model"]


@dataclass(frozen=True)
class PublishedModel:
    """A published model as this machine knows it.

    Attributes:
        entry: of the catalog.
        folder: where it is kept, or will be.
        state: ``absent``; ``pulled``; ``outdated``, made from another file than the catalog names now; or ``damaged``.
    """

    entry: Entry
    folder: Path
    state: Literal["absent", "pulled", "outdated", "damaged"]

    @property
    def files(self) -> tuple[Path, ...]:
        """Where copies downloaded by hand are looked for: of the weights, then of the config if there is one."""
        locations = (self.entry.weights, self.entry.config)
        return tuple(location.remote.place for location in locations if location is not None)

    @property
    def import_command(self) -> str:
        """What makes it of files that were downloaded by hand, under the same name."""
        return self.entry.import_command("FILE", "CONFIG", self.folder)


class Importer(Protocol):
    """What makes a model of a checkpoint: the recipe of ``vqgan import``."""

    def __call__(
        self,
        *,
        source: Path,
        out: Path,
        config: Path | None,
        settings: Sequence[str],
        ae: Path | None,
        name: str,
        provenance: Mapping[str, Any],
    ) -> object:
        """Import ``source`` into the folder ``out``, in place of a model that is there."""


def published_models(word: str = "") -> list[PublishedModel]:
    """All published models with a word in their name, kind, project, training data or description.

    Raises:
        ConfigError: the file that ``$VQGAN_CATALOG`` names has problems.
    """
    found = []
    for entry in entries():
        text = " ".join((entry.name, entry.kind, entry.project, entry.trained_on, entry.about))
        if word.lower() in text.lower():
            found.append(_known(entry))
    return found


def published_model(name: str) -> PublishedModel:
    """The published model of a name.

    Raises:
        UsageError: there is none.
    """
    return _known(find_entry(name))


def pull_model(name: str, importer: Importer, reporter: Reporter, *, force: bool = False) -> Path:
    """Download a published model and import it, so that commands know it by its name.

    The tokenizer that a transformer needs comes first. Where one of these steps fails, what was there before stays as
    it was; the next call goes on from what has been downloaded.

    Args:
        name: of the catalog.
        importer: the recipe that makes the model.
        reporter: who listens.
        force: make it anew even if it is there.

    Returns:
        Its folder.

    Raises:
        UsageError: no published model has this name.
        WeightsError: it cannot be downloaded, or is not the file that was expected.
        VqganError: it cannot be imported or written.
    """
    entry = find_entry(name)
    tokenizer = pull_model(entry.needs, importer, reporter) if entry.needs else None
    folder = model_folder(name)
    lock = folder.with_name(f".{name}.lock")
    with disk_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    told: list[str] = []

    def waiting() -> None:
        if not told:
            told.append(f"another process is pulling {name}: waiting for it")
            reporter.info(told[0])

    with locked(lock, waiting):
        known = _known(entry)
        if known.state == "pulled" and not force:
            reporter.info(f"{name} is on this machine already")
            return folder
        if known.state in ("outdated", "damaged"):
            reporter.info(f"{name} on this machine is {known.state}: pulling it anew")
        otherwise = f"import a copy of it: {known.import_command}"
        # The config is small, so an address that is gone or a missing connection shows before anything large comes.
        config = fetch(entry.config.remote, reporter, otherwise=otherwise) if entry.config else None
        weights = fetch(entry.weights.remote, reporter, otherwise=otherwise)
        with _hint_of_the_cache(folder):
            importer(
                source=weights,
                out=folder,
                config=config,
                settings=entry.settings,
                ae=tokenizer,
                name=name,
                provenance=_provenance(entry),
            )
        reporter.info(f"the download stays at {weights}; the model does not need it")
    return folder


def _known(entry: Entry) -> PublishedModel:
    folder = model_folder(entry.name)
    if not folder.exists():
        return PublishedModel(entry, folder, "absent")
    try:
        imported = read_model_info(folder).provenance.get("imported") or {}
    except ModelError:
        return PublishedModel(entry, folder, "damaged")
    expected = _provenance(entry)
    # One that was imported by hand knows no source.
    same = imported.get("source", expected["source"]) == expected["source"]
    if entry.weights.sha256 and not entry.weights.member:
        same = same and imported.get("sha256") == entry.weights.sha256
    return PublishedModel(entry, folder, "pulled" if same else "outdated")


def _provenance(entry: Entry) -> dict[str, str]:
    facts = {"published_as": entry.name, "source": str(entry.weights.remote), "licence": entry.licence}
    return {key: value for key, value in facts.items() if value}


@contextmanager
def _hint_of_the_cache(folder: Path) -> Iterator[None]:
    """A folder that cannot be written or replaced is one of the cache here, which no option of the command names."""
    try:
        yield
    except OutputError as error:
        raise OutputError(
            error.message, hint=f"move {str(folder)!r} away, or set VQGAN_CACHE to a folder on another disk"
        ) from error
