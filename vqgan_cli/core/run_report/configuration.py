"""A run's config as text with what differs from its preset, and what differs between configs of several runs."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import VqganError
from vqgan_cli.core.presets import dump, preset_names, resolve
from vqgan_cli.core.run_report.tables import table_html

__all__ = ["changed_keys", "config_html", "differing_keys"]

_LINE = re.compile(r"( *)([\w-]+):(?: (.*))?")


def changed_keys(config: ExperimentConfig) -> dict[str, Any] | None:
    """By dotted key, the preset's value where the config has another one; None where no shipped preset has its name."""
    if config.name not in preset_names():
        return None
    preset = resolve(config.name)
    if config.data.kind != "image":
        try:
            preset = preset.of_condition()
        except VqganError:
            return None
    theirs, ours = _flat(preset.model_dump(mode="json")), _flat(config.model_dump(mode="json"))
    return {key: theirs.get(key) for key, value in ours.items() if theirs.get(key) != value}


def differing_keys(configs: Sequence[ExperimentConfig | None]) -> dict[str, list[str]]:
    """By dotted key, the values of all configs where not all agree; those of no config are empty."""
    flat = [_flat(config.model_dump(mode="json")) if config else None for config in configs]
    keys = list(dict.fromkeys(key for each in flat if each for key in each))
    found = {}
    for key in keys:
        values = [each.get(key, "") for each in flat if each]
        if any(value != values[0] for value in values):
            found[key] = ["" if each is None or key not in each else _text(each[key]) for each in flat]
    return found


def config_html(config: ExperimentConfig) -> str:
    """The config as YAML, with marks where it differs from the preset."""
    changed = changed_keys(config)
    if changed is None:
        note = f"No preset named {config.name} ships with this version, so nothing is marked."
    elif not changed:
        note = f"Exactly the preset {config.name}."
    else:
        differ = "key differs" if len(changed) == 1 else "keys differ"
        note = f"{len(changed)} {differ} from the preset {config.name}; marked below."
    lines = [_marked(key, line, changed or {}) for key, line in _lines(dump(config))]
    ours = _flat(config.model_dump(mode="json"))
    rows = [(key, _text(ours[key]), _text(value)) for key, value in (changed or {}).items()]
    table = table_html(("key", "this run", "preset"), rows) if rows else ""
    return (
        f'<p>{html.escape(note)}</p>\n{table}\n<pre class="config" tabindex="0" role="region" aria-label="Config">'
        + "\n".join(lines)
        + "</pre>"
    )


def _marked(key: str, line: str, changed: Mapping[str, Any]) -> str:
    text = html.escape(line)
    if key not in changed:
        return text
    return f"<mark>{text}</mark>  <ins># preset: {html.escape(_text(changed[key]))}</ins>"


def _lines(text: str) -> list[tuple[str, str]]:
    """Each line of a config's YAML with the dotted key that it begins, empty for the rest of a long value."""
    path: list[tuple[int, str]] = []
    found = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            found.append(("", line))
            continue
        depth = len(match[1])
        path = [(at, name) for at, name in path if at < depth] + [(depth, match[2])]
        found.append((".".join(name for _, name in path), line))
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return str(value)
