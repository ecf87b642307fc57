"""Tokenizers of taming-transformers and latent-diffusion, which share their names and nearly have ours."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from vqgan_cli.core.config import MapsConfig, QuantizerConfig, TokenizerConfig
from vqgan_cli.core.config.data import DataKind
from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.architecture import image_size, read_tokenizer_config, require_fit
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.imported import FirstStage, Imported
from vqgan_cli.core.interop.layouts import Layout
from vqgan_cli.core.interop.taming_config import (
    Described,
    errors_of,
    number,
    require_agreement,
    tokenizer_config,
    validated,
)
from vqgan_cli.core.interop.taming_names import tokenizer_from_taming
from vqgan_cli.core.interop.used_codes import keep_used

__all__ = ["LAYOUTS", "MAP_KEYS", "ConvertedTokenizer", "convert_tokenizer", "maps_of"]

MAP_KEYS: dict[str, DataKind] = {
    "image": "image",
    "segmentation": "segmentation",
    "depth": "depth",
    "edge": "edges",
    "edges": "edges",
    "canny": "edges",
    "stickman": "keypoints",
    "keypoints": "keypoints",
    "pose": "keypoints",
    "low_res": "lowres",
    "lr": "lowres",
    "LR": "lowres",
}
"""Kinds of data by the keys (``image_key``, ``cond_stage_key``) under which batches hold them there."""

_PARTS = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")

_QUANTIZERS = {
    "VQModel": "vq",
    "VQModelInterface": "vq",
    "VQSegmentationModel": "vq",
    "VQNoDiscModel": "vq",
    "EMAVQ": "ema",
    "GumbelVQ": "gumbel",
}
"""Kinds of quantizers by the class that a config names."""

_DEPTH_NOTE = (
    "its depth maps are inverse depth as MiDaS 2.0 gives it, large where near, each scaled to its own range: give such "
    "values as .npy or 16-bit png, and invert depth in metres first"
)

_LABELS = {
    151: "151 classes as published are those of ADE20K: 0 is unknown, 1 to 150 its objects",
    182: "182 classes as published are those of COCO-Stuff as DeepLab v2 predicts them, 0 to 181",
    183: "183 classes as published are those of COCO-Stuff's files plus one; 255, unlabelled, becomes 0",
}


class ConvertedTokenizer(NamedTuple):
    """A tokenizer in our terms, and what is to be said of it."""

    stage: FirstStage
    notes: tuple[str, ...]


def convert_tokenizer(
    ledger: Ledger,
    described: Described,
    *,
    prefix: str = "",
    resolution: int | None = None,
    kind: DataKind | None = None,
    codebook_size: int | None = None,
) -> ConvertedTokenizer:
    """Take a tokenizer's tensors and drop what only its training needed.

    Args:
        ledger: with the checkpoint's tensors.
        described: the tokenizer in the config; empty without one.
        prefix: of the names of all of its tensors, with the dot.
        resolution: image side that levels with attention are named by; None: that of the config, else 256.
        kind: of its data; None: by its channels and by the config's ``image_key``.
        codebook_size: rows to keep of a codebook with ``quantize.used``: as many as are used (also None), or all.

    Raises:
        ModelError: it is no such tokenizer, or its config contradicts it.
        UsageError: ``codebook_size`` is neither.
    """
    with errors_of(prefix):
        ddconfig, params = described.section("ddconfig"), described.params
        labels = f"{prefix}colorize" in ledger or params.get("n_labels") is not None
        ledger.drop_below(f"{prefix}loss.discriminator.", "the discriminator, which only training needs")
        ledger.drop_below(
            f"{prefix}loss.", "the network of the perceptual distance, which only training needs"
        )
        ledger.drop([f"{prefix}colorize"], "random colours that label maps were shown in")
        state, notes = _weights(ledger, prefix)
        used = state.pop("quantize.used", None)
        state = tokenizer_from_taming(state)
        config = read_tokenizer_config(
            state, resolution=resolution or int(number(ddconfig, "resolution", 0)) or 256
        )
        _require_described(config, described)
        if used is not None:
            config, more = keep_used(config, state, used, codebook_size)
            notes += more
        config = config.model_copy(
            update={"dropout": number(ddconfig, "dropout", 0.0), "quantizer": _quantizer(config, params)}
        )
        validated(TokenizerConfig, **config.model_dump())
        require_fit(config, state)
        kind = _kind(config, params, labels, kind)
        if kind == "depth":
            notes += (_DEPTH_NOTE,)
        elif kind == "segmentation" and config.in_channels in _LABELS:
            notes += (_LABELS[config.in_channels],)
        return ConvertedTokenizer(FirstStage(config, state, kind, _loss(kind, described)), notes)


def maps_of(kind: str) -> MapsConfig:
    """How maps of a kind are read where they are as published."""
    # The original scales each map from its least to its largest value, and knows no unknown pixels.
    return MapsConfig(depth_unknown=None) if kind == "depth" else MapsConfig()


def _convert(foreign: Foreign, ledger: Ledger) -> Imported:
    described = tokenizer_config(foreign.config)
    wanted = foreign.setting("tokenizer.resolution")
    resolution = (
        (wanted if _is_size(wanted) else None)
        or int(number(described.section("ddconfig"), "resolution", 0))
        or (foreign.setting("data.size") if _is_size(foreign.setting("data.size")) else 256)
    )
    kind, size = foreign.setting("data.kind"), foreign.setting("tokenizer.codebook_size")
    stage, notes = convert_tokenizer(
        ledger,
        described,
        resolution=resolution,
        kind=kind if kind in MAP_KEYS.values() else None,
        codebook_size=size if _is_size(size) else None,
    )
    return Imported(
        image_size=image_size(foreign, stage.config.downsampling, resolution),
        tokenizer=stage,
        maps=maps_of(stage.kind),
        notes=notes,
    )


def _weights(ledger: Ledger, prefix: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tokenizer's tensors without the prefix: averages (`LitEma`) where there are some, else as trained.

    The averages' names are those of the parameters without the dots. Buffers have none.
    """
    names = [name for name in ledger if name.startswith(tuple(prefix + part for part in _PARTS))]
    averages = {name: f"{prefix}model_ema.{name.removeprefix(prefix).replace('.', '')}" for name in names}
    averaged = [name for name in names if averages[name] in ledger]
    state = {
        name.removeprefix(prefix): ledger.take(averages[name] if averages[name] in ledger else name)
        for name in names
    }
    ledger.drop(averaged, "weights of the last step: the running averages of them (model_ema) are used")
    ledger.drop_below(f"{prefix}model_ema.", "averages of networks of the training loss, and their own count")
    if not averaged:
        return state, ()
    return state, (
        f"the running averages of the weights (model_ema) are used, for {len(averaged)} of {len(names)} tensors",
    )


