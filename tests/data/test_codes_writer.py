"""Writing codes files: interruptions, several processes, failures and targets in the way."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vqgan_cli.core.data.codes import open_codes
from vqgan_cli.core.data.codes_format import CodesMetadata
from vqgan_cli.core.data.codes_writer import CodesWriter, require_free_target
from vqgan_cli.core.errors import DataError, OutputError, UsageError

COUNT = 23
BAD = 5

# A job that encodes its pending inputs: arguments target, process, processes, the number of inputs after which it
# kills itself (or -1) and whether grids differ. Codes depend on the input alone.
JOB = f"""
import os, signal, sys
from pathlib import Path
import numpy as np
from vqgan_cli.core.data.codes_format import CodesMetadata
from vqgan_cli.core.data.codes_writer import CodesWriter

target, process, processes, kill_after, native = Path(sys.argv[1]), *map(int, sys.argv[2:])
metadata = CodesMetadata(codebook_size=1000, downsampling=16, fingerprint="abc")
writer = CodesWriter(
    target, metadata, count={COUNT}, source_fingerprint="photos", process=process, processes=processes
)
print(writer.resumed)
for number, index in enumerate(writer.pending()):
    if number == kill_after:
        os.kill(os.getpid(), signal.SIGKILL)
    if index == {BAD}:
        writer.fail(index, "bad.jpg", "truncated")
        continue
    grid = (1 + index % 3, 4) if native else (3, 4)
    codes = np.random.default_rng(index).integers(1000, size=grid)
    writer.add(index, codes, name=f"{{index}}.png", size=(100, 80), resized=(60, 48))
if processes == 1:
    writer.finalise()
