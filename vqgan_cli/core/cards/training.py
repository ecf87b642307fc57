"""How a model was trained and what was measured, as rows of a card."""

from __future__ import annotations

from collections.abc import Mapping

from vqgan_cli.core.config import TrainAEConfig
from vqgan_cli.core.model_info import ModelInfo

__all__ = ["figure_rows", "training_rows"]

_OF_TOKENIZERS = {
    "l1": "mean absolute error of pixels in [-1, 1]",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "perceptual": "perceptual distance of the training loss",
    "cross_entropy": "cross-entropy (nats per pixel)",
    "accuracy": "pixels of the right class, share",
    "loss": "loss by which models of one run are compared",
    "codebook_usage": "codes used, share",
    "perplexity": "perplexity of the codes",
    "codes_never_used": "codes never used",
}
_OF_PRIORS = {
    "loss": "negative log-likelihood (nats per code)",
    "bits_per_pixel": "the same in bits per pixel",
    "accuracy": "codes that were the likeliest, share",
}


def training_rows(info: ModelInfo, *, transformer: bool) -> list[tuple[str, str]]:
    """Steps and settings."""
    config = info.config
    settings = config.train_transformer if transformer else config.train_ae
    schedule: str = settings.schedule
    if settings.warmup_steps:
        schedule += f", {settings.warmup_steps:,} steps of warm-up"
    if not transformer and config.train_ae.scale_learning_rate:
        schedule += ", times the images of a step"
    rows = [
        ("steps", f"{info.provenance.get('step'):,} of {settings.steps:,}"),
        ("batch", f"{settings.batch_size} images x {settings.accumulate} micro-batches, per process"),
        ("learning rate", f"{settings.learning_rate:g} ({schedule}), Adam's betas {list(settings.betas)}"),
        ("weight decay", f"{settings.weight_decay:g}"),
        ("precision", settings.precision),
        ("seed", str(settings.seed)),
        (
            "weights",
            f"running average, decay {settings.ema_decay:g}"
            if info.provenance.get("weights") == "average"
            else "of the last step",
        ),
    ]
    if not transformer:
        rows.append(("loss", _loss(config.train_ae)))
        return rows
    training = config.train_transformer
    rows.append(("views of each image", training.augmentation))
    if config.condition.kind != "none":
        rows.append(("condition left out", f"{config.condition.dropout:.0%} of the images"))
    return rows


def _loss(settings: TrainAEConfig) -> str:
    terms: list[str] = [settings.reconstruction]
    perceptual, adversarial = settings.perceptual, settings.adversarial
    if perceptual.kind != "none" and perceptual.weight > 0:
        terms.append(f"{perceptual.weight:g} x {perceptual.kind} ({perceptual.network.split('/')[-1]})")
    if adversarial.weight > 0 and settings.adversarial_start() < settings.steps:
        start = settings.adversarial_start() + adversarial.pretrain_steps
        terms.append(f"{adversarial.weighting} GAN {adversarial.weight:g} from step {start:,}")
    terms.append(f"{settings.codebook_weight:g} x quantizer")
    return " + ".join(terms)


def figure_rows(validation: Mapping[str, float | None], *, transformer: bool) -> list[tuple[str, str]]:
    """What the last validation found."""
    names = _OF_PRIORS if transformer else _OF_TOKENIZERS
    return [
        (names.get(name, name), f"{value:.4g}") for name, value in validation.items() if value is not None
    ]
