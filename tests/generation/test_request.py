"""What a request says of itself where it makes no sense. Oracles: the options of the command, and the bounds that
`SamplingConfig` declares.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest
import typer

from vqgan_cli.cli.app import app
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.generation.request import CommandRequest, Request, require_sense

NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"images": 0}, "IMAGES 0 is below 1"),
    ({"max_batch": 0}, "MAX_BATCH 0 is below 1"),
    ({"top_p": 0.0}, "TOP_P: 0.0 is not a number above 0 and at most 1"),
    (
        {"guidance": -1.0, "guidance_schedule": "steep"},
        "GUIDANCE: -1.0 is not .*; GUIDANCE_SCHEDULE: 'steep' is",
    ),
    ({"complete": "a.png", "variations": "a.png"}, "COMPLETE and VARIATIONS exclude each other"),
    ({"complete": "a.png"}, "COMPLETE needs KNOWN"),
    ({"known": "top:0.5"}, "KNOWN is for COMPLETE"),
    ({"from_images": True}, "FROM_IMAGES is for CONDITION"),
    ({"scorer": "x"}, "SCORER chooses among candidates, which takes KEEP"),
    ({"keep": 2.0}, "KEEP 2 is not above 0"),
]


def test_a_command_calls_every_field_by_an_option_that_it_has() -> None:
    command = typer.main.get_command(app).commands["generate"]  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in parameter.opts}
    names = {field.name: CommandRequest().called(field.name) for field in fields(Request)}
    assert set(names.values()) <= options
    assert names["guidance"] == "--cfg"
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize(("asked", "problem"), NONSENSE)
@pytest.mark.parametrize("kind", [Request, CommandRequest])
def test_nonsense_is_said_in_the_words_of_who_asked(
    kind: type[Request], asked: dict[str, Any], problem: str
) -> None:
    """One check, two vocabularies."""
    request = kind(**asked)
    expected = re.sub(r"[A-Z_]{4,}", lambda found: re.escape(request.called(found[0].lower())), problem)
    with pytest.raises(UsageError, match=f"^{expected}") as caught:
        require_sense(request)
    said = f"{caught.value.message} {caught.value.hint}"
    assert ("--" in said) == (kind is CommandRequest)


def test_sense_is_let_through() -> None:
    require_sense(Request())
    require_sense(Request(complete="a.png", known="top:0.5", blend=True, top_p=0.5, guidance=3))  # type: ignore[arg-type]
    require_sense(CommandRequest(keep=1, scorer="x"))


def test_nonsense_costs_no_torch() -> None:
    code = (
        "import sys; from vqgan_cli.cli.app import run; code = run(['generate', '--complete', 'a.png']);"
        "sys.exit(code != 2 or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
