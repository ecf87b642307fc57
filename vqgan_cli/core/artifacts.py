"""Model files: weights that carry their own config and provenance.

A model is one safetensors file. Its metadata holds a format name, the whole experiment's config as JSON, the
fingerprint of the weights, and provenance (version, steps, data). A folder that holds ``model.safetensors`` is
accepted wherever a model is, and so is the name of a published model that was pulled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import ModelError, OutputError
from vqgan_cli.core.files import staged_file
from vqgan_cli.core.model_info import (
    MODEL_FILE,
    ModelInfo,
    about_prior,
    prior_spec,
    read_model_info,
    resolve_model,
)

if TYPE_CHECKING:
    import torch

    from vqgan_cli.core.condition import MapEncoder
    from vqgan_cli.core.models.priors import Prior, PriorSpec
    from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = [
    "MODEL_FILE",
    "TOKENIZER_FORMAT",
    "TRANSFORMER_FORMAT",
    "ModelInfo",
    "Transformer",
    "fingerprint",
    "load_tokenizer",
    "load_transformer",
    "parameter_counts",
    "prior_spec",
    "read_model_info",
    "read_tokenizer",
    "resolve_model",
    "save_tokenizer",
    "save_transformer",
    "shapes_of",
]

TOKENIZER_FORMAT = "vqgan-tokenizer/1"
TRANSFORMER_FORMAT = "vqgan-transformer/1"

M = TypeVar("M", bound="torch.nn.Module")


@dataclass(frozen=True)
class Transformer:
    """A trained prior with its tokenizer, in evaluation mode and without gradients.

    Examples:
        >>> import torch
        >>> from vqgan_cli import load_transformer, sequence_order
        >>> model = load_transformer("runs/my-transformer")
        >>> codes = model.tokenizer.encode(torch.zeros(1, 3, 16, 16))
        >>> order = sequence_order(model.prior.config.order, *model.prior.spec.grid)
        >>> sequence = codes.flatten(1)[:, order]
        >>> label = torch.tensor([[model.classes.index("red")]])
        >>> model.prior(sequence[:, :-1], label).shape  # logits of each code, given those before it
        torch.Size([1, 64, 64])

    Attributes:
        info: what the file says.
        prior: the distribution of codes.
        tokenizer: codes to images.
        map_encoder: maps to condition codes; None for a model without maps.
        classes: names by label; empty for a model without classes.
    """

    info: ModelInfo
    prior: Prior
    tokenizer: Tokenizer
    map_encoder: MapEncoder | None
    classes: tuple[str, ...]


def fingerprint(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values of a state dict, in order of names; 64 hex digits."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        # A view of the bytes works for every type, bfloat16 included, which numpy does not know.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_tokenizer(
    path: Path, state: Mapping[str, torch.Tensor], config: ExperimentConfig, provenance: Mapping[str, Any]
) -> str:
    """Write a tokenizer's weights with everything needed to use them.

    Returns:
        The fingerprint of the weights.

    Raises:
        OutputError: the file cannot be written.
    """
    return _save(path, TOKENIZER_FORMAT, state, config, provenance)


def save_transformer(
    path: Path,
    prior: Mapping[str, torch.Tensor],
    tokenizer: Mapping[str, torch.Tensor],
    config: ExperimentConfig,
    spec: PriorSpec,
    classes: Sequence[str],
    provenance: Mapping[str, Any],
    map_encoder: MapEncoder | None = None,
) -> str:
    """Write a prior together with its tokenizers, so that one file is enough to make images.

    Args:
        path: the file.
        prior: state dict of the prior.
        tokenizer: state dict of the tokenizer whose codes it models.
        config: the experiment; its ``tokenizer`` section is that of the tokenizer, its ``condition`` that of the maps.
        spec: what the prior models.
        classes: names by label; empty without.
        provenance: version, steps, data and metrics.
        map_encoder: what makes the codes of its condition; None if that is no map.

    Returns:
        The fingerprint of all weights.

    Raises:
        OutputError: the file cannot be written.
    """
    state = {f"prior.{name}": tensor for name, tensor in prior.items()}
    state |= {f"tokenizer.{name}": tensor for name, tensor in tokenizer.items()}
    if map_encoder is not None and map_encoder.tokenizer is not None and config.condition.tokenizer == "own":
        state |= {f"condition.{name}": each for name, each in map_encoder.tokenizer.state_dict().items()}
    description = {
        **dataclasses.asdict(spec),
        "classes": list(classes),
        "tokenizer_fingerprint": fingerprint(tokenizer),
        "condition_fingerprint": map_encoder.fingerprint if map_encoder else "",
    }
    return _save(path, TRANSFORMER_FORMAT, state, config, provenance, prior=json.dumps(description))


def _save(
    path: Path,
    format: str,  # noqa: A002
    state: Mapping[str, torch.Tensor],
    config: ExperimentConfig,
    provenance: Mapping[str, Any],
    **more: str,
) -> str:
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    mark = fingerprint(tensors)
    metadata = {
        "format": format,
        "fingerprint": mark,
        "config": config.model_dump_json(),
        "provenance": json.dumps(dict(provenance)),
        **more,
    }
    with staged_file(path) as staging:
        try:
            save_file(tensors, staging, metadata)
        except SafetensorError as error:
            raise OutputError(f"cannot write {str(path)!r}: {error}") from error
        _sort_metadata(staging)
    return mark


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a safetensors file in order: it comes in another one each time, and the same model should be
    the same file.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(length)
        assert len(text) == length, "written otherwise than by safetensors"
        file.seek(8)
        file.write(text)


def load_tokenizer(path: Path | str, device: str | torch.device = "cpu") -> Tokenizer:
    """Load a tokenizer for encoding and decoding.

    Args:
        path: a weights file, or a run folder.
        device: where the weights go: ``cpu``, ``cuda``, or ``auto`` for the fastest that there is.

    Returns:
        The tokenizer in evaluation mode, without gradients; see its ``encode`` and ``decode``.

    Examples:
        >>> from vqgan_cli import load_tokenizer, read_images
        >>> tokenizer = load_tokenizer("runs/my-ae")
        >>> tokenizer.encode(read_images("photos", size=16, limit=2)).shape
        torch.Size([2, 8, 8])

    Raises:
        ModelError: the file is missing, damaged (the fingerprint does not match), or no tokenizer.
    """
    from vqgan_cli.core.models.tokenizer import Tokenizer, laid_out

    device = _device(device)
    info, state = _load(path, TOKENIZER_FORMAT)
    return laid_out(_filled(lambda: Tokenizer(info.config.tokenizer), state, info)).to(device)


def read_tokenizer(path: Path | str) -> tuple[ExperimentConfig, dict[str, torch.Tensor]]:
    """Config and tensors of a tokenizer's file; raises as `load_tokenizer`."""
    info, state = _load(path, TOKENIZER_FORMAT)
    return info.config, state