def _quantizer(config: TokenizerConfig, params: Any) -> QuantizerConfig:
    """The quantizer with what no tensor tells; the defaults are those of the original code."""
    kind = config.quantizer.kind
    values: dict[str, Any] = {"kind": kind, "commitment_weight": number(params, "beta", 0.25)}
    if kind == "vq":
        values["legacy"] = params.get("legacy") is not False
    elif kind == "ema":
        values["dead_code_threshold"] = 0.0  # no code restarts there
    else:
        schedule = Described("", params).part("temperature_scheduler_config").params
        values["kl_weight"] = number(params, "kl_weight", 1e-8)
        if "lr_max" in schedule:  # half a cosine
            values["temperature"] = number(schedule, "lr_max", 1.0)
            values["temperature_end"] = number(schedule, "lr_min", 1e-6)
            values["temperature_steps"] = int(number(schedule, "max_decay_steps", 0))
    return validated(QuantizerConfig, **values)


def _require_described(config: TokenizerConfig, described: Described) -> None:
    """Raise ModelError where the config contradicts the tensors, or asks for what no tensor shows."""
    ddconfig, params = described.section("ddconfig"), described.params
    levels = range(len(config.channel_multipliers))
    found = {
        "in_channels": config.in_channels,
        "out_ch": config.out_channels,
        "ch": config.channels,
        "ch_mult": config.channel_multipliers,
        "num_res_blocks": config.res_blocks,
        "z_channels": config.z_channels,
    }
    require_agreement(ddconfig, found)
    require_agreement(params, {"embed_dim": config.codebook_dim, "n_embed": config.codebook_size})
    require_agreement(
        {"the quantizer": _QUANTIZERS.get(described.target)}, {"the quantizer": config.quantizer.kind}
    )
    attention = ddconfig.get("attn_resolutions")
    resolution = int(number(ddconfig, "resolution", 0))
    if resolution and isinstance(attention, list | tuple):
        said = [level for level in levels if resolution >> level in attention]
        seen = [level for level in levels if config.resolution >> level in config.attention_resolutions]
        require_agreement({"levels with attention": said}, {"levels with attention": seen})
    if "attn_type" in ddconfig:
        without = {"attn_type none": ddconfig["attn_type"] == "none"}
        require_agreement(without, {"attn_type none": not config.mid_attention})
    for key, only in (("tanh_out", False), ("give_pre_end", False), ("resamp_with_conv", True)):
        if ddconfig.get(key) not in (None, only):
            raise ModelError(f"{key} is {ddconfig[key]} in the config, a variant that cannot be represented")


