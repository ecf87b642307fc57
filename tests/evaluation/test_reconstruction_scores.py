"""What is measured of a kind of images follows from what its maps hold."""

from __future__ import annotations

import numpy as np

from vqgan_cli.core.config import MapsConfig
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.data.maps.edges import Edges
from vqgan_cli.core.evaluation.reconstruction_scores import (
    DepthScores,
    LabelScores,
    PictureScores,
    ValueScores,
    scores_for,
)


class Height(Edges):
    """Another kind of values, in the place of depth."""

    name = "depth"


def test_each_form_has_its_figures() -> None:
    kinds = {name: build_map_kind(name, MapsConfig()) for name in ("depth", "segmentation", "edges")}
    found = {name: type(scores_for(kind, 4, None, "")) for name, kind in kinds.items()}
    assert found == {"depth": DepthScores, "segmentation": LabelScores, "edges": PictureScores}
    assert type(scores_for(None, 0, None, "")) is PictureScores
    assert type(scores_for(Height(MapsConfig()), 0, None, "")) is ValueScores


def test_values_are_measured_by_their_error() -> None:
    """Oracle: closed form."""
    original = np.array([[-1, 0], [0.5, 1]], np.float32)
    assert ValueScores().count(original, original) == {"mean_error": 0}
    assert ValueScores().count(original, original * 0.5) == {"mean_error": (0.5 + 0.25 + 0.5) / 4}
