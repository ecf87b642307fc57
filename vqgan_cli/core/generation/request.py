"""What somebody asks a model to draw, whether in a command or in Python; whether it makes sense, whatever the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from vqgan_cli.core.config import ExperimentConfig, SamplingConfig
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.schema import problems_of

__all__ = ["CommandRequest", "Request", "require_sense"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to draw, and how. Sampling options that are None are the model's own.

    Attributes:
        images: images of each class that is named, or of each map; else in all.
        size: (height, width) in pixels; None: the training size.
        temperature: divides the logits; 0: greedy.
        top_k: draw among the k likeliest codes; 0: all.
        top_p: draw among the likeliest codes that together have this probability.
        guidance: classifier-free guidance scale; 1: none.
        guidance_schedule: ``constant``, ``linear`` or ``cosine``.
        stride: cells that the window moves at a time, for images larger than those of the training.
        max_batch: images, or cells of one large image, that are drawn at once.
        seed: of all random numbers.
        condition: maps for a model that draws by maps: file, folder, glob, list of paths, or codes file.
        from_images: ``condition`` names pictures, from which the maps are computed.
        complete: photo of which the ``known`` part is kept.
        known: which part that is, see `parse_known`.
        blend: keep the known pixels themselves, with a soft seam.
        variations: photo of which a share ``strength`` of the codes is drawn anew.
        strength: 0 to 1.
        keep: share of the candidates of a class that stays after rejection; None: no rejection.
        scorer: classifier for the rejection, see `load_scorer`; None: `DEFAULT_SCORER`.
    """

    images: int = 8
    size: tuple[int, int] | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    guidance: float | None = None
    guidance_schedule: str | None = None
    stride: int = 1
    max_batch: int = 16
    seed: int = 0
    condition: str | None = None
    from_images: bool = False
    complete: Path | None = None
    known: str = ""
    blend: bool = False
    variations: Path | None = None
    strength: float = 0.5
    keep: float | None = None
    scorer: str | None = None

    def called(self, field: str) -> str:
        """What messages call a field: as whoever asked did, which is by its name here."""
        return field


_OPTIONS = {"guidance": "--cfg", "guidance_schedule": "--cfg-schedule", "from_images": "--from-image"}
"""Options that are called otherwise than the field."""


class CommandRequest(Request):
    """A request by the options of ``vqgan generate``."""

    def called(self, field: str) -> str:
        """The option of a field."""
        return _OPTIONS.get(field) or "--" + field.replace("_", "-")


def require_sense(request: Request) -> None:
    """Refuse what no model could draw: values out of their bounds, and what contradicts or lacks something else.

    Raises:
        UsageError: with the fields as `Request.called` calls them.
    """
    called = request.called
    for field, least in (("images", 1), ("stride", 1), ("max_batch", 1), ("seed", 0)):
        if getattr(request, field) < least:
            raise UsageError(f"{called(field)} {getattr(request, field)} is below {least}")
    if not 0 <= request.strength <= 1:
        raise UsageError(f"{called('strength')} {request.strength:g} is not between 0 and 1")
    _require_sampling(request)
    if request.complete is not None and request.variations is not None:
        raise UsageError(
            f"{called('complete')} and {called('variations')} exclude each other: each starts from one photo"
        )
    if request.complete is not None and not request.known:
        raise UsageError(
            f"{called('complete')} needs {called('known')}: which part of the photo is kept",
            hint="such as top:0.5",
        )
    for field, needed in (("known", "complete"), ("blend", "complete"), ("from_images", "condition")):
        if getattr(request, field) and getattr(request, needed) is None:
            raise UsageError(f"{called(field)} is for {called(needed)}, which is not given")
    _require_rejection(request)


def _require_sampling(request: Request) -> None:
    """The bounds are those of the config."""
    given = {name: getattr(request, name) for name in SamplingConfig.model_fields}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        ExperimentConfig.model_validate({"sampling": given})
    except ValidationError as error:
        problems = problems_of(error, lambda key: request.called(key.removeprefix("sampling.")))
        raise UsageError("; ".join(problems)) from None


def _require_rejection(request: Request) -> None:
    called = request.called
    if request.keep is None:
        if request.scorer is not None:
            raise UsageError(
                f"{called('scorer')} chooses among candidates, which takes {called('keep')}",
                hint=f"such as {called('keep')} 0.05",
            )
        return
    if not 0 < request.keep <= 1:
        raise UsageError(f"{called('keep')} {request.keep:g} is not above 0 and at most 1")
    if request.complete is not None or request.variations is not None:
        raise UsageError(
            f"{called('keep')} chooses among images of a class, not of a photo", hint="leave it out"
        )
