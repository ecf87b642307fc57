"""Which project wrote a checkpoint, by the names of its tensors. A new layout is a module and a line in ``LAYOUTS``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.imported import Imported

__all__ = ["Layout", "recognise"]


@dataclass(frozen=True)
class Layout:
    """One way of naming the tensors of a model.

    Attributes:
        name: project and class, such as ``taming-transformers VQModel``.
        signs: regular expressions; each must match (`re.match`, from the start) the name of some tensor.
        convert: reads the architecture and renames the tensors; it uses or drops all of them.
        refusal: why a checkpoint of this layout cannot be imported; empty where it can.
        never: regular expressions that no name may match.
    """

    name: str
    signs: tuple[str, ...]
    convert: Callable[[Foreign, Ledger], Imported] | None = None
    refusal: str = ""
    never: tuple[str, ...] = ()

    def missing(self, names: Iterable[str]) -> list[str]:
        """The signs that no name has, and ``no ...`` for names that must not be there; empty if it fits."""
        names = list(names)
        absent = [sign for sign in self.signs if not any(re.match(sign, name) for name in names)]
        return absent + [f"no {sign}" for sign in self.never if any(re.match(sign, name) for name in names)]


def recognise(foreign: Foreign, layouts: Iterable[Layout]) -> Layout:
    """The first layout whose signs a checkpoint has.

    Raises:
        ModelError: none fits, with what each would need; or the one that fits cannot be imported.
    """
    reasons = []
    for layout in layouts:
        missing = layout.missing(foreign.tensors)
        if missing:
            reasons.append((len(missing) / (len(layout.signs) + len(layout.never)), layout, missing))
        elif layout.refusal:
            raise ModelError(
                f"{str(foreign.path)!r} is a {layout.name}, which cannot be imported: {layout.refusal}"
            )
        else:
            return layout
    nearest = sorted((r for r in reasons if not r[1].refusal), key=lambda reason: reason[0])[:3]
    some = ", ".join(sorted(foreign.tensors)[:3])
    raise ModelError(
        f"{str(foreign.path)!r} holds {len(foreign.tensors)} tensors ({some} ...) in no layout that is known",
        hint="the nearest: "
        + "; ".join(
            f"{layout.name} would need {' and '.join(missing[:3])}" for _, layout, missing in nearest
        ),
    )
