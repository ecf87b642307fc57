"""``vqgan models``: published models by name: list, show, pull."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import Debug, Json, Quiet

if TYPE_CHECKING:
    from vqgan_cli.core.published.catalog import Entry
    from vqgan_cli.core.recipes.models import PublishedModel

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)


def _complete(incomplete: str) -> list[str]:
    from vqgan_cli.core.published.catalog import entries

    return [entry.name for entry in entries() if entry.name.startswith(incomplete)]


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A name of `vqgan models list`.", autocompletion=_complete)
]


@app.command("list")
def list_models(
    word: Annotated[
        str | None,
        typer.Argument(
            metavar="WORD",
            help="Only models with this in their name, kind, project, data or description.",
            show_default="all",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List published models, and say which of them are on this machine.

    On a terminal a table; elsewhere a line each of name, kind and state (absent, pulled, outdated or damaged), with
    tabs between them. A list of one's own in the same form is added with VQGAN_CATALOG=FILE.yaml.

    Examples:

      vqgan models list

      vqgan models list llamagen --json
    """
    from vqgan_cli.core.recipes.models import published_models

    found = published_models(word or "")
    if as_json:
        console.json_data([_fields(model) for model in found])
    elif sys.stdout.isatty():
        columns = ("name", "kind", "f", "codes", "trained on", "score", "download", "here")
        console.table(columns, [_row(model) for model in found], stdout=True)
    elif found:
        console.data("\n".join("\t".join((m.entry.name, m.entry.kind, m.state)) for m in found))


@app.command()
def show(name: Name, as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Show what is known of a published model, where it is kept, and how to import it by hand.

    Examples:

      vqgan models show taming-imagenet-f16-16384

      vqgan models show llamagen-b-256 --json
    """
    from vqgan_cli.core.recipes.models import published_model

    model = published_model(name)
    if as_json:
        console.json_data(_fields(model))
        return
    rows = [(key, value) for key, value in _facts(model) if value]
    width = max(len(key) for key, _ in rows)
    console.data("\n".join(f"{key:<{width}}  {value}" for key, value in rows))


@app.command()
def pull(
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Make it anew even if it is on this machine already.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download a published model and import it, so that its name works wherever a command takes a model.

    The tokenizer of a transformer comes with it. Every content is checked against its published hash where one is
    known, and a pull that was broken off goes on with the next call. Models are kept in the cache ($VQGAN_CACHE, else
    ~/.cache/vqgan). Files of the Hugging Face hub come through its own cache and settings (HF_HOME, HF_TOKEN,
    HF_ENDPOINT, HF_HUB_OFFLINE). Nothing but this command and `vqgan import` of an address asks for a model.

    Examples:

      vqgan models pull llamagen-vq-ds16

      vqgan models pull taming-imagenet-f16-16384 --force
    """
    from vqgan_cli.cli.display import ConsoleReporter
    from vqgan_cli.core.recipes.models import published_model, pull_model

    reporter = ConsoleReporter()

    def importer(**given: Any) -> None:
        # Not before the download, so that who has no connection need not wait for torch to load.
        from vqgan_cli.core.recipes.import_ import ImportOptions, import_model

        import_model(ImportOptions(**given, force=True), reporter)

    folder = pull_model(name, importer, reporter, force=force)
    option = "--ae" if published_model(name).entry.kind == "tokenizer" else "--model"
    reporter.info(f"use it by its name: {option} {name}")
    console.data(str(folder))


def _row(model: PublishedModel) -> tuple[str, ...]:
    entry = model.entry
    return (
        entry.name,
        entry.kind,
        str(entry.f or ""),
        str(entry.codebook_size or ""),
        entry.trained_on,
        f"{entry.score.metric} {entry.score.value:g}" if entry.score else "",
        entry.download_size,
        "" if model.state == "absent" else model.state,
    )


def _facts(model: PublishedModel) -> list[tuple[str, str]]:
    """Names and values for people; empty values are not known."""
    entry = model.entry
    remote = entry.weights.remote
    member = f", {entry.weights.member} in it" if entry.weights.member else ""
    return [
        ("name", entry.name),
        ("about", f"{entry.kind} of {entry.project}: {entry.about}"),
        ("condition", entry.condition),
        ("codes", _codes(entry)),
        ("image size", f"{entry.image_size}x{entry.image_size} pixels" if entry.image_size else ""),
        ("trained on", entry.trained_on),
        ("score", _score(entry)),
        ("licence", entry.licence),
        ("weights", f"{remote}{member}"),
        ("size", entry.download_size),
        ("sha256", entry.weights.sha256 or ""),
        ("config", str(entry.config.remote) if entry.config else ""),
        ("needs", entry.needs),
        ("settings", " ".join(entry.settings)),
        ("found in", entry.source),
        ("state", model.state),
        ("folder", str(model.folder)),
        ("get it", f"vqgan models pull {entry.name}"),
        (
            "by hand",
            f"download it, with its config if there is one, to {' and '.join(map(str, model.files))}",
        ),
        ("or import", model.import_command),
    ]


def _codes(entry: Entry) -> str:
    parts = [
        f"f = {entry.f}" if entry.f else "",
        f"codebook of {entry.codebook_size}" if entry.codebook_size else "",
        f"vectors of {entry.codebook_dim}" if entry.codebook_dim else "",
    ]
    return ", ".join(filter(None, parts))


def _score(entry: Entry) -> str:
    score = entry.score
    return f"{score.metric} {score.value:g} on {score.data} ({score.source})" if score else ""


def _fields(model: PublishedModel) -> dict[str, Any]:
    return {
        **model.entry.model_dump(mode="json"),
        "state": model.state,
        "folder": str(model.folder),
        "files": [str(path) for path in model.files],
        "import_command": model.import_command,
    }
