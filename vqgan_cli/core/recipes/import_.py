"""``vqgan import``: another project's checkpoint becomes a model of ours."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqgan_cli import __version__
from vqgan_cli.core.artifacts import MODEL_FILE
from vqgan_cli.core.cards.writing import CARD_FILE, is_users_own, write_card
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import OutputError
from vqgan_cli.core.files import require_writable_folder, reserved, staged_folder
from vqgan_cli.core.interop import LAYOUTS
from vqgan_cli.core.interop.checking import (
    TokenizerCheck,
    TransformerCheck,
    check_tokenizer,
    check_transformer,
)
from vqgan_cli.core.interop.composing import Composed, compose
from vqgan_cli.core.interop.foreign import Dropped, Ledger
from vqgan_cli.core.interop.layouts import recognise
from vqgan_cli.core.interop.reading import read_foreign
from vqgan_cli.core.presets import read_overrides
from vqgan_cli.core.published.progress import bytes_progress
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.run_folder import CONDITION_FILE, TOKENIZER_FILE

__all__ = ["REPORT_FILE", "ImportOptions", "ImportResult", "import_model"]

REPORT_FILE = "import.json"
"""What became of every tensor."""


@dataclass(frozen=True)
class ImportOptions:
    """What to import, and what its files do not say.

    Attributes:
        source: a checkpoint, or the folder of a diffusers model.
        out: folder of the model.
        config: its yaml or json config; None: one of the same name beside it, if there is one.
        settings: ``section.key=value`` each; they win over what is read.
        ae: tokenizer of a transformer whose file holds none.
        name: of the experiment; None: that of the folder.
        provenance: more facts to keep in the model, such as where it was downloaded.
        force: replace a model that is there.
    """

    source: Path
    out: Path
    config: Path | None = None
    settings: Sequence[str] = ()
    ae: Path | None = None
    name: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False


@dataclass(frozen=True)
class ImportResult:
    """What was made.

    Attributes:
        path: the model file.
        files: all model files, that one first.
        layout: project and class that the checkpoint was recognised as.
        sha256: of the checkpoint.
        used: tensors that the model needed.
        dropped: the others, with reasons.
        parameters: trained values of each stage.
        notes: what else to know.
        config: of the model.
        tokenizer: what the self-check found, of the tokenizer of images.
        transformer: the same of the transformer; None without one.
    """

    path: Path
    files: tuple[Path, ...]
    layout: str
    sha256: str
    used: int
    dropped: tuple[Dropped, ...]
    parameters: dict[str, int]
    notes: tuple[str, ...]
    config: ExperimentConfig
    tokenizer: TokenizerCheck
    transformer: TransformerCheck | None


def import_model(options: ImportOptions, reporter: Reporter) -> ImportResult:
    """Read, recognise, convert, write and check; nothing is left behind where one of these fails.

    The folder gets the model, its tokenizers each as a model of its own where it is a transformer, and a report.

    Raises:
        VqganError: see `vqgan_cli.core.errors`.
    """
    require_writable_folder(options.out.parent)
    with reserved(options.out, is_folder=False):
        _require_free(options)
        return _import(options, reporter)


def _require_free(options: ImportOptions) -> None:
    """Raise OutputError unless the folder is new, or an earlier import that may be replaced."""
    if options.out.exists() and not options.force:
        raise OutputError(
            f"{str(options.out)!r} exists", hint="overwrite with --force, or name another folder with -o"
        )
    if options.out.is_dir() and not (options.out / REPORT_FILE).is_file() and any(options.out.iterdir()):
        raise OutputError(
            f"{str(options.out)!r} holds something else than an imported model, which --force would delete",
            hint="name another folder with -o",
        )


def _import(options: ImportOptions, reporter: Reporter) -> ImportResult:
    name = (
        options.name
        or re.sub(r"[^A-Za-z0-9._-]+", "-", options.out.resolve().name).lstrip("-._")
        or "imported"
    )
    settings = read_overrides(options.settings)
    foreign = read_foreign(options.source, options.config, settings)
    if foreign.config_path is not None and options.config is None:
        reporter.info(f"with the config beside it, {foreign.config_path}")
    layout = recognise(foreign, LAYOUTS)
    reporter.info(f"recognised: {layout.name}, {len(foreign.tensors)} tensors")
    assert layout.convert is not None  # `recognise` raises where there is a refusal
    ledger = Ledger(foreign.tensors)
    imported = layout.convert(foreign, ledger)
    ledger.settle()
    composed = compose(imported, name, settings, options.ae)
    provenance: dict[str, Any] = {
        "version": __version__,
        "imported": {
            "layout": layout.name,
            "file": foreign.path.name,
            "sha256": _sha256(foreign.files, reporter),
            "config": foreign.config_path.name if foreign.config_path else None,
            **{key: foreign.values[key] for key in ("epoch", "global_step") if key in foreign.values},
            **options.provenance,
        },
    }
    with staged_folder(options.out) as folder:
        files = _write(composed, folder, provenance)
        reporter.info("checking the model with a built-in picture")
        checked = check_tokenizer(folder / (TOKENIZER_FILE if TOKENIZER_FILE in files else MODEL_FILE))
        predicted = check_transformer(folder / MODEL_FILE) if TOKENIZER_FILE in files else None
        result = ImportResult(
            path=options.out / MODEL_FILE,
            files=tuple(options.out / file for file in files),
            layout=layout.name,
            sha256=provenance["imported"]["sha256"],
            used=len(ledger.used),
            dropped=tuple(ledger.dropped),
            parameters=composed.parameters,
            notes=(*foreign.notes, *composed.notes),
            config=composed.config,
            tokenizer=checked,
            transformer=predicted,
        )
        report = {
            **provenance,
            "used": {name: list(foreign.tensors[name].shape) for name in ledger.used},
            "dropped": {each.reason: each.names for each in ledger.dropped},
            "notes": result.notes,
        }
        _add_card(folder, options.out, reporter)
        (folder / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    reporter.facts("imported", _rows(result))
    return result


def _write(composed: Composed, folder: Path, provenance: Mapping[str, Any]) -> list[str]:
    """The names of the model files, the one that commands take first."""
    if not composed.save_transformer(folder / MODEL_FILE, provenance):
        composed.save_tokenizer(folder / MODEL_FILE, provenance)
        return [MODEL_FILE]
    composed.save_tokenizer(folder / TOKENIZER_FILE, provenance)
    files = [MODEL_FILE, TOKENIZER_FILE]
    if composed.save_condition(folder / CONDITION_FILE, provenance):
        files.append(CONDITION_FILE)
    return files


def _add_card(folder: Path, replaces: Path, reporter: Reporter) -> None:
    """The model's card; that of the model which is replaced, where somebody has worked on it."""
    if is_users_own(replaces / CARD_FILE):
        try:
            shutil.copyfile(replaces / CARD_FILE, folder / CARD_FILE)
            reporter.info(f"kept {CARD_FILE}, which is not as it was generated")
        except OSError as error:
            reporter.warning(f"{CARD_FILE} is left behind: {error.strerror}")
    elif problem := write_card(folder / MODEL_FILE):
        reporter.warning(problem)


