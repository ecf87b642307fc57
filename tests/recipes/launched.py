"""What a launcher starts in tests: the real program, which at the end writes down what each process knows.

``torchrun -m tests.recipes.launched COMMAND ARGUMENT...`` is ``torchrun -m vqgan_cli COMMAND ARGUMENT...``; several
commands, with ``then`` between them, are done in turn while they succeed. Process N leaves ``rank-N.json``: the number
of processes, the exit code of each command, whether the group of processes outlived the last, fingerprints of the
networks that it trained, and the pictures that it opened and wrote. The end of a training step is an audit event,
``train step-00000003``, for which `tests.recipes.tiny_run.fault` can wait.

With ``LATE`` seconds in the environment, the first process begins each command so much later than the others.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch.distributed as dist

from vqgan_cli.cli import app
from vqgan_cli.core.artifacts import fingerprint
from vqgan_cli.core.training import loop

_facts: dict[str, Any] = {"world": 1, "codes": [], "weights": [], "opened": [], "written": []}
_run, _train = app.run, loop.train


def _run_all() -> int:
    words = itertools.groupby(sys.argv[1:], lambda word: word == "then")
    sys.addaudithook(_note_picture)
    for command in [list(group) for is_divider, group in words if not is_divider]:
        time.sleep(float(os.environ.get("LATE", "0")) * (os.environ["RANK"] == "0"))
        _facts["codes"].append(_run(command))
        _facts["grouped"] = dist.is_initialized()
        _note_world()
        if _facts["codes"][-1] not in (0, 3):
            break  # as the shell's && would
    Path(f"rank-{os.environ['RANK']}.json").write_text(json.dumps(_facts))
    return max(_facts["codes"])


def _train_and_note(experiment: Any, *arguments: Any, **options: Any) -> loop.Outcome:
    finish_step = experiment.finish_step

    def finish_and_tell(step: int) -> None:
        finish_step(step)
        sys.audit("train", f"step-{step:08}")

    experiment.finish_step = finish_and_tell
    outcome = _train(experiment, *arguments, **options)
    networks = getattr(experiment, "networks", None)
    modules = [networks.tokenizer, networks.discriminator, networks.lecam] if networks else [experiment.prior]
    modules.append(experiment.average and experiment.average.module)
    if not getattr(experiment, "sharded", False):
        _facts["weights"] = [fingerprint(module.state_dict()) for module in modules if module is not None]
    return outcome


def _note_picture(event: str, arguments: tuple[Any, ...]) -> None:
    kind, position = {"open": ("opened", 0), "os.rename": ("written", 1)}.get(event, ("", 0))
    if kind and str(arguments[position]).endswith(".png"):
        _facts[kind].append(str(arguments[position]))


def _note_world() -> None:
    if dist.is_initialized():
        _facts["world"] = dist.get_world_size()


if __name__ == "__main__":
    loop.train = _train_and_note
    app.run = _run_all
    app.main()
