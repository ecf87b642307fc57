"""Properties of presets: how settings are merged, and what becomes of any text in their place."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.damage import changed, damaged, values
from tests.fuzz.efforts import attempted, efforts
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.config.merging import merge
from vqgan_cli.core.errors import ConfigError, UsageError
from vqgan_cli.core.presets import (
    dump,
    overridden,
    parse_override,
    preset_names,
    read_overrides,
    read_preset,
    resolve,
)
from vqgan_cli.core.schema import settings as all_settings

KEYS = st.sampled_from("abc")
SECTIONS = st.recursive(
    st.integers() | st.none(), lambda each: st.dictionaries(KEYS, each, max_size=3), max_leaves=10
)
DOCUMENTS = st.dictionaries(KEYS, SECTIONS, max_size=3)
KNOWN = [setting.key for setting in all_settings()]
PARTS = {part for key in KNOWN for part in key.split(".")}
CONFIG = resolve("demo")


def leaves(document: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value that is no section, or an empty one, with its path."""
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


@efforts
def test_merging_is_setting_one_key_after_the_other(effort: settings) -> None:
    """Oracle: every leaf of the changes is put at its path into a plain dict, over whatever is in the way there."""

    @effort
    @given(DOCUMENTS, DOCUMENTS)
    def holds(base: dict[str, Any], changes: dict[str, Any]) -> None:
        expected = copy.deepcopy(base)
        for path, value in leaves(changes):
            section = expected
            for part in path[:-1]:
                if not isinstance(section.get(part), dict):
                    section[part] = {}
                section = section[part]
            if value != {} or not isinstance(
                section.get(path[-1]), dict
            ):  # an empty section changes no section
                section[path[-1]] = value
        before = copy.deepcopy((base, changes))
        merged = merge(base, changes)
        assert merged == expected
        assert merge(merged, changes) == merged
        assert merge({}, base) == merge(base, {}) == base
        assert (base, changes) == before

    holds()


@efforts
def test_overrides_say_what_a_dict_says(effort: settings) -> None:
    """Oracle: the values that were written, as YAML, at the paths of their keys; the last one wins."""
    plain = (
        st.integers(-99, 99)
        | st.booleans()
        | st.none()
        | st.text("abc ", max_size=5)
        | st.lists(st.integers(0, 9))
    )
    paths = st.lists(KEYS, min_size=1, max_size=3).map(tuple)

    @effort
    @given(st.lists(st.tuples(paths, plain), max_size=5))
    def holds(given_: list[tuple[tuple[str, ...], Any]]) -> None:
        texts = [f"{'.'.join(path)}={json.dumps(value)}" for path, value in given_]
        found = read_overrides(texts)
        for number, (path, value) in enumerate(given_):
            later = [other for other, _ in given_[number + 1 :]]
            if any(path[: len(other)] == other or other[: len(path)] == path for other in later):
                continue
            section: Any = found
            for part in path:
                section = section[part]
            assert section == value
            assert parse_override(texts[number]) == (path, value)

    holds()


@efforts
def test_unknown_keys_are_all_named(effort: settings) -> None:
    """Invariant: every key that no section has is named with its section, beside whatever else is wrong."""
    sections = st.sampled_from(["", "data.", "tokenizer.", "train_ae.perceptual.", "transformer."])
    names = st.text("abcdefxyz_", min_size=1, max_size=10).filter(lambda name: name not in PARTS)

    @effort
    @given(st.lists(st.tuples(sections, names), min_size=1, max_size=4), st.booleans())
    def holds(unknown: list[tuple[str, str]], beside: bool) -> None:
        keys = [section + name for section, name in unknown]
        overrides = [f"{key}=1" for key in keys] + ["train_ae.batch_size=0"] * beside
        error = attempted(lambda: resolve("demo", overrides))
        assert isinstance(error, ConfigError)
        for key in keys:
            assert any(problem.startswith(f"{key}: unknown key") for problem in error.problems), key
        assert len(error.problems) == len(set(keys)) + beside

    holds()


@efforts
def test_known_keys_with_any_value(effort: settings) -> None:
    """Invariant: a config that is written as it is read back, or errors that name the keys; twice is as once."""

    @effort
    @given(st.lists(st.tuples(st.sampled_from(KNOWN), values()), min_size=1, max_size=3))
    def holds(given_: list[tuple[str, Any]]) -> None:
        nested: dict[str, Any] = {}
        for key, value in given_:
            for part in reversed(key.split(".")):
                value = {part: value}
            nested = merge(nested, value)
        config = attempted(lambda: overridden(CONFIG, nested))
        if isinstance(config, ConfigError):
            assert config.problems
            assert all(len(problem) < 1000 for problem in config.problems)
            return
        assert ExperimentConfig.model_validate(yaml.safe_load(dump(config))) == config
        assert ExperimentConfig.model_validate_json(config.model_dump_json()) == config
        assert overridden(config, nested) == config
        key, value = given_[-1]
        found: Any = config.model_dump(mode="json")
        for part in key.split("."):
            found = found[part]
        assert found == value or isinstance(value, str)  # a number may be written as a text

    holds()


@efforts
def test_texts_for_overrides(effort: settings) -> None:
    """Invariant: a value or one error, of the project, for any text after --set."""
    start = st.sampled_from(
        ["", "a=", "data.size=", "tokenizer.channel_multipliers=", "a=&x ", "a={", "=", "."]
    )
    types = st.sampled_from(
        ["bool", "int", "float", "timestamp", "binary", "set", "omap", "merge", "null", "python/none"]
    )
    typed = st.builds("a=!!{} {}".format, types, st.text("0123456789:-.x' ", max_size=6))
    dates = st.builds("a={}-{}-{}".format, *[st.integers(0, 9999)] * 3)

    @effort
    @given(st.builds("{}{}".format, start, st.text(max_size=30)) | typed | dates)
    @example("a=" + "[" * 3000)
    def holds(text: str) -> None:
        found = attempted(lambda: parse_override(text))
        assert isinstance(found, UsageError) or all(found[0])

    holds()


@efforts
def test_damaged_presets(effort: settings, tmp_path: Path) -> None:
    """Invariant: a preset that ships, with bytes changed at will, is a config or errors of the project."""
    file = tmp_path / "mine.yaml"
    texts = [read_preset(name).encode() for name in preset_names()]

    @effort
    @given(st.randoms(use_true_random=False), st.sampled_from(texts), st.sampled_from(texts))
    def holds(rng: Any, text: bytes, other: bytes) -> None:
        file.write_bytes(damaged(text, rng, other))
        resolve_or_refuse(file)

    holds()


@efforts
def test_presets_of_any_content(effort: settings, tmp_path: Path) -> None:
    """Invariant: as above, for a preset with values of any kind in any place."""
    file = tmp_path / "mine.yaml"
    document = yaml.safe_load(dump(CONFIG))

    @settings(effort, max_examples=effort.max_examples // 3)  # a whole preset is written and read twice
    @given(changed(document))
    def holds(content: dict[str, Any]) -> None:
        assume(content != document)
        file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        resolve_or_refuse(file)

    holds()


def resolve_or_refuse(file: Path) -> None:
    config = attempted(lambda: resolve(str(file)))
    if isinstance(config, UsageError):
        assert "mine.yaml" in config.message
        return
    file.write_text(dump(config), encoding="utf-8")
    assert resolve(str(file)) == config
