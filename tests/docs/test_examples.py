"""The files of ``docs/examples``: the batch script runs here, with stand-ins for SLURM's commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.command_lines import parse
from tests.recipes.tiny_run import TINY, settings
from vqgan_cli.core.training.checkpoints import checkpoint_folders

EXAMPLES = ROOT / "docs/examples"
SBATCH = EXAMPLES / "train.sbatch"
DOCKERFILE = EXAMPLES / "Dockerfile"

# srun starts a command once on each node, in a step of its own, which dies with SIGKILL when srun gets SIGTERM.
STAND_INS = {
    "srun": """
        trap 'kill -KILL -- $pids' TERM
        while [[ $1 == --* ]]; do shift; done
        pids=
        for node in $(seq "$SLURM_JOB_NUM_NODES"); do
            setsid "$@" & pids="$pids -$!"; echo "$!" >> step-pids
        done
        code=0
        for pid in $pids; do wait "${pid#-}" || code=$?; done
        exit $code
    """,
    "scancel": 'echo "scancel $*" >> calls; for pid in $(cat step-pids); do kill -TERM -- "-$pid"; done',
    "scontrol": 'echo "scontrol $*" >> calls; if [ "$1" = show ]; then echo 127.0.0.1; fi',
}


def sbatch_words(option: str) -> list[str]:
    """Values of an option in the ``#SBATCH`` lines."""
    return re.findall(rf"^#SBATCH --{option}=(\S+)$", SBATCH.read_text("utf-8"), re.M)


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts the batch script in ``tmp_path`` as SLURM does on its first node."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, body in STAND_INS.items():
        (binaries / name).write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        (binaries / name).chmod(0o755)
    launcher = f'#!/bin/bash\nexec {shlex.quote(sys.executable)} -m torch.distributed.run "$@"\n'
    (binaries / "torchrun").write_text(launcher, encoding="utf-8")
    (binaries / "torchrun").chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def start(*arguments: str, nodes: int = 1) -> subprocess.Popen[str]:
        (tmp_path / "step-pids").unlink(missing_ok=True)
        environment = {
            **os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
            "SLURM_JOB_NODELIST": "node", "SLURM_JOB_NUM_NODES": str(nodes), "SLURM_JOB_ID": "7",
            "SLURM_CPUS_PER_TASK": "1", "RUN": "run", "GPUS": "1", "PORT": str(port), "NO_COLOR": "1",
            "VQGAN_CACHE": str(tmp_path / "cache"),
        }  # fmt: skip
        return subprocess.Popen(
            ["bash", str(SBATCH), *arguments], cwd=tmp_path, env=environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    return start


def training(steps: int) -> list[str]:
    """The command of a job that takes seconds; every other setting is that of `TINY`."""
    words = ["train-ae", "--preset", "demo", "--device", "cpu", "--steps", str(steps)]
    return [*words, *settings(**TINY), *settings(train_ae__adversarial__norm="group", data__workers=1)]


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and stderr of a job; one that hangs is killed."""
    try:
        _, errors = process.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, errors


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_job_whose_time_is_up_goes_on_in_the_next(
    nodes: int, job: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """SLURM's signal to the shell: the training saves, the job is requeued, and its next start finishes the run."""
    run = tmp_path / "run"

    def status() -> dict[str, object]:
        return json.loads((run / "status.json").read_text())

    first = job(*training(100_000), nodes=nodes)
    wait_for(lambda: (run / "log.jsonl").is_file() and (run / "log.jsonl").read_text().count("\n") > 3, first)
    first.send_signal(signal.SIGUSR1)
    code, errors = end(first)
    assert code == 1, errors
    assert (status()["state"], status()["reason"]) == ("stopped", "terminated"), errors
    saved = checkpoint_folders(run / "checkpoints")[-1].name
    assert saved == f"step-{status()['step']:08d}"
    calls = ["scontrol show hostnames node", "scancel --signal=TERM 7", "scontrol requeue 7"]
    assert (tmp_path / "calls").read_text().splitlines() == calls

    # The run's own settings go on; only the number of steps is another one, so that the test comes to an end.
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("steps: 100000", f"steps: {status()['step'] + 5}"))
    code, errors = end(job(*training(100_000), nodes=nodes))
    assert code == 0, errors
    assert f"resumed from 'run/checkpoints/{saved}'" in errors
    assert status()["state"] == "finished"
    assert (tmp_path / "calls").read_text().splitlines() == [*calls, calls[0]]


def test_batch_script_is_sound() -> None:
    """Its shell parses, its options are those that the text explains, and its command lines are taken."""
    subprocess.run(["bash", "-n", str(SBATCH)], check=True)
    assert sbatch_words("signal") == ["B:USR1@600"]
    assert sbatch_words("nodes") == ["1"]
    text = re.sub(r"\\\n# *", "", SBATCH.read_text("utf-8"))
    examples = re.findall(r"(train-transformer --preset .+?)  +another", text) + re.findall(
        r"begin=\((train.+)\)", text
    )
    assert len(examples) == 2
    for line in examples:
        parse(f"vqgan {line}")
        parse(f"vqgan {line} --out run --force")
    parse("vqgan train-ae --resume --out run")


def test_dockerfile_copies_what_is_there_and_admits_it() -> None:
    """Each path that is copied exists, and the list of what is sent to the daemon lets it through."""
    copied = dockerfile_sources()
    assert copied
    sent = (EXAMPLES / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    for path in copied:
        assert (ROOT / path).exists(), path
        assert f"!{path}" in sent, path
    assert "USER vqgan" in DOCKERFILE.read_text("utf-8")


def test_dockerfile_installs_what_make_installs() -> None:
    """Oracle: the Makefile's pair of versions."""
    pair = re.search(r'^ARG TORCH="(.+)"$', DOCKERFILE.read_text("utf-8"), re.M)
    tested = re.search(r"^TORCH \?= (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert pair is not None
    assert tested is not None
    assert pair[1] == tested[1]


@pytest.mark.slow
def test_package_builds_from_what_the_dockerfile_copies(tmp_path: Path) -> None:
    import shutil

    for path in dockerfile_sources():
        copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
        copy(ROOT / path, tmp_path / path)
    command = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        str(tmp_path / "out"),
    ]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert list((tmp_path / "out").glob("vqgan-*.whl"))


def dockerfile_sources() -> list[str]:
    lines = re.findall(r"^COPY (.+) \S+$", DOCKERFILE.read_text("utf-8"), re.M)
    return [word for line in lines for word in line.split()]
