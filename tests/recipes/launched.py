"""What a launcher starts in tests: the real program, which at the end writes down what each process knows.

``torchrun -m tests.recipes.launched COMMAND ARGUMENT...`` is ``torchrun -m vqgan_cli COMMAND ARGUMENT...``; several
commands, with ``then`` between them, are done in turn. Process N leaves ``rank-N.json``: the number of processes, the
exit code of each command, and fingerprints of the networks that it trained. The end of a training step is an audit
event, ``train step-00000003``, so that `tests.recipes.tiny_run.fault` can wait for it.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch.distributed as dist

from vqgan_cli.cli import app
from vqgan_cli.core.artifacts import fingerprint
from vqgan_cli.core.training import loop

_facts: dict[str, Any] = {"world": 1, "codes": [], "weights": []}
_run, _train = app.run, loop.train


def _run_all() -> int:
    words = itertools.groupby(sys.argv[1:], lambda word: word == "then")
    for command in [list(group) for is_divider, group in words if not is_divider]:
        _facts["codes"].append(_run(command))
        _note_world()
    Path(f"rank-{os.environ['RANK']}.json").write_text(json.dumps(_facts))
    return max(_facts["codes"])


def _train_and_note(experiment: Any, *arguments: Any, **options: Any) -> loop.Outcome:
    finish_step = experiment.finish_step

    def finish_and_tell(step: int) -> None:
        finish_step(step)
        sys.audit("train", f"step-{step:08}")

    experiment.finish_step = finish_and_tell
    outcome = _train(experiment, *arguments, **options)
    _note_world()  # the group ends with the training
    networks = getattr(experiment, "networks", None)
    modules = [networks.tokenizer, networks.discriminator, networks.lecam] if networks else [experiment.prior]
    modules.append(experiment.average and experiment.average.module)
    if not getattr(experiment, "sharded", False):
        _facts["weights"] = [fingerprint(module.state_dict()) for module in modules if module is not None]
    return outcome


def _note_world() -> None:
    if dist.is_initialized():
        _facts["world"] = dist.get_world_size()


if __name__ == "__main__":
    loop.train = _train_and_note
    app.run = _run_all
    app.main()
