"""A plan of a training as rows of names and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vqgan_cli.core.planning.looking import DataFacts
    from vqgan_cli.core.planning.measuring import Speed
    from vqgan_cli.core.recipes.plan import PlanFacts, StageFacts

__all__ = ["plan_rows"]

Rows = list[tuple[str, str]]


def plan_rows(facts: PlanFacts) -> list[tuple[str, Rows]]:
    """Titles, each with names and values."""
    grid, f = facts.grid, facts.downsampling
    choice = [
        ("preset", facts.preset),
        ("image size", f"{facts.image_size} x {facts.image_size} pixels"),
        ("tokens", f"{grid} x {grid} = {grid * grid} per image (f = {f})"),
        ("codebook", f"{facts.codebook_size} codes"),
        ("condition", facts.condition),
        ("because", "; ".join(facts.reasons)),
    ]
    times = [(_stage_name(stage), _speed(stage.speed, stage.passes)) for stage in facts.stages]
    times.insert(-1, ("encoding", f"{_duration(facts.encoding_seconds)} for the codes of all images"))
    times.append(
        ("together", f"{_duration(facts.seconds)} on {facts.device}, validation and pictures not counted")
    )
    commands = [(str(number), stage.command) for number, stage in enumerate(facts.stages, 1)]
    return [("data", _images(facts.data)), ("choice", choice), ("time", times), ("commands", commands)]


def _images(data: DataFacts) -> Rows:
    sizes = [f"{h} x {w}" + (f" ({share:.0%})" if share < 1 else "") for (h, w), share in data.sizes]
    counts = sorted(data.classes.values())
    classes = f"{len(counts)}, {counts[0]} to {counts[-1]} images each" if counts else "none"
    smallest, median, largest = data.short_side
    rows = [
        (
            "images",
            "drawn as they are needed" if data.endless else f"{data.images}, {data.looked_at} looked at",
        ),
        ("unreadable", f"{len(data.unreadable)} of those looked at" if data.unreadable else ""),
        ("sizes", "any" if data.endless else "; ".join(sizes)),
        ("short side", "" if data.endless else f"{smallest} to {largest} pixels, median {median}"),
        ("colour", {0.0: "colour", 1.0: "gray"}.get(data.gray_share, f"{data.gray_share:.0%} gray")),
        ("classes", classes),
        ("maps", "; ".join(data.maps)),
    ]
    return [row for row in rows if row[1]]


def _stage_name(stage: StageFacts) -> str:
    return stage.command.partition(" --preset")[0].removeprefix("vqgan ")


def _speed(speed: Speed, passes: float | None) -> str:
    batch = f"{speed.batch_size} images" + (f" x {speed.accumulate}" if speed.accumulate > 1 else "")
    seen = "" if passes is None else f", {passes:.3g} passes"
    return (
        f"{_duration(speed.seconds)}: {speed.steps} steps of {batch}{seen}; {speed.images_per_second:.3g} images per "
        f"second, {speed.memory_gb:.2g} GB ({speed.steps_measured} steps measured)"
    )


def _duration(seconds: float) -> str:
    """In the two units that matter: ``3 days 4 h``, ``2 h 5 min``, ``3 min``, ``20 s``."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} days {hours} h" if days > 1 else f"{24 + hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