def load_transformer(path: Path | str, device: str | torch.device = "cpu") -> Transformer:
    """Load a prior and its tokenizer for sampling.

    Args:
        path: a weights file, or a run folder.
        device: where the weights go: ``cpu``, ``cuda``, or ``auto`` for the fastest that there is.

    Examples:
        >>> from vqgan_cli import load_transformer
        >>> model = load_transformer("runs/my-transformer")
        >>> model.prior.spec.grid, model.classes
        ((8, 8), ('blue', 'red'))

    Raises:
        ModelError: the file is missing, damaged (the fingerprint does not match), or no transformer.
    """
    from vqgan_cli.core.models.priors import build_prior
    from vqgan_cli.core.models.tokenizer import Tokenizer, laid_out

    device = _device(device)
    info, state = _load(path, TRANSFORMER_FORMAT)
    about = about_prior(info)
    parts = {
        part: {name.removeprefix(part): tensor for name, tensor in state.items() if name.startswith(part)}
        for part in ("prior.", "tokenizer.", "condition.")
    }
    prior = _filled(lambda: build_prior(info.config.transformer, prior_spec(info)), parts["prior."], info).to(
        device
    )
    tokenizer = laid_out(_filled(lambda: Tokenizer(info.config.tokenizer), parts["tokenizer."], info)).to(
        device
    )
    map_encoder = None
    condition = info.config.condition
    if condition.map_kind is not None:
        from vqgan_cli.core.condition import MapEncoder
        from vqgan_cli.core.data.maps import build_map_kind

        reader = {"own": None, "same": tokenizer, "none": None}[condition.tokenizer]
        if condition.tokenizer == "own":
            stage = condition.first_stage
            if stage is None:
                raise ModelError(f"the config inside {str(info.path)!r} lacks condition.first_stage")
            reader = laid_out(_filled(lambda: Tokenizer(stage.tokenizer), parts["condition."], info)).to(
                device
            )
        map_kind = build_map_kind(condition.map_kind, info.config.data.maps)
        map_encoder = MapEncoder(map_kind, reader, tokenizer.downsampling, about.condition_fingerprint)
    return Transformer(info, prior, tokenizer, map_encoder, about.classes)


