"""Which images a call of generate draws, and what it says of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from vqgan_cli.core.artifacts import Transformer
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.generation.class_names import ClassNames
from vqgan_cli.core.generation.completion import visible_share
from vqgan_cli.core.generation.templates import Template
from vqgan_cli.core.generation.work import Share
from vqgan_cli.core.reporting import Reporter

__all__ = ["announce", "asked_classes", "plan_shares"]


def asked_classes(classes: Sequence[str | int], names: ClassNames, *, by_class: bool) -> list[int]:
    """The numbers of classes that were asked for, each once, in their order.

    Args:
        classes: numbers, or texts as of ``--class``, see `ClassNames.find`.
        names: of the model's classes.
        by_class: whether the model draws by class.

    Raises:
        UsageError: the model does not have such a class, or none at all.
    """
    if not by_class:
        asked = ", ".join(map(str, classes))
        raise UsageError(f"class {asked}: this model was trained without classes", hint="leave it out")
    if not classes:
        raise UsageError("no classes are named")
    found: list[int] = []
    for each in classes:
        if isinstance(each, str):
            found += names.find(each)
        elif 0 <= each < names.count:
            found.append(int(each))
        else:
            raise UsageError(f"class {each}: the model has {names.count} classes, 0 to {names.count - 1}")
    return list(dict.fromkeys(found))


def plan_shares(
    templates: Sequence[Template],
    model: Transformer,
    names: ClassNames,
    *,
    labels: Sequence[int] | None,
    images: int,
    keep: float | None,
    seed: int,
) -> list[Share]:
    """Which images to draw: of each template, class by class.

    Args:
        templates: what images start from.
        model: by class or not.
        names: of its classes.
        labels: classes that are wanted; None: all in turn, in an order drawn from the seed.
        images: images of each template and of each class that is named; else of each template.
        keep: share of the candidates that stays after rejection; None: no rejection.
        seed: of the order of classes.
    """
    wanted: dict[int | None, int]
    if model.prior.spec.condition != "class":
        wanted = {None: images}
    elif labels is not None:
        wanted = dict.fromkeys(labels, images)
    else:
        order = np.random.default_rng(seed).permutation(names.count)
        wanted = dict(Counter(int(order[i % len(order)]) for i in range(images)))
    plan = []
    first = 0
    for template in templates:
        for label, count in wanted.items():
            drawn = count if keep is None else max(count, round(count / keep))
            stem = f"{template.name}-" if template.name else ""
            name = None if label is None else names.name(label)
            if label is not None and name is not None:
                stem += f"{label:0{len(str(names.count - 1))}d}-{_slug(name)}-"
            files = [f"{stem}{number:04d}.png" for number in range(count)]
            plan.append(Share(template, label, name, count, drawn, first, files))
            first += drawn
    return plan


def _slug(name: str) -> str:
    """A class name as part of a file name."""
    return re.sub(r"[^\w]+", "-", name).strip("-")[:40]


def announce(plan: Sequence[Share], model: Transformer, reporter: Reporter) -> None:
    """Say what will be drawn."""
    images = sum(entry.images for entry in plan)
    drawn = sum(entry.drawn for entry in plan)
    what = "1 image" if images == 1 else f"{images} images"
    if drawn > images:
        what += f", the best of {drawn}"
    classes = ""
    labels = {entry.label: entry.name for entry in plan if entry.label is not None}
    if labels:
        shown = ", ".join(f"{label} ({name})" for label, name in list(labels.items())[:5])
        more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
        classes = f" of {'class' if len(labels) == 1 else 'classes'} {shown}{more}"
    f = model.tokenizer.downsampling
    sizes = sorted({entry.template.grid for entry in plan})
    size = " and ".join(f"{rows * f}x{columns * f}" for rows, columns in sizes[:3])
    size += ", ..." if len(sizes) > 3 else ""
    of_maps = ""
    if model.map_encoder is not None:
        count = len({entry.template.name for entry in plan})
        of_maps = f", by {count} {model.map_encoder.map_kind.name} map{'s' if count > 1 else ''}"
    reporter.info(f"{what}, {size} (height x width){classes}{of_maps}, model {model.info.path}")
    photo = plan[0].template.photo
    if photo is not None and photo.mask is not None:
        known = photo.known(0, 0) >= 0
        seen = visible_share(model.prior.config.order, known)
        reporter.info(
            f"{known.mean():.0%} of the codes are kept; {seen:.0%} of them come before the first one that is drawn "
            f"(order {model.prior.config.order}), and a code sees only what comes before it"
        )
