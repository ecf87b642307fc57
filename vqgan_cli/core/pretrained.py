"""Pretrained classifiers: find, download, verify and read their files.

The cache is torch's own (``$TORCH_HOME/hub/checkpoints``), so weights that another program has downloaded are used,
and a file copied there by hand is found. The names of published files end in the start of their SHA-256, which is
checked every time before a file is read.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vqgan_cli.core.config import PerceptualConfig
from vqgan_cli.core.errors import ModelError, WeightsError
from vqgan_cli.core.interop.reading import read_tensors
from vqgan_cli.core.models.perceptual import (
    LPIPS_NETWORKS,
    PerceptualDistance,
    features_distance,
    lpips_distance,
    torchvision_name,
)
from vqgan_cli.core.models.torchvision_compat import import_lpips, import_torchvision
from vqgan_cli.core.reporting import Reporter

__all__ = [
    "cached_weights",
    "load_perceptual",
    "perceptual_network",
    "published_file",
    "read_weights",
    "weights_file",
]

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")
_DOWNLOAD_TIMEOUT = (
    30.0  # seconds without an answer; a firewall that drops packets would hold a run for minutes
)
_CHANGE_THE_LOSS = (
    "train without this term: --set train_ae.perceptual.kind=none; or with a classifier at hand: "
    "--set train_ae.perceptual.kind=features --set train_ae.perceptual.network=NAME "
    "--set train_ae.perceptual.weights=FILE"
)


def load_perceptual(config: PerceptualConfig) -> PerceptualDistance | None:
    """The distance that a config describes, on the CPU; None for kind none.

    Raises:
        ConfigError: an unknown network.
        WeightsError: weights that are neither in a file, nor cached, nor downloadable; or damaged; or of another
            network.
    """
    if config.kind == "none":
        return None
    name = torchvision_name(config.network, lpips=config.kind == "lpips")
    if config.weights:
        file = Path(config.weights)
        if not file.is_file():
            raise WeightsError(f"no file with perceptual weights at {str(file)!r}", hint=_CHANGE_THE_LOSS)
    else:
        file = weights_file(name, purpose="the perceptual loss", otherwise=_CHANGE_THE_LOSS)
    weights = read_weights(file)
    if config.kind == "lpips":
        linear = Path(import_lpips().__file__ or "").parent / f"weights/v0.1/{config.network}.pth"
        return lpips_distance(config.network, weights, read_weights(linear))
    return features_distance(name, weights, logits=config.logits)


def perceptual_network(name: str, reporter: Reporter, *, required: bool = False) -> PerceptualDistance | None:
    """A perceptual distance by ``NETWORK`` or ``NETWORK:FILE``; None, with a warning, if its weights cannot be had.

    Raises:
        ConfigError: an unknown network.
        WeightsError: they cannot be had, and are ``required``.
    """
    network, _, weights = name.partition(":")
    kind = "lpips" if network in LPIPS_NETWORKS else "features"
    try:
        return load_perceptual(
            PerceptualConfig.model_validate({"kind": kind, "network": network, "weights": weights or None})
        )
    except WeightsError as error:
        if required:
            raise WeightsError(
                error.message, hint=f"--perceptual {network}:FILE, or --perceptual none"
            ) from None
        reporter.warning(f"without the perceptual distance: {error.message.splitlines()[0]}")
        return None


def cached_weights() -> list[tuple[str, Path | None]]:
    """For each LPIPS network (vgg, alex, squeeze) the cached file of its weights, or None."""
    files = [(network, _cache_file(_url(name))) for network, name in LPIPS_NETWORKS.items()]
    return [(network, file if file.is_file() else None) for network, file in files]


def read_weights(path: Path, *, sha256: str = "") -> dict[str, Tensor]:
    """State dict of a ``.safetensors`` file, or of a ``.pth`` file by the reader of pickles that executes nothing.

    Args:
        path: the file.
        sha256: that it must have; empty: the start of one, if its name ends in it.

    Raises:
        WeightsError: no such file; another SHA-256; or damaged or foreign content.
    """
    if not path.is_file():
        raise WeightsError(f"no file with weights at {str(path)!r}")
    if expected := sha256 or _hash_in_name(path.name):
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()[: len(expected)]
        if found != expected:
            wrong = "not the expected ones" if sha256 else "corrupt"
            raise WeightsError(
                f"the weights {str(path)!r} are {wrong}: their SHA-256 starts with {found}, expected {expected}",
                hint="delete the file, so that it is downloaded again, or replace it by a good copy",
            )
    try:
        weights = load_file(path) if path.suffix == ".safetensors" else read_tensors(path)
    except (OSError, SafetensorError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsError(f"cannot read the weights {str(path)!r}: {reason}") from None
    except ModelError as error:
        raise WeightsError(f"cannot read the weights {error.message}", hint=error.hint) from None
    # DenseNet's published files spell their layers `norm.1` where torchvision's modules are called `norm1`.
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", key): weights[key] for key in weights}


def _url(name: str) -> str:
    """Where torchvision's default weights of a classifier are published."""
    return str(import_torchvision().models.get_model_weights(name).DEFAULT.url)


def _cache_file(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def weights_file(name: str, *, purpose: str, otherwise: str) -> Path:
    """The published weights of a torchvision classifier: from the cache, else downloaded into it.

    Args:
        name: of the classifier.
        purpose: what needs them, for the message.
        otherwise: what to do without them, for the hint.

    Raises:
        WeightsError: they are not cached and cannot be downloaded.
    """
    return published_file(_url(name), purpose=purpose, otherwise=otherwise)


def published_file(url: str, *, sha256: str = "", purpose: str, otherwise: str) -> Path:
    """A file of weights at an address: from torch's cache, else downloaded into it.

    Args:
        url: where it is published.
        sha256: of the file; empty: its name ends in the start of it, or nothing is known.
        purpose: what needs it, for the message.
        otherwise: what to do without it, for the hint.

    Raises:
        WeightsError: it is not cached and cannot be downloaded.
    """
    file = _cache_file(url)
    if file.is_file():
        return file
    expected = sha256 or _hash_in_name(file.name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _socket_timeout(_DOWNLOAD_TIMEOUT):
            torch.hub.download_url_to_file(
                url, str(file), hash_prefix=expected or None, progress=sys.stderr.isatty()
            )
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        known = f", SHA-256 {expected}{'' if len(expected) == 64 else '...'}," if expected else ""
        raise WeightsError(
            f"{purpose} needs {file.name}, which is not cached and cannot be downloaded "
            f"({getattr(error, 'reason', error)})",
            hint=f"put the file from {url}{known} into {file.parent}; or {otherwise}",
        ) from None
    return file


def _hash_in_name(name: str) -> str:
    """The start of a SHA-256, in which names of published files end; empty if there is none."""
    found = _HASH_IN_NAME.search(name)
    return found[1] if found else ""


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    # torch.hub leaves the timeout to the process-wide default, which is none.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