def _device(device: str | torch.device) -> torch.device:
    from vqgan_cli.core.device import resolve_device

    return resolve_device(device) if isinstance(device, str) else device


def _load(path: Path | str, format: str) -> tuple[ModelInfo, dict[str, torch.Tensor]]:  # noqa: A002
    from safetensors.torch import load_file

    info = read_model_info(path)
    if info.format != format:
        kind = format.partition("/")[0].removeprefix("vqgan-")
        raise ModelError(f"{str(info.path)!r} is a {info.format} file, not a {kind} ({format})")
    try:
        state = load_file(info.path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{str(info.path)!r} is damaged: {error}") from error
    if fingerprint(state) != info.fingerprint:
        raise ModelError(
            f"{str(info.path)!r} is damaged: its weights do not match the fingerprint {info.fingerprint[:12]}",
            hint="copy the file again, or resume the run to write it anew",
        )
    return info, state


def parameter_counts(info: ModelInfo) -> dict[str, int]:
    """Number of trained values in each part, for which no weight is read: of a transformer ``prior``, then ``encoder``,
    ``quantizer``, ``decoder`` and the convolutions between them.

    Raises:
        ModelError: what the file says asks for sizes that cannot be.
    """
    from vqgan_cli.core.models.priors import build_prior
    from vqgan_cli.core.models.tokenizer import Tokenizer

    tokenizer = shapes_of(lambda: Tokenizer(info.config.tokenizer), info)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in tokenizer.named_children()}
    if info.format == TRANSFORMER_FORMAT:
        prior = shapes_of(lambda: build_prior(info.config.transformer, prior_spec(info)), info)
        counts = {"prior": sum(p.numel() for p in prior.parameters()), **counts}
    return counts


def shapes_of(build: Callable[[], M], info: ModelInfo) -> M:
    """A module of a model file without its weights, which takes neither memory nor time for random ones.

    Raises:
        ModelError: what the file says asks for sizes that cannot be.
    """
    import torch

    try:
        with torch.device("meta"):
            return build()
    # By all these names torch and its modules refuse them.
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise ModelError(f"the config inside {str(info.path)!r} has impossible sizes: {error}") from error


def _filled(build: Callable[[], M], state: Mapping[str, torch.Tensor], info: ModelInfo) -> M:
    # Shapes first, then the file's own tensors in their places: no second copy.
    module = shapes_of(build, info)
    try:
        module.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ModelError(f"the weights in {str(info.path)!r} do not fit their own config: {error}") from error
    return module.eval().requires_grad_(False)
