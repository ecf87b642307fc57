"""The rules of the architecture: who may import whom, what loads torch, and how large a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "vqgan_cli"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
CORE = "vqgan_cli.core"

# Part of the package -> the other parts that it may import. A part that is not listed may import any part of core
# except recipes.
ALLOWED = {
    f"{CORE}.errors": set[str](),
    f"{CORE}.config": {f"{CORE}.errors"},
    f"{CORE}.schema": {f"{CORE}.errors", f"{CORE}.config"},
    f"{CORE}.plain_yaml": set[str](),
    f"{CORE}.presets": {f"{CORE}.errors", f"{CORE}.config", f"{CORE}.plain_yaml", f"{CORE}.schema"},
    f"{CORE}.models": {f"{CORE}.errors", f"{CORE}.config"},
    f"{CORE}.device": {f"{CORE}.errors"},
    f"{CORE}.sampling": {f"{CORE}.errors", f"{CORE}.config", f"{CORE}.device", f"{CORE}.models"},
}


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether it is imported at the top of the file) for each import; type-checking blocks left out."""

    def walk(node: ast.AST, top: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) in (
                "TYPE_CHECKING",
                "typing.TYPE_CHECKING",
            ):
                for other in child.orelse:
                    yield from walk(other, top)
            elif isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                assert child.module is not None
                for alias in child.names:
                    name = f"{child.module}.{alias.name}"
                    yield (name if name in MODULES else child.module), top
            else:
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, top and not function)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), True)


def part_of(module: str) -> str:
    """``vqgan_cli.core.data.images`` -> ``vqgan_cli.core.data``; ``vqgan_cli.cli.app`` -> ``vqgan_cli.cli``."""
    depth = 3 if module.startswith(CORE + ".") else 2
    return ".".join(module.split(".")[:depth])


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    part = part_of(module)
    for imported, _ in imports_of(MODULES[module]):
        if not imported.startswith("vqgan_cli"):
            continue
        other = part_of(imported)
        if part.startswith(CORE):
            assert other != "vqgan_cli.cli", f"{module} imports {imported}: core knows no command line"
        if part == f"{CORE}.recipes":
            own = imported in (module, part)
            assert other != part or own, f"{module} imports {imported}: a recipe never imports a recipe"
        elif part.startswith(CORE + ".") and other != part:
            assert other != f"{CORE}.recipes", (
                f"{module} imports {imported}: only the command line runs recipes"
            )
            if part in ALLOWED:
                assert other in ALLOWED[part], f"{module} imports {imported}: {part} is below {other}"


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("vqgan_cli.cli")])
def test_commands_load_heavy_packages_in_their_bodies_only(module: str) -> None:
    light = {"typer", "rich", "vqgan_cli", *sys.stdlib_module_names}
    for imported, top in imports_of(MODULES[module]):
        if top:
            assert imported.split(".")[0] in light, f"{module} imports {imported} at its top"


@pytest.mark.parametrize(
    "module",
    ["vqgan_cli", "vqgan_cli.cli.app", *(f"{CORE}.{m}" for m in ("errors", "config", "schema", "presets"))],
)
def test_module_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'accelerate')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("module", MODULES)
def test_public_names_are_listed(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    defined = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    listed = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]
    ]
    assert listed or not defined, f"{module} has public names and no __all__"
    if listed:
        assert len(set(listed[0])) == len(listed[0]), f"{module} lists a name twice"


@pytest.mark.parametrize("module", MODULES)
def test_a_file_fits_a_sitting(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_a_drawer(module: str) -> None:
    assert not {"utils", "helpers", "misc", "common"} & set(module.split("."))
