"""What a model file says about itself, read and checked without its weights.

It may come from anywhere, so nothing is built by what it says before that is known to be possible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.published.names import missing_model, pulled_folder
from vqgan_cli.core.schema import problems_of

if TYPE_CHECKING:
    from vqgan_cli.core.models.priors import PriorSpec

__all__ = [
    "MODEL_FILE",
    "AboutPrior",
    "ModelInfo",
    "about_prior",
    "prior_spec",
    "read_model_info",
    "resolve_model",
]

MODEL_FILE = "model.safetensors"

V = TypeVar("V")

_JSON_OBJECT = TypeAdapter(dict[str, Any])
_MAX_CELLS = 2**20
_IMPORT = "if it is another project's: `vqgan import FILE -o FOLDER` makes a model of it and executes nothing"


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about itself.

    Attributes:
        path: the file.
        format: kind and version of the file, such as ``vqgan-tokenizer/1``.
        fingerprint: hash of the weights; codes remember by it which tokenizer made them.
        config: the experiment that trained it.
        provenance: version, steps, data and metrics, as recorded.
        prior: of a transformer: the fields of its `PriorSpec`, names of classes, fingerprint of its tokenizer.
    """

    path: Path
    format: str
    fingerprint: str
    config: ExperimentConfig
    provenance: dict[str, Any]
    prior: dict[str, Any] = field(default_factory=dict)


class _Imported(BaseModel):
    model_config = ConfigDict(extra="allow")

    file: str
    layout: str
    sha256: str
    source: str | None = None


class _Provenance(BaseModel):
    """The types of what is shown to people; there may be more."""

    model_config = ConfigDict(extra="allow")

    version: str | None = None
    step: int | None = None
    images: int | None = None
    validation_images: int | None = None
    data: str | None = None
    classes: tuple[str, ...] = ()
    weights: str | None = None
    validation: dict[str, float | None] = {}
    imported: _Imported | None = None


@dataclass(frozen=True)
class AboutPrior:
    """What a transformer's file says besides its `PriorSpec`.

    Attributes:
        classes: names by label; empty for a model without classes.
        tokenizer_fingerprint: of the tokenizer whose codes it models.
        condition_fingerprint: of the tokenizer of its maps; empty without one.
    """

    classes: tuple[str, ...]
    tokenizer_fingerprint: str
    condition_fingerprint: str = ""


def resolve_model(path: Path | str) -> Path:
    """The weights file that a path or a name means: a file, a folder that holds ``model.safetensors``, or the name of a
    published model that was pulled.

    Raises:
        ModelError: there is none.
    """
    path = Path(path)
    if not path.exists():  # what exists wins over a name, so that nothing ever hides a user's own model
        folder = pulled_folder(path)
        if folder is None:
            raise missing_model(path)
        path = folder
    if path.is_dir():
        if (path / MODEL_FILE).is_file():
            return path / MODEL_FILE
        raise ModelError(
            f"{str(path)!r} holds no {MODEL_FILE}",
            hint="a run writes it at its first validation and when it ends; give a run folder or a weights file",
        )
    return path


def read_model_info(path: Path | str) -> ModelInfo:
    """Read a model's metadata without its weights.

    Raises:
        ModelError: it does not exist, is damaged, or was not written by this program.
    """
    path = resolve_model(path)
    try:
        with safe_open(path, "np") as file:  # no tensor is read, and "pt" would import torch
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error
    if "config" not in metadata or "format" not in metadata:
        raise ModelError(
            f"{str(path)!r} holds weights but no vqgan config, so it cannot be used by itself", hint=_IMPORT
        )
    try:
        config = ExperimentConfig.model_validate_json(metadata["config"])
        provenance = _JSON_OBJECT.validate_json(metadata.get("provenance", "{}"))
        _Provenance.model_validate(provenance)
        prior = _JSON_OBJECT.validate_json(metadata.get("prior", "{}"))
    except ValidationError as error:
        if error.title != ExperimentConfig.__name__:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            problem = f"{where}: {first['msg']}" if where else first["msg"]
            raise ModelError(f"the provenance inside {str(path)!r} is damaged: {problem}") from error
        problems = "; ".join(problems_of(error))
        raise ModelError(f"the config inside {str(path)!r} does not fit this version: {problems}") from error
    info = ModelInfo(path, metadata["format"], metadata.get("fingerprint", ""), config, provenance, prior)
    if prior:
        about_prior(info)
    return info


def _unreadable(path: Path, error: Exception) -> ModelError:
    """What a file is that is no safetensors file, from its first bytes."""
    try:
        with path.open("rb") as file:
            pickled = file.read(4).startswith((b"PK\x03\x04", b"\x80"))  # the two formats of torch.save
    except OSError:
        pickled = False
    if pickled:
        return ModelError(
            f"{str(path)!r} is a pickle, as torch.save writes it, which could run a program; nothing of it was read",
            hint=_IMPORT,
        )
    return ModelError(f"{str(path)!r} is not a readable safetensors file: {error}")


def prior_spec(info: ModelInfo) -> PriorSpec:
    """What the prior of a transformer file models.

    Raises:
        ModelError: the file does not say, or says what cannot be.
    """
    from vqgan_cli.core.models.priors import PriorSpec

    described = {name: value for name, value in info.prior.items() if name in PriorSpec.__dataclass_fields__}
    spec = _described(info, TypeAdapter(PriorSpec), described)
    # The order of the cells is computed, and so costs memory before anything is compared with the weights.
    sizes = (spec.codebook_size, *spec.grid)
    if min(sizes) < 1 or spec.condition_size < 0 or spec.cells > _MAX_CELLS:
        raise ModelError(f"the prior inside {str(info.path)!r} has an impossible size: {described}")
    return spec


def about_prior(info: ModelInfo) -> AboutPrior:
    """What the file of a transformer says besides; raises as `prior_spec`."""
    return _described(info, TypeAdapter(AboutPrior), info.prior)


def _described(info: ModelInfo, kind: TypeAdapter[V], values: Mapping[str, Any]) -> V:
    """What the file says of its prior, as a type."""
    try:
        return kind.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("prior", *first["loc"])))
        raise ModelError(
            f"{where} inside {str(info.path)!r} does not fit this version: {first['msg']}"
        ) from error
