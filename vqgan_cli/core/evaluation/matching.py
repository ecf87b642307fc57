"""Which class of a reference is the one that samples were drawn by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from vqgan_cli.core.generation.class_names import class_key

__all__ = ["match_classes"]


def match_classes(samples: Mapping[int, str], reference: Mapping[int, str]) -> dict[int, int]:
    """Class of the reference by class of the samples.

    Classes are the same if their names are, WordNet ids, capitals and underscores apart. Names that occur twice in a
    set say nothing, as two of ImageNet do. Where no name says that a number means something else, equal numbers are
    equal classes.

    Args:
        samples: name by class.
        reference: name by class.
    """
    ours, theirs = _unique(samples), _unique(reference)
    by_name = {ours[key]: theirs[key] for key in ours.keys() & theirs.keys()}
    same_numbers = {label: label for label in samples if label in reference}
    if not by_name:
        return same_numbers if all(name == str(label) for label, name in samples.items()) else {}
    if any(label != other for label, other in by_name.items()):
        return by_name
    doubled = samples.keys() - set(ours.values())
    return by_name | {label: label for label in doubled & same_numbers.keys()}


def _unique(classes: Mapping[int, str]) -> dict[str, int]:
    keys = {label: class_key(name) for label, name in classes.items()}
    seen = Counter(keys.values())
    return {key: label for label, key in keys.items() if seen[key] == 1}
