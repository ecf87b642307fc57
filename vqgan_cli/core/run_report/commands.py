"""How to go on with a run: exact commands."""

from __future__ import annotations

import shlex
from pathlib import Path

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.presets import preset_names

__all__ = ["next_commands"]


def next_commands(
    folder: Path, stage: str, state: str, config: ExperimentConfig | None, steps: int | None
) -> list[tuple[str, str]]:
    """What to type, each with what it does.

    Args:
        folder: of the run, as the commands name it.
        stage: ``train-ae`` or ``train-transformer``.
        state: see `RunFacts.state`.
        config: of the run; None where it cannot be read.
        steps: those of the run; None where they are not known.
    """
    run = _word(folder)
    found = [] if state in ("starting", "running") else [_resume(run, stage, state, steps)]
    found += _transformer(run, config) if stage == "train-transformer" else _tokenizer(folder, config)
    return [
        *found,
        ("write this page anew, also while the run goes on", f"vqgan report {run} --open"),
        ("how far the run is, and which checkpoints are good", f"vqgan info {run}"),
    ]


def _word(path: Path) -> str:
    text = str(path)
    # It would be taken for an option.
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _resume(run: str, stage: str, state: str, steps: int | None) -> tuple[str, str]:
    command = f"vqgan {stage} --resume --out {run}"
    if state == "finished":
        return "train longer", f"{command} --steps {2 * steps if steps else 'STEPS'}"
    return "go on from the newest checkpoint", command


def _tokenizer(folder: Path, config: ExperimentConfig | None) -> list[tuple[str, str]]:
    run = _word(folder)
    if config is not None and config.data.kind != "image":
        # The config of this run is that of its maps alone.
        preset = config.name if config.name in preset_names() else "PRESET"
        return [
            (
                "train the transformer that draws by these maps; --ae is the tokenizer of the images",
                f"vqgan train-transformer --preset {preset} --ae IMAGES_AE --condition-ae {run} --data PAIRS",
            )
        ]
    data = shlex.quote(config.data.source) if config is not None and config.data.source else "IMAGES"
    preset = ""
    if config is not None:
        # A preset of the user's own is no name that is known; the run's config is the whole experiment.
        own = _word(folder / "config.yaml")
        preset = f" --preset {config.name if config.name in preset_names() else own}"
    return [
        ("turn images into codes", f"vqgan encode IMAGES -o codes.npy --ae {run}"),
        ("and back", f"vqgan decode codes.npy -o decoded/ --ae {run}"),
        ("measure it", f"vqgan evaluate reconstruction --ae {run} --data {data} -o evaluation"),
        ("train a transformer over its codes", f"vqgan train-transformer{preset} --ae {run} --data {data}"),
    ]


def _transformer(run: str, config: ExperimentConfig | None) -> list[tuple[str, str]]:
    data = shlex.quote(config.data.source) if config is not None and config.data.source else "IMAGES"
    measure = ("measure it", f"vqgan evaluate likelihood --model {run} --data {data} -o evaluation")
    if config is not None and config.condition.map_kind == "lowres":
        return [("enlarge pictures", f"vqgan upscale PICTURES -o large/ --model {run}"), measure]
    if config is not None and config.condition.map_kind is not None:
        draw = f"vqgan generate --model {run} --condition MAPS -n 4 -o samples/"
    elif config is not None and config.condition.kind == "class":
        draw = f"vqgan generate --model {run} --class all -n 4 -o samples/"
    else:
        draw = f"vqgan generate --model {run} -n 8 -o samples/"
    return [
        ("draw images", draw),
        measure,
        (
            "compare what it draws with images",
            f"vqgan evaluate samples --samples samples/ --reference {data} -o comparison",
        ),
    ]