def _sha256(files: Sequence[Path], reporter: Reporter) -> str:
    """Over the bytes of all files, one after the other; 64 hex digits."""
    digest, done = hashlib.sha256(), 0
    total = sum(path.stat().st_size for path in files)
    with bytes_progress(reporter, "hashing", total) as advance:
        for path in files:
            with path.open("rb") as file:
                while block := file.read(1 << 22):
                    digest.update(block)
                    done += len(block)
                    advance(done)
    return digest.hexdigest()


def _rows(result: ImportResult) -> list[tuple[str, str]]:
    """The report for people."""
    tokenizer, prior, check = result.config.tokenizer, result.config.transformer, result.tokenizer
    side, f = result.config.data.size, tokenizer.downsampling
    total = result.used + sum(len(each.names) for each in result.dropped)
    parts = ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in result.parameters.items())
    rows = [
        ("layout", result.layout),
        ("sha256", result.sha256),
        ("tensors", f"{result.used} of {total} used"),
        *(("dropped", f"{len(each.names)}: {each.reason}") for each in result.dropped),
        ("parameters", parts),
        (
            "tokenizer",
            f"{side}x{side} pixels to {side // f}x{side // f} codes of {tokenizer.codebook_size} (f = {f}, vectors of "
            f"{tokenizer.codebook_dim}), {tokenizer.channels} channels x {list(tokenizer.channel_multipliers)}, "
            f"{tokenizer.in_channels} in, {tokenizer.out_channels} out",
        ),
    ]
    if result.transformer is not None:
        rows.append(
            (
                "transformer",
                f"{prior.kind}, {prior.layers} layers, {prior.heads} heads, width {prior.width}, {prior.order} order, "
                f"condition {result.config.condition.kind}",
            )
        )
    if check.accuracy is not None:
        quality = f"{check.accuracy:.1%} of the pixels of a built-in label map came back"
    else:
        quality = f"a built-in picture came back at {check.psnr:.1f} dB"
    rows.append(("check", f"{quality}, {check.distinct} different codes in {check.cells} cells"))
    if result.transformer is not None:
        found = result.transformer
        rows.append(
            ("check", f"its codes cost {found.nll:.2f} nats each, a uniform guess {found.uniform:.2f}")
        )
    return rows + [("note", note) for note in result.notes]