def _kind(config: TokenizerConfig, params: Any, labels: bool, wanted: DataKind | None) -> DataKind:
    given, made = config.in_channels, config.out_channels
    if given != made:
        raise ModelError(
            f"the tokenizer reads {given} channels and makes {made}, which cannot be represented: they must be equal"
        )
    if labels and given in (1, 3):
        raise ModelError(
            f"the tokenizer is one of label maps with {given} classes, which cannot be represented: here one channel "
            "means a value, and three mean a picture"
        )
    if given != 3:
        kind: DataKind = "depth" if given == 1 else "segmentation"
    else:
        kind = wanted or MAP_KEYS.get(str(params.get("image_key")), "image")
        kind = "image" if wanted is None and kind in ("segmentation", "depth") else kind  # coloured ones
    if kind != (wanted or kind) or (given == 3 and kind in ("segmentation", "depth")):
        raise ModelError(f"a tokenizer of {given} channels is not one of {wanted} maps")
    return kind


def _loss(kind: DataKind, described: Described) -> str:
    if kind == "segmentation":
        return "bce"
    return "l2" if described.part("lossconfig").params.get("pixel_loss") == "l2" else "l1"


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_NETWORK = (r"encoder\.down\.0\.block\.0\.norm1\.", r"decoder\.up\.0\.block\.0\.", r"quant_conv\.")

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "diffusion model of latent-diffusion",
        (r"model\.diffusion_model\.", r"first_stage_model\."),
        refusal="it draws by diffusion, not codes; the tokenizers of these models were published by themselves",
    ),
    Layout(
        "taming-transformers GumbelVQ",
        (*_NETWORK, r"quantize\.proj\.weight$", r"quantize\.embed\.weight$"),
        _convert,
    ),
    Layout("taming-transformers EMAVQ", (*_NETWORK, r"quantize\.embedding\.cluster_size$"), _convert),
    Layout(
        "taming-transformers VQSegmentationModel",
        (*_NETWORK, r"quantize\.embedding\.weight$", r"colorize$"),
        _convert,
    ),
    Layout(
        "taming-transformers or latent-diffusion VQModel",
        (*_NETWORK, r"quantize\.embedding\.weight$"),
        _convert,
    ),
    Layout(
        "Kullback-Leibler autoencoder of latent-diffusion",
        _NETWORK,
        refusal="it has no codebook, so its latents are no codes",
        never=(r"quantize\.",),
    ),
)
"""In the order in which they are to be tried."""
