"""YAML as plain values: nothing is executed, nothing grows, and whatever is wrong is one kind of error."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["PlainLoader", "read_yaml"]


class PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader without two ways to make a short text endless: a value that holds itself, and ``<<``, which
    copies one mapping into another and doubles its size each time.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """See `yaml.composer.Composer`."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            node = self.anchors.get(event.anchor)
            if node is not None and node.end_mark is None:  # still being composed
                raise yaml.MarkedYAMLError(problem="the value holds itself", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """See `yaml.constructor.SafeConstructor`."""
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem="<< is not read: write the keys themselves", problem_mark=key.start_mark
                )


def read_yaml(text: str, loader: type[PlainLoader] = PlainLoader) -> Any:
    """What a text holds, in plain types: mappings, lists, texts, numbers, truth values, dates, null.

    Raises:
        yaml.YAMLError: it is no YAML, or asks for anything else.
    """
    try:
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError:
        raise
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    # Values that do not fit the type they name: `!!bool 7` is a KeyError in PyYAML, 2000-13-01 a ValueError, ...
    except Exception as error:
        raise yaml.YAMLError(f"a value cannot be read ({type(error).__name__}: {error})") from None
