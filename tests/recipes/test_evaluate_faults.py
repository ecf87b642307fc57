"""What stops ``vqgan evaluate``, and what is left then."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.evaluation.networks import save_random
from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.test_generate import save_transformer_of
from tests.recipes.tiny_run import assert_plain
from vqgan_cli.core.training.stopping import StopRequest


@pytest.fixture(params=["reconstruction", "likelihood", "samples"])
def command(
    request: pytest.FixtureRequest, tiny: SavedTokenizer, tmp_path: Path
) -> tuple[list[str | Path], Path]:
    """A command with work for minutes, and its model."""
    options: list[str | Path] = ["--limit", "5000", "-o", "report", "--device", "cpu"]
    data = ["--data", "synthetic:faces"]
    if request.param == "samples":
        weights = save_random("shufflenet_v2_x0_5", tmp_path / "weights.safetensors")
        words = ["--samples", "synthetic:faces", "--reference", "synthetic:faces", "--reference-limit", "2"]
        network = ["--features", "torchvision:shufflenet_v2_x0_5", "--weights", weights]
        return ["evaluate", "samples", *words, *network, *options], weights
    if request.param == "reconstruction":
        words = ["--perceptual", "none", "--features", "none", "--ae", str(tiny.path)]
        return ["evaluate", "reconstruction", *words, *data, *options], tiny.path
    model = save_transformer_of(tmp_path / "model", ()).path
    return ["evaluate", "likelihood", "--model", model, *data, *options], model


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_it_and_leaves_no_report(
    command: tuple[list[str | Path], Path], number: signal.Signals, code: int, vqgan: Vqgan, tmp_path: Path
) -> None:
    """The signal comes once the command listens; a shorter call writes into the same folder afterwards."""

    def send() -> None:
        deadline = time.monotonic() + 60
        while not isinstance(getattr(signal.getsignal(number), "__self__", None), StopRequest):
            if time.monotonic() > deadline:  # it has failed before it listened
                return
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    first = vqgan(
        *command[0], "--limit", "2", "-o", "first"
    )  # imports everything: half a module cannot be taken back
    assert first.code == 0, first.err
    sender = threading.Thread(target=send)
    sender.start()
    done = vqgan(*command[0])
    sender.join()
    assert done.code == code, done.err
    assert "nothing is kept of it" in done.err
    assert_plain(done.err)
    assert not [path for path in (tmp_path / "report").iterdir() if path.is_file()]
    again = vqgan(*command[0], "--limit", "2")
    assert again.code == 0, again.err
    assert (tmp_path / "report/report.html").is_file()


@pytest.mark.fault(9, "evaluate")
def test_output_that_cannot_be_written_is_found_before_any_work(
    command: tuple[list[str | Path], Path], vqgan: Vqgan, tmp_path: Path
) -> None:
    """A file is in the way of the folder, and the model is not even looked for."""
    (tmp_path / "file").touch()
    words = [tmp_path / "absent" if str(word) == str(command[1]) else word for word in command[0]]
    done = vqgan(*words, "-o", "file/report")
    assert done.code == 1
    assert "cannot write to 'file/report'" in done.err


@pytest.mark.fault(11, "evaluate")
@pytest.mark.parametrize("command", ["reconstruction", "likelihood"], indirect=True)
def test_flipped_bit_in_the_weights(
    command: tuple[list[str | Path], Path], vqgan: Vqgan, tmp_path: Path
) -> None:
    """The fingerprint tells it."""
    damaged = tmp_path / "damaged.safetensors"
    content = bytearray(command[1].read_bytes())
    content[-100] ^= 1
    damaged.write_bytes(content)
    done = vqgan(*[damaged if str(word) == str(command[1]) else word for word in command[0]])
    assert done.code == 1
    assert "its weights do not match the fingerprint" in done.err
