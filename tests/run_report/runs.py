"""Run folders as training leaves them, without training."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vqgan_cli.core.presets import dump, resolve

__all__ = ["page_curve", "page_data", "write_log", "write_run"]


def write_log(folder: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """One object per line, as `json` writes NaN too."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "log.jsonl").write_text(text, encoding="utf-8")


def write_run(
    folder: Path,
    *,
    prior: bool = False,
    steps: int = 100,
    state: str = "finished",
    pictures: int = 5,
    level: float = 1.0,
    **changes: object,
) -> Path:
    """A run of the demo preset, every tenth of whose steps is logged, and every fiftieth validated.

    Args:
        folder: is made.
        prior: of a transformer.
        steps: all of them done.
        state: of its status.
        pictures: in ``samples/``, each of another brightness.
        level: of its losses.
        changes: of its config, a key's dots written as two underscores.
    """
    (folder / "samples").mkdir(parents=True)
    section = "train_transformer" if prior else "train_ae"
    flags = {key.replace("__", "."): value for key, value in changes.items()}
    config = resolve("demo", flags={f"{section}.steps": steps, **flags})
    (folder / "config.yaml").write_text(dump(config), encoding="utf-8")
    status = {"state": state, "time": _time(steps), "pid": 1, "step": steps, "steps": steps, "reason": "why"}
    (folder / "status.json").write_text(json.dumps(status), encoding="utf-8")
    if prior:
        (folder / "tokenizer.safetensors").touch()
    write_log(
        folder, (line for step in range(10, steps + 1, 10) for line in _lines(step, level, prior=prior))
    )
    for number in range(1, pictures + 1):
        pixels = np.full((16, 64, 3), 40 * number % 256, np.uint8)
        Image.fromarray(pixels).save(folder / "samples" / f"step-{number * steps // pictures:08d}.png")
    if not prior:
        counts = [0] * 12 + list(range(1, config.tokenizer.codebook_size - 11))
        (folder / "code_counts.json").write_text(json.dumps({"step": steps, "counts": counts}))
    versions = {"vqgan": "1.2.3", "torch": "2.0", "wandb": None}
    session = {"time": _time(0), "start": 0, "device": "cpu (x86_64)", "processes": 1, "precision": "fp32"}
    (folder / "environment.json").write_text(json.dumps([{**session, "commit": "abc", "versions": versions}]))
    return folder


def page_data(text: str) -> dict[str, Any]:
    """What the scripts of a page read."""
    begin = '<script type="application/json" id="run-data">'
    return json.loads(text.split(begin)[1].split("</script>")[0])


def page_curve(path: Path, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of the first curve of a chart in a page."""
    charts = page_data(path.read_text("utf-8"))["charts"]
    drawn = next(chart for chart in charts if chart["key"] == key)["curves"][0]
    return drawn["x"], drawn["y"]


def _lines(step: int, level: float, *, prior: bool) -> list[dict[str, Any]]:
    loss = level * (0.1 + math.exp(-step / 50))
    common: dict[str, Any] = {"step": step, "time": _time(step), "learning_rate": 1e-4, "memory_gb": 1.5}
    if prior:
        lines = [{**common, "loss": loss, "accuracy": 0.2, "gradient_norm": 1.0, "codes_per_second": 500.0}]
        validation = {"loss": loss * 1.1, "bits_per_pixel": loss / 10, "accuracy": 0.1}
    else:
        values = {"loss/total": loss, "loss/reconstruction": loss / 2, "loss/codebook": 0.01}
        values |= {"quantizer/commitment": 0.02, "codebook/usage": 0.9, "codebook/perplexity": 200.0}
        if step > 50:
            values |= {"loss/generator": -0.1, "loss/discriminator": 1.5, "gan/lambda": 10.0 * step}
            values |= {"gan/logits_real": 0.5, "gan/logits_fake": -0.5}
        lines = [{**common, **values, "images_per_second": 50.0}]
        validation = {"loss": loss, "l1": loss / 3, "psnr": 25 + step / 100, "ssim": 0.8, "perplexity": 210.0}
        validation |= {"codebook_usage": 0.95, "codes_never_used": 12.0}
    if step % 50 == 0:
        held_out = {f"validation/{name}": value for name, value in validation.items()}
        lines.append({"step": step, "time": _time(step), **held_out})
    return lines


def _time(step: int) -> str:
    """Two steps per second."""
    return f"2026-01-02T03:{step // 120:02d}:{step // 2 % 60:02d}+00:00"
