"""``vqgan export``: a model of ours in another project's format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vqgan_cli.core.artifacts import (
    TRANSFORMER_FORMAT,
    ModelInfo,
    Transformer,
    load_tokenizer,
    load_transformer,
    read_model_info,
)
from vqgan_cli.core.cards.exports import export_card_text
from vqgan_cli.core.cards.writing import CARD_FILE, is_users_own, marked
from vqgan_cli.core.errors import OutputError, UsageError, did_you_mean
from vqgan_cli.core.files import require_writable_folder, reserved, staged_folder
from vqgan_cli.core.interop.writing.diffusers import write_diffusers
from vqgan_cli.core.interop.writing.onnx import DEFAULT_OPSET, write_onnx
from vqgan_cli.core.interop.writing.source import DESCRIPTION_FILE, Source, Written
from vqgan_cli.core.interop.writing.taming import write_taming
from vqgan_cli.core.reporting import Reporter

__all__ = ["TARGETS", "ExportOptions", "ExportResult", "Part", "export"]

Part = Literal["all", "tokenizer", "condition"]

TARGETS: dict[str, Callable[..., Written]] = {
    "diffusers": write_diffusers,
    "taming": write_taming,
    "onnx": write_onnx,
}
"""What writes a `Source` into a folder, by the name of its format."""


@dataclass(frozen=True)
class ExportOptions:
    """What to write, and how.

    Attributes:
        model: a weights file or a folder that holds one.
        to: a name of ``TARGETS``.
        out: folder to write.
        part: of a transformer's file: all of it, its tokenizer of images, or that of the condition.
        opset: onnx: version of the operators; None: `DEFAULT_OPSET`.
        force: replace an export that is there.
    """

    model: Path
    to: str
    out: Path
    part: Part = "all"
    opset: int | None = None
    force: bool = False


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        path: the folder.
        files: in it, the one that is loaded first.
        notes: what the user should know.
        description: what stands in ``export.json``.
    """

    path: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    description: dict[str, Any]


def export(options: ExportOptions, reporter: Reporter) -> ExportResult:
    """Load, check that the target can hold it, and write; nothing is left behind where one of these fails.

    Raises:
        VqganError: see `vqgan_cli.core.errors`.
    """
    write = _writer(options)
    require_writable_folder(options.out.parent)
    with reserved(options.out, is_folder=False):
        _require_free(options)
        return _export(options, write, reporter)


def _export(
    options: ExportOptions, write: Callable[[Source, Path], Written], reporter: Reporter
) -> ExportResult:
    source = _load(options)
    reporter.info(f"exporting {source.info.path} to {options.to}")
    with staged_folder(options.out) as folder:
        written = write(source, folder)
        description = {
            "target": options.to,
            "part": options.part,
            **source.description(),
            "files": list(written.files),
            **written.facts,
            "notes": list(written.notes),
        }
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
        if is_users_own(options.out / CARD_FILE):
            shutil.copyfile(options.out / CARD_FILE, folder / CARD_FILE)
            reporter.info(f"{options.out / CARD_FILE} was edited, and stays")
        else:
            card = marked(export_card_text(source, written, options.part))
            (folder / CARD_FILE).write_text(card, encoding="utf-8")
    files = tuple(options.out / name for name in (*written.files, DESCRIPTION_FILE, CARD_FILE))
    reporter.facts("exported", _rows(source, files, written))
    return ExportResult(options.out, files, written.notes, description)


def _writer(options: ExportOptions) -> Callable[[Source, Path], Written]:
    if options.to not in TARGETS:
        known = ", ".join(TARGETS)
        raise UsageError(
            f"--to: there is no format {options.to!r}{did_you_mean(options.to, TARGETS)}",
            hint=f"one of {known}",
        )
    if options.to == "onnx":
        return partial(write_onnx, opset=DEFAULT_OPSET if options.opset is None else options.opset)
    if options.opset is not None:
        raise UsageError(f"--opset is of ONNX alone, not of {options.to}", hint="leave --opset out")
    return TARGETS[options.to]


def _require_free(options: ExportOptions) -> None:
    """Raise OutputError unless the folder is new, or an earlier export that may be replaced."""
    out = options.out
    if not out.exists():
        return
    if not options.force:
        raise OutputError(
            f"{str(out)!r} exists", hint="overwrite with --force, or name another folder with --out"
        )
    if not out.is_dir() or (not (out / DESCRIPTION_FILE).is_file() and any(out.iterdir())):
        raise OutputError(
            f"{str(out)!r} holds something else than an export, which --force would delete",
            hint="name another folder with --out",
        )


def _load(options: ExportOptions) -> Source:
    info = read_model_info(options.model)
    if info.format != TRANSFORMER_FORMAT:
        if options.part != "all":
            raise UsageError(
                f"--part {options.part}: {str(info.path)!r} is a tokenizer, which has no parts",
                hint="leave --part out",
            )
        return Source(info, info.config, load_tokenizer(options.model))
    transformer = load_transformer(options.model)
    if options.part == "condition":
        return _condition(info, transformer)
    whole = transformer if options.part == "all" else None
    return Source(info, info.config, transformer.tokenizer, whole)


def _condition(info: ModelInfo, transformer: Transformer) -> Source:
    encoder = transformer.map_encoder
    if encoder is None or encoder.tokenizer is None or info.config.condition.tokenizer != "own":
        raise UsageError(
            f"--part condition: {str(info.path)!r} has no tokenizer of its condition ({info.config.condition.kind})",
            hint="--part tokenizer is that of the images",
        )
    return Source(info, info.config.of_condition(), encoder.tokenizer)


def _rows(source: Source, files: tuple[Path, ...], written: Written) -> list[tuple[str, str]]:
    """The report for people."""
    tokenizer = source.tokenizer
    sizes = [path.stat().st_size for path in files]
    rows = [
        (path.name, f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB")
        for path, size in zip(files, sizes, strict=True)
    ]
    rows.append(
        (
            "codes",
            f"of {tokenizer.codebook_size}, one per {tokenizer.downsampling}x{tokenizer.downsampling} pixels",
        )
    )
    return rows + [("note", note) for note in written.notes]
