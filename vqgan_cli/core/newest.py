"""The model that a command takes when nobody names one: the newest that fits."""

from __future__ import annotations

from pathlib import Path

from vqgan_cli.core.artifacts import MODEL_FILE, TOKENIZER_FORMAT, TRANSFORMER_FORMAT, read_model_info
from vqgan_cli.core.errors import ModelError

__all__ = ["newest_tokenizer", "newest_transformer"]


def newest_tokenizer(root: Path | str = "runs", *, preset: str | None = None, kind: str = "image") -> Path:
    """The most recently written tokenizer in the folders below ``root``.

    Args:
        root: folder of runs.
        preset: only one that was trained with this preset.
        kind: ``image``, or the kind of maps.

    Raises:
        ModelError: there is none, with the command that makes one.
    """
    found = _newest(root, TOKENIZER_FORMAT, preset, kind)
    if found is None:
        of_preset = f" of preset {preset!r}" if preset else ""
        of_maps = kind != "image"
        option, target = ("--condition-ae", " --target condition") if of_maps else ("--ae", "")
        raise ModelError(
            f"no trained tokenizer{f' of {kind} maps' if of_maps else ''}{of_preset} under {str(root)!r}",
            hint=f"name one with {option}, or train one: vqgan train-ae --preset {preset or 'demo'}{target}",
        )
    return found


def newest_transformer(root: Path | str = "runs", *, kind: str | None = None) -> Path:
    """The most recently written transformer in the folders below ``root``.

    Args:
        root: folder of runs.
        kind: only one with this kind of condition; None: any.

    Raises:
        ModelError: there is none, with the command that makes one.
    """
    found = _newest(root, TRANSFORMER_FORMAT, condition=kind)
    if found is None:
        preset = "superres" if kind == "lowres" else "demo"
        raise ModelError(
            f"no trained transformer{f' of condition {kind!r}' if kind else ''} under {str(root)!r}",
            hint=f"name one with --model, or train one: vqgan train-transformer --preset {preset}",
        )
    return found


def _newest(
    root: Path | str,
    format: str,  # noqa: A002
    preset: str | None = None,
    kind: str | None = None,
    condition: str | None = None,
) -> Path | None:
    # Runs may lie in a folder of their own, as those of the demo do.
    found = [path for depth in ("*", "*/*") for path in Path(root).glob(f"{depth}/{MODEL_FILE}")]
    for path in sorted(found, key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            info = read_model_info(path)
        except ModelError:
            continue  # an unreadable neighbour is no reason to stop
        if (
            info.format == format
            and preset in (None, info.config.name)
            and kind in (None, info.config.data.kind)
            and condition in (None, info.config.condition.kind)
        ):
            return path
    return None
