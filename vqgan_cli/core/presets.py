"""Presets: found, loaded, merged with overrides, validated, written.

A preset is one YAML file that spells out a whole experiment. It is found by name in the folder that ships with
the package, and a path to a user's own file works wherever a name does. Precedence: defaults < preset <
``--set section.key=value`` < named flags. Nothing in a file can execute: only plain YAML types are built.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.config.merging import merge
from vqgan_cli.core.errors import ConfigError, UsageError, did_you_mean
from vqgan_cli.core.plain_yaml import PlainLoader, read_yaml
from vqgan_cli.core.schema import problems_of

__all__ = [
    "dump",
    "load_preset",
    "overridden",
    "parse_override",
    "preset_names",
    "preset_path",
    "preset_summary",
    "read_overrides",
    "read_preset",
    "resolve",
]

_EXTENSIONS = (".yaml", ".yml")
_KEYS = "`vqgan presets keys` lists every key with its meaning."


def preset_names() -> list[str]:
    """The names of the presets that ship with the package, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def preset_path(name: str) -> Path:
    """The file of a preset.

    Args:
        name: a shipped preset, or the path of a YAML file (it ends in .yaml or .yml, or has a separator).

    Raises:
        UsageError: there is no such preset or no such file.
    """
    if name.endswith(_EXTENSIONS) or os.sep in name:
        path = Path(name).expanduser()
        if not path.is_file():
            raise UsageError(f"there is no preset file {name!r}", hint="`vqgan presets list` shows names.")
        return path
    names = preset_names()
    if name not in names:
        raise UsageError(
            f"unknown preset {name!r}{did_you_mean(name, names)}",
            hint=f"Presets: {', '.join(names)}; or give the path of a .yaml file.",
        )
    return _folder() / f"{name}.yaml"


def preset_summary(name: str) -> str:
    """The first line of a preset's header comment: what it is, in one sentence."""
    first_line = read_preset(name).partition("\n")[0]
    return first_line.lstrip("# ") if first_line.startswith("#") else ""


def read_preset(name: str) -> str:
    """The text of a preset, comments included.

    Args:
        name: as in `preset_path`.

    Raises:
        UsageError: there is no such preset, or the file cannot be read.
    """
    path = preset_path(name)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"preset file {name!r} is not UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"preset file {name!r} cannot be read: {error.strerror}") from None


def load_preset(name: str) -> dict[str, Any]:
    """What a preset file holds, not yet validated.

    Args:
        name: as in `preset_path`.

    Raises:
        UsageError: there is no such preset, or the file cannot be read.
        ConfigError: the file is not YAML, or gives a key twice; names the line.
    """
    try:
        raw = read_yaml(read_preset(name), _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_problems(error), where=f"preset {name!r}") from None
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(
            ["expected keys with values, such as `name: my-experiment`"], where=f"preset {name!r}"
        )
    return raw


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """``section.key=value`` as the path of the key and the value, read as YAML.

    Raises:
        UsageError: there is no ``=``, a part of the key is empty, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise UsageError(f"--set {text!r}: expected section.key=value, such as tokenizer.codebook_size=512")
    try:
        return path, read_yaml(value, _Loader)
    except yaml.YAMLError as error:
        problem = "; ".join(_yaml_problems(error))
        raise UsageError(f"--set {text!r}: the value is not valid YAML ({problem})") from None


def resolve(
    preset: str | None = None, overrides: Sequence[str] = (), flags: Mapping[str, Any] | None = None
) -> ExperimentConfig:
    """The validated config of a command line: defaults < preset < overrides < flags.

    Args:
        preset: name or path; None: the defaults.
        overrides: ``section.key=value`` each, as given to ``--set``; a later one wins.
        flags: dotted key -> value of a named flag; None means that the flag was not given.

    Raises:
        UsageError: there is no such preset.
        ConfigError: every problem of the file, the overrides and the flags, all at once.
    """
    raw = {} if preset is None else load_preset(preset)
    problems = []
    for override in overrides:
        try:
            raw = merge(raw, _nested(*parse_override(override)))
        except UsageError as error:
            problems.append(error.message)
    for key, value in (flags or {}).items():
        if value is not None:
            raw = merge(raw, _nested(tuple(key.split(".")), value))
    try:
        config = ExperimentConfig.model_validate(raw)
    except ValidationError as error:
        problems += problems_of(error)
    if problems:
        raise ConfigError(
            problems,
            where="the config"
            if preset is None
            else f"preset {preset!r}" + (" with --set" if overrides else ""),
            hint=_KEYS,
        )
    return config


def read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """What ``--set`` was given, ``section.key=value`` each, as nested sections; a later one wins.

    Raises:
        ConfigError: every text that is none, all at once.
    """
    raw: dict[str, Any] = {}
    problems = []
    for text in overrides:
        try:
            raw = merge(raw, _nested(*parse_override(text)))
        except UsageError as error:
            problems.append(error.message)
    if problems:
        raise ConfigError(problems, where="--set", hint=_KEYS)
    return raw


def overridden(config: ExperimentConfig, changes: Mapping[str, Any]) -> ExperimentConfig:
    """A config with nested sections of `read_overrides` laid over it.

    Raises:
        ConfigError: every problem of the result.
    """
    try:
        return ExperimentConfig.model_validate(merge(config.model_dump(mode="json"), changes))
    except ValidationError as error:
        raise ConfigError(problems_of(error), where="the config with --set", hint=_KEYS) from None


def dump(config: ExperimentConfig) -> str:
    """A config as YAML that `load_preset` reads back to an equal one; every key spelled out."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _folder() -> Path:
    package = Path(__file__).resolve().parents[1]
    shipped = package / "presets"  # a wheel
    return shipped if shipped.is_dir() else package.parent / "presets"  # a checkout or an editable install


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    for part in reversed(path):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def _yaml_problems(error: yaml.YAMLError) -> list[str]:
    if isinstance(error, _DuplicateKeysError):
        return error.problems
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return [f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"]
    return [str(error).replace("\n", " ")]


class _DuplicateKeysError(yaml.YAMLError):
    def __init__(self, problems: list[str]) -> None:
        super().__init__()
        self.problems = problems


class _Loader(PlainLoader):
    """Plain YAML types only, with two more differences from PyYAML: ``1e-4`` is a number, and a key given twice in
    one section, of which PyYAML silently keeps the last, is an error.
    """

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        duplicates = list(_duplicates(node, set()))
        if duplicates:
            raise _DuplicateKeysError(duplicates)
        return self.construct_document(node)


def _duplicates(node: yaml.Node, seen_nodes: set[int]) -> list[str]:
    # An alias refers to the node itself, possibly from inside it: each node is looked at once.
    if id(node) in seen_nodes:
        return []
    seen_nodes.add(id(node))
    problems = []
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            problems += _duplicates(item, seen_nodes)
    elif isinstance(node, yaml.MappingNode):
        first_line: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name in first_line:
                problems.append(f"line {line}: key {name!r} was given before, on line {first_line[name]}")
            elif name is not None:
                first_line[name] = line
            problems += _duplicates(value, seen_nodes)
    return problems


# YAML 1.1, which PyYAML reads, wants a point and a signed exponent; YAML 1.2 and everybody else do not.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """Lists on one line: ``channel_multipliers: [1, 1, 2, 2, 4]``."""


_Dumper.add_representer(
    list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)
