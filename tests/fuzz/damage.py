"""Ways to damage a file and a document, for `hypothesis` and for `random` alike."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

from hypothesis import strategies as st

__all__ = ["changed", "damaged", "values"]

_EXTREMES = (b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\0\0\0\x80")


def damaged(data: bytes, rng: Random, other: bytes = b"") -> bytes:
    """One to four changes: bytes flipped, overwritten by extreme numbers, cut, doubled, put in, or of another file.

    Args:
        data: a file.
        rng: decides.
        other: a file to splice with; empty: none.
    """
    result = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(result) + 1)
        length = min(rng.choice((1, 2, 4, 16, 64, 1024)), max(1, len(result) // 2))
        match rng.randrange(8):
            case 0 | 1 if result:
                result[start % len(result)] ^= 1 << rng.randrange(8)
            case 2 if result:
                result[start % len(result)] = rng.randrange(256)
            case 3:
                result[start : start + 4] = rng.choice(_EXTREMES)
            case 4:
                del result[start : start + length]
            case 5:
                result[start:start] = result[start : start + length]
            case 6:
                result[start:start] = rng.randbytes(length)
            case 7 if other:
                result[start:] = other[rng.randrange(len(other) + 1) :]
            case _:
                del result[start:]
    return bytes(result)


_TEXTS = st.text(max_size=20) | st.sampled_from(["", ".", "..", "../x", "/x", "a/../../x", "\0"])
_NUMBERS = st.integers(-3, 9) | st.integers() | st.sampled_from([2**31, 2**63, 10**30])
_SCALARS = st.none() | st.booleans() | _NUMBERS | st.floats(allow_nan=False) | _TEXTS


def values() -> st.SearchStrategy[Any]:
    """Anything that JSON holds, and rather what somebody would try."""
    return st.recursive(
        _SCALARS,
        lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=8), each, max_size=4),
        max_leaves=8,
    )


def _instead(value: Any) -> st.SearchStrategy[Any]:
    """Anything, or another value of the same type, which gets further."""
    alike = {int: _NUMBERS, str: _TEXTS, float: st.floats(allow_nan=False)}.get(type(value), values())
    return alike if isinstance(value, dict | list) else alike | values()


@st.composite
def changed(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """A document of which one to three values, at any depth, are replaced, left out, or joined by another one."""
    result = copy.deepcopy(document)
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        places = list(_places(result))
        if not places:
            break
        # First which key, then where: what comes once for each of many images is not all that is tried.
        name = draw(st.sampled_from(sorted({str(key) for _, key in places})))
        parent, key = draw(st.sampled_from([place for place in places if str(place[1]) == name]))
        match draw(st.sampled_from(["replace", "replace", "leave out", "join"])):
            case "replace":
                parent[key] = draw(_instead(parent[key]))
            case "leave out":
                del parent[key]
            case "join" if isinstance(parent, dict):
                parent[draw(st.text(max_size=8))] = draw(values())
            case _:
                parent.append(draw(values()))
    return result


def _places(value: Any) -> Any:
    """Each container with each of its keys or indices."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])
