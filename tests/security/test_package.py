"""What no module of the package may do, read from its source: unpickle, build code, start programs, load odd YAML."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
import yaml

from tests.conftest import ROOT
from vqgan_cli.core import presets
from vqgan_cli.core.plain_yaml import PlainLoader, read_yaml

MODULES = {
    path.relative_to(ROOT / "vqgan_cli").as_posix(): path
    for path in sorted((ROOT / "vqgan_cli").rglob("*.py"))
}

IMPORTS = {
    r"_?pickle|cPickle|dill|cloudpickle|joblib|marshal|shelve|copyreg": {
        "core/interop/reading/pickles.py"  # for the numbers of its opcodes
    },
    r"subprocess|multiprocessing|runpy|code|codeop|telnetlib|ftplib": set[str](),
    r"ctypes": {"core/bench/memory.py", "core/allocator.py"},  # for settings of the C library's own memory
    r"socket|ssl|http|urllib\.(request|error)|requests|httpx|aiohttp": {
        "core/pretrained.py",
        "core/published/downloads.py",
        "ui/server.py",  # bound to 127.0.0.1
    },
    r"huggingface_hub": {"core/published/hub.py"},
}
"""Modules that may be imported nowhere, or only there."""

CALLS = {
    r"(builtins\.)?(eval|exec|compile|__import__)": set[str](),
    r"pickle\.[a-z].*|.*\bUnpickler|.*\bfind_class": set[str](),
    r"torch\.(load|jit\.load|package\..*|hub\.load.*|load_.*)|.*\b(load_state|register_for_checkpointing)": set[
        str
    ](),
    r"torch\.save": {
        "core/interop/writing/taming.py",  # the one kind of file that taming-transformers reads
        "core/evaluation/features.py",  # tensors in memory, for torch-fidelity to read there
    },
    r"yaml\.(load|full_load|unsafe_load|load_all|safe_load)": {"core/plain_yaml.py"},
    r"os\.(system|popen|spawn\w*|posix_spawn\w*|fork\w*|startfile)": set[str](),
    r"os\.exec\w*": {"cli/training.py"},  # accelerate's launcher, for --gpus
    r"numpy\.fromregex|(np|numpy)\.memmap\.load|.*\.extractall|shutil\.unpack_archive": set[str](),
}
"""Functions that may be called nowhere, or only there."""

CHOSEN_IMPORTS = {
    "__init__.py",  # of its table of public names
    "core/config/registry.py",  # of the entries in core/config/kinds.py, to which configs add none
    "core/interop/writing/onnx.py",
}
"""Modules that import others by a name that is no constant: of a table of constants."""


def violations(source: str, module: str) -> Iterator[str]:
    """Lines of a module that do what its place does not allow."""
    tree = ast.parse(source)
    full = {}  # what a name stands for: `load` after `from torch import load`, `t` after `import torch as t`
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {
                each.asname or each.name.partition(".")[0]: each.name
                if each.asname
                else each.name.partition(".")[0]
                for each in node.names
            }
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            full |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
            names = [f"{node.module}.{each.name}" for each in node.names] + [node.module or ""]
        else:
            continue
        for pattern, allowed in IMPORTS.items():
            for name in names:
                if module not in allowed and re.fullmatch(rf"({pattern})(\..*)?", name):
                    yield f"line {node.lineno}: imports {name}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        head, dot, rest = called.partition(".")
        called = full.get(head, head) + dot + rest
        for pattern, allowed in CALLS.items():
            if module not in allowed and re.fullmatch(pattern, called):
                yield f"line {node.lineno}: calls {called}"
        for keyword in node.keywords:
            safe = isinstance(keyword.value, ast.Constant) and not keyword.value.value
            if keyword.arg in ("allow_pickle", "trust_remote_code", "shell") and not safe:
                yield f"line {node.lineno}: {keyword.arg}"
        constant = node.args and isinstance(node.args[0], ast.Constant)
        if called.endswith("import_module") and not constant and module not in CHOSEN_IMPORTS:
            yield f"line {node.lineno}: imports what a value names"


def test_nothing_dangerous_in_the_source() -> None:
    """Oracle: the tables above."""
    found = {
        module: list(violations(path.read_text(encoding="utf-8"), module)) for module, path in MODULES.items()
    }
    assert {module: lines for module, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\nx = torch.load('a.pt', weights_only=True)",
        "from torch import load as read\nread('a.pt')",
        "import torch as t\nt.load('a.pt')",
        "import torch.hub\ntorch.hub.load('a', 'b')",
        "import numpy as np\nnp.load('a.npy', allow_pickle=True)",
        "import numpy as np\nnp.load('a.npy', allow_pickle=flag)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "import yaml\nyaml.unsafe_load(text)",
        "eval('1')",
        "exec(text)",
        "__import__(name)",
        "import importlib\nimportlib.import_module(name)",
        "import subprocess",
        "import os\nos.system('ls')",
        "import os\nos.execv('ls', [])",
        "from urllib import request",
        "import socket",
        "accelerator.load_state('folder')",
        "pickle.loads(data)",
    ],
)
def test_the_search_finds(line: str) -> None:
    """Oracle: lines that it must find, so that the test above proves something."""
    assert list(violations(line, "core/anything.py"))


def test_pickle_is_imported_for_its_constants_alone() -> None:
    """Oracle: the names of its opcodes are in capitals, those of its functions and classes are not."""
    tree = ast.parse(MODULES["core/interop/reading/pickles.py"].read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle"
    }
    assert used
    assert all(name.isupper() for name in used)


def test_loaders_of_yaml_build_plain_values() -> None:
    """Oracle: PyYAML's safe loader, whose constructors, and no others, ours have."""
    for loader in (PlainLoader, presets._Loader):
        assert issubclass(loader, yaml.SafeLoader)
        assert loader.yaml_constructors == yaml.SafeLoader.yaml_constructors
        assert loader.yaml_multi_constructors == yaml.SafeLoader.yaml_multi_constructors


@pytest.mark.parametrize("depth", [30, 3000])
def test_yaml_stays_as_small_as_its_text(depth: int) -> None:
    """Closed form: each line doubles the one before, so that 30 lines would be 2**30 values if they were written out.

    As references they cost nothing; as merged keys they would, and are refused.
    """
    references = "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, depth))
    found = read_yaml("a0: &a0 [1]\n" + references)
    assert found[f"a{depth - 1}"][0] is found[f"a{depth - 1}"][1]
    merged = "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, depth))
    with pytest.raises(yaml.YAMLError, match="<< is not read"):
        read_yaml("a0: &a0 {x: 1}\n" + merged)
