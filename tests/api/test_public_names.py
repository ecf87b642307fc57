"""What ``vqgan_cli.__all__`` promises: the names are there, typed, listed alike everywhere, and free until used."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.resources import files

import pytest

import vqgan_cli
from tests.conftest import ROOT

NAMES = [name for name in vqgan_cli.__all__ if name != "__version__"]


def test_the_package_says_that_it_is_typed() -> None:
    assert (files("vqgan_cli") / "py.typed").is_file()


def test_names_are_where_the_package_looks_for_them() -> None:
    assert sorted(vqgan_cli._MODULES) == NAMES
    assert set(vqgan_cli.__all__) <= set(dir(vqgan_cli))
    with pytest.raises(AttributeError, match="has no attribute 'load_everything'"):
        vqgan_cli.load_everything  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    """They read what stands under TYPE_CHECKING. Oracle: the objects found there, by module and name."""
    source = inspect.getsource(vqgan_cli)
    block = source.partition("if TYPE_CHECKING:\n")[2].partition("\n\n")[0]
    seen: dict[str, object] = {}
    exec(inspect.cleandoc(block), seen)
    seen.pop("__builtins__")
    assert sorted(seen) == NAMES
    assert all(seen[name] is getattr(vqgan_cli, name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_everything_public_is_typed(name: str) -> None:
    thing = getattr(vqgan_cli, name)
    functions = [thing]
    if inspect.isclass(thing):
        members = [
            value for key, value in vars(thing).items() if not key.startswith("_") or key == "__init__"
        ]
        members = [each.fget if isinstance(each, property) else each for each in members]
        functions = [each for each in members if inspect.isfunction(each)]
    for function in functions:
        # A decorator may hide annotations that only a type checker needs, never those of the arguments.
        plain = inspect.unwrap(function)
        untyped = [
            parameter.name
            for parameter in inspect.signature(plain).parameters.values()
            if parameter.annotation is inspect.Parameter.empty and parameter.name != "self"
        ]
        assert not untyped, f"{name}, {plain.__qualname__}: {untyped}"
        assert "return" in plain.__annotations__, plain.__qualname__
        assert plain.__doc__ or plain.__name__ == "__init__", plain.__qualname__


def test_importing_costs_no_torch_and_a_name_only_what_it_needs() -> None:
    code = (
        "import sys, vqgan_cli\n"
        "heavy = [m for m in ('torch', 'numpy', 'PIL', 'pydantic') if m in sys.modules]\n"
        "from vqgan_cli import VqganError, open_codes\n"
        "print(heavy, 'torch' in sys.modules, dir(vqgan_cli)[:2])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[] False ['Codes', 'Drawn']\n"
