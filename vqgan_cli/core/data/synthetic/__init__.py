"""Built-in picture sets that need no files: `synthetic:<name>` wherever data is named."""

from __future__ import annotations

from vqgan_cli.core.data.synthetic.base import Drawing, SyntheticSet
from vqgan_cli.core.data.synthetic.faces import Faces
from vqgan_cli.core.data.synthetic.scenes import Scenes

__all__ = ["SYNTHETIC_SETS", "Drawing", "SyntheticSet"]

_SETS: tuple[SyntheticSet, ...] = (Faces(), Scenes())

SYNTHETIC_SETS: dict[str, SyntheticSet] = {each.name: each for each in _SETS}
