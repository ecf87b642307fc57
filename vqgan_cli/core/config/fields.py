"""Types of fields, and what all trainers share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Count", "Depth", "Fraction", "OptimisationConfig", "Positive", "Section", "Weight", "no_bool"]


def no_bool(value: Any) -> Any:
    """Refuse true and false where a number is expected: a mistyped `true` would pass as 1."""
    if isinstance(value, bool):
        raise ValueError("expected a number, not true or false")
    return value


Count = Annotated[int, BeforeValidator(no_bool), Field(ge=0)]
Positive = Annotated[int, BeforeValidator(no_bool), Field(gt=0)]
Depth = Annotated[int, BeforeValidator(no_bool), Field(ge=1, le=1000)]
"""Blocks one after the other: a file of a few bytes must not make a program build a billion of them."""
Fraction = Annotated[float, BeforeValidator(no_bool), Field(ge=0, le=1)]
Weight = Annotated[float, BeforeValidator(no_bool), Field(ge=0)]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, and values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class OptimisationConfig(Section):
    """Optimiser, schedule and intervals that all trainers share."""

    steps: Positive = Field(default=100_000, description="Optimiser steps.")
    batch_size: Positive = Field(default=8, description="Images per process and micro-batch.")
    accumulate: Positive = Field(default=1, description="Micro-batches per optimiser step.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        default=1e-4, description="Peak learning rate of Adam."
    )
    betas: tuple[Fraction, Fraction] = Field(default=(0.9, 0.95), description="Adam's decay rates.")
    weight_decay: Weight = Field(default=0.0, description="Decoupled weight decay (AdamW) when above 0.")
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="Learning rate after warm-up."
    )
    warmup_steps: Count = Field(default=0, description="Steps of linear warm-up.")
    final_learning_rate: Fraction = Field(
        default=0.0, description="cosine: the last learning rate as a share of the peak."
    )
    clip_norm: Weight = Field(default=0.0, description="Gradient norm is clipped to this; 0: no clipping.")
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Decay of the averaged weights that are saved as the model; 0: no average."
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="Autocast type of the networks."
    )
    compile: bool = Field(default=False, description="torch.compile the networks.")
    deterministic: bool = Field(
        default=False, description="Refuse nondeterministic kernels (slower on a GPU)."
    )
    seed: Count = Field(default=0, description="Seed of weights, data order, augmentation and noise.")
    log_every: Positive = Field(default=10, description="Steps between lines of log.jsonl.")
    sample_every: Count = Field(
        default=1000, description="Steps between pictures in samples/; 0: only at the end."
    )
    validate_every: Count = Field(default=1000, description="Steps between validations; 0: only at the end.")
    checkpoint_every: Count = Field(
        default=1000, description="Steps between checkpoints; 0: only at the end."
    )
    keep_checkpoints: Positive = Field(default=2, description="Newest checkpoints kept.")