writer.close()
"""

METADATA = CodesMetadata(codebook_size=1000, downsampling=16, fingerprint="abc")


def run_job(target: Path, process: int = 0, processes: int = 1, kill_after: int = -1, native: int = 0) -> str:
    arguments = [str(target), *map(str, (process, processes, kill_after, native))]
    done = subprocess.run(
        [sys.executable, "-c", JOB, *arguments], capture_output=True, text=True, check=kill_after < 0
    )
    assert done.returncode == (-signal.SIGKILL if kill_after >= 0 else 0)
    return done.stdout.strip()


def contents(target: Path) -> tuple[bytes, bytes]:
    return target.read_bytes(), target.with_suffix(".json").read_bytes()


def writer_for(
    target: Path, count: int = 2, *, source: str = "photos", overwrite: bool = False
) -> CodesWriter:
    return CodesWriter(target, METADATA, count=count, source_fingerprint=source, overwrite=overwrite)


def add(writer: CodesWriter, index: int, value: int = 7) -> None:
    codes = np.full((2, 2), value)
    writer.add(index, codes, name=f"{index}.png", size=(40, 40), resized=(32, 32))


@pytest.mark.parametrize("native", [0, 1])
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, native: int) -> None:
    """Oracle: the files of a run that nothing stopped, byte by byte."""
    whole, resumed = tmp_path / "whole/codes.npy", tmp_path / "resumed/codes.npy"
    run_job(whole, native=native)
    run_job(resumed, kill_after=9, native=native)
    assert not resumed.exists()
    assert int(run_job(resumed, native=native)) == 8  # nine inputs, one of them bad
    assert contents(resumed) == contents(whole)
    assert sorted(path.name for path in resumed.parent.iterdir()) == ["codes.json", "codes.npy"]


def test_several_processes_equal_one(tmp_path: Path) -> None:
    """Oracle: the files of one process; here three processes begin, one is killed, and one process goes on."""
    one, many = tmp_path / "one/codes.npy", tmp_path / "many/codes.npy"
    run_job(one)
    run_job(many, 0, 3)
    run_job(many, 1, 3)
    run_job(many, 2, 3, kill_after=2)
    assert int(run_job(many)) == 17
    assert contents(many) == contents(one)


def test_failures_leave_no_hole(tmp_path: Path) -> None:
    target = tmp_path / "codes.npy"
    run_job(target)
    codes = open_codes(target)
    codes.validate()
    assert len(codes) == COUNT - 1
    assert codes.names == [f"{index}.png" for index in range(COUNT) if index != BAD]
    assert [(failure.name, failure.reason) for failure in codes.failed] == [("bad.jpg", "truncated")]


def test_failed_inputs_are_tried_again(tmp_path: Path) -> None:
    target = tmp_path / "codes.npy"
    with writer_for(target) as writer:
        writer.fail(0, os.fsdecode(b"\xff.jpg"), "empty file")
        add(writer, 1)
    with writer_for(target) as writer:
        assert writer.pending() == [0]
        add(writer, 0)
        assert writer.finalise() == []
    assert open_codes(target).names == ["0.png", "1.png"]


@pytest.mark.parametrize("suffix", [".codes", ".jsonl"])
def test_what_a_power_failure_left_behind_is_encoded_again(tmp_path: Path, suffix: str) -> None:
    """Oracle: files cut off at any byte lose the last image and nothing else."""
    target = tmp_path / "codes.npy"
    with writer_for(target) as writer:
        add(writer, 0)
        add(writer, 1)
    (file,) = (tmp_path / ".codes.npy.partial").glob(f"*{suffix}")
    file.write_bytes(file.read_bytes()[:-3])
    with writer_for(target) as writer:
        assert writer.pending() == [1]
        add(writer, 1)
        writer.finalise()
    assert len(open_codes(target)) == 2


def test_existing_codes_are_replaced_only_on_request(tmp_path: Path) -> None:
    target = tmp_path / "codes.npy"
    for value in (1, 2):
        with writer_for(target, overwrite=value == 2) as writer:
            add(writer, 0, value)
            add(writer, 1, value)
            writer.finalise()
        assert open_codes(target).grid(0).max() == value
        with pytest.raises(OutputError, match="exists"):
            writer_for(target)
    assert open_codes(target).grid(1).max() == 2


def test_a_description_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "codes.json").write_text("{}")
    with pytest.raises(OutputError, match=r"codes\.json' exists"):
        writer_for(tmp_path / "codes.npy")


def test_crash_between_the_two_renames(tmp_path: Path) -> None:
    """Oracle: with the description in place and the array not, the same call finishes without encoding anything."""
    target = tmp_path / "codes.npy"
    target.mkdir()  # stands in the way of the second rename
    with writer_for(target, overwrite=True) as writer:
        add(writer, 0)
        add(writer, 1)
        with pytest.raises(OutputError):
            writer.finalise()
    assert target.with_suffix(".json").is_file()
    target.rmdir()
    with writer_for(target) as writer:
        assert writer.pending() == []
        writer.finalise()
    open_codes(target).validate()


def test_unfinished_job_of_other_images(tmp_path: Path) -> None:
    target = tmp_path / "codes.npy"
    with writer_for(target) as writer:
        add(writer, 0)
    with pytest.raises(OutputError, match="unfinished"):
        writer_for(target, source="other photos")
    with writer_for(target, source="other photos", overwrite=True) as writer:
        assert writer.pending() == [0, 1]


def test_two_calls_at_once(tmp_path: Path) -> None:
    target = tmp_path / "codes.npy"
    with writer_for(target), pytest.raises(OutputError, match="in use by another process"):
        writer_for(target)
    writer_for(target).close()


def test_unfinished_and_empty_jobs_are_not_finalised(tmp_path: Path) -> None:
    with writer_for(tmp_path / "codes.npy") as writer:
        writer.fail(0, "a.jpg", "empty file")
        with pytest.raises(OutputError, match="1 of 2 images are not encoded yet"):
            writer.finalise()
        writer.fail(1, "b.jpg", "empty file")
        with pytest.raises(DataError, match=r"none of the 2 images.*'a\.jpg': empty file"):
            writer.finalise()


def test_codes_outside_the_codebook_are_not_written(tmp_path: Path) -> None:
    with writer_for(tmp_path / "codes.npy") as writer, pytest.raises(ValueError, match="1000"):
        add(writer, 0, 1000)


def test_name_without_npy() -> None:
    with pytest.raises(UsageError) as caught:
        require_free_target(Path("out/codes"))
    assert caught.value.hint == "-o out/codes.npy"


def add_all(writer: CodesWriter) -> None:
    for index in writer.pending():
        add(writer, index)


def test_full_disk_is_one_error_and_loses_nothing(tmp_path: Path) -> None:
    """The limit of a file's size stands for the full disk: the same error, at a byte that one can choose."""
    target = tmp_path / "codes.npy"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with writer_for(target, count=50) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
        try:
            with pytest.raises(OutputError, match="File too large"):
                add_all(writer)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with writer_for(target, count=50) as writer:
        assert 0 < writer.resumed < 50
        add_all(writer)
        writer.finalise()
    open_codes(target).validate()
