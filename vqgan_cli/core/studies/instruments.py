"""What a study measures beyond the logs of its runs: it opens their models and looks at their images."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from vqgan_cli.core.artifacts import load_tokenizer, load_transformer
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.dataset import make_loader
from vqgan_cli.core.data.sampler import sequential_batches
from vqgan_cli.core.data.tensors import to_arrays, to_input
from vqgan_cli.core.data.training_sets import open_training_sets
from vqgan_cli.core.evaluation.collecting import collect_features
from vqgan_cli.core.evaluation.features import FeatureNetwork
from vqgan_cli.core.evaluation.image_sets import open_image_set
from vqgan_cli.core.files import write_text
from vqgan_cli.core.metrics.frechet import fit_gaussian, frechet_distance
from vqgan_cli.core.metrics.neighbours import MIN_IMAGES, membership
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.sampling.sampler import SamplingSettings, draw
from vqgan_cli.core.studies.base import Run, Values

__all__ = ["Instruments"]

MEASURED_FILE = "measured.json"
"""What was measured of a run, in its folder, so that it need not be measured again."""

_BATCH = 16
_TIMED_IMAGES = 4


class Instruments:
    """Measures runs; what took long is kept in their folders.

    Args:
        config: of the study.
        features: network for Frechet distances, precision and recall; None: these are left out.
        images: of the data, with which samples are compared; as many as there are samples of a run.
        device: where to compute.
        reporter: who listens.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        features: FeatureNetwork | None,
        images: int,
        device: torch.device,
        reporter: Reporter,
    ) -> None:
        self._config, self._device, self._reporter = config, device, reporter
        self._images = images
        self._features = features.to(device) if features is not None else None
        self._reference: np.ndarray | None = None

    def prior_parameters(self, run: Run) -> int:
        """Number of trained values of the prior of a run, from the header of its file."""
        with safe_open(run.model, "np") as file:
            names = [name for name in file.keys() if name.startswith("prior.")]  # noqa: SIM118
            return sum(math.prod(file.get_slice(name).get_shape()) for name in names)

    def reconstructed(self, run: Run) -> Values:
        """``reconstruction_frechet_distance`` of the held-out images; empty without features."""
        if self._features is None:
            return {}
        return self._kept(run, self._of_features("reconstructed"), lambda: self._reconstruct(run))

    def sampled(self, run: Run) -> Values:
        """``frechet_distance``, ``precision`` and ``recall`` of a folder of samples; empty without features."""
        if self._features is None:
            return {}
        return self._kept(run, self._of_features("sampled"), lambda: self._compare(run))

    def timed(self, run: Run) -> Values:
        """``seconds_per_image``: to draw its codes and decode them, a few images at once."""
        return self._kept(run, f"timed on {self._device}", lambda: self._draw(run))

    def _of_features(self, what: str) -> str:
        assert self._features is not None
        return f"{what}, {self._features.name} {self._features.fingerprint[:16]}"

    def _kept(self, run: Run, key: str, measure: Callable[[], Values]) -> Values:
        """What was measured before, or is measured now."""
        path = run.path / MEASURED_FILE
        known: dict[str, Values] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if key not in known:
            self._reporter.info(f"measuring {run.path}: {key.partition(',')[0]}")
            known[key] = measure()
            write_text(path, json.dumps(known, indent=2) + "\n")
        return known[key]

    @torch.inference_mode()
    def _reconstruct(self, run: Run) -> Values:
        tokenizer = load_tokenizer(run.model, self._device)
        data = self._config.data.model_copy(update={"cache": "none", "workers": 0})
        dataset = open_training_sets(data, seed=0).validation
        before, after = [], []
        for batch in make_loader(dataset, sequential_batches(len(dataset), _BATCH), workers=0):
            images = to_input(batch["image"], tokenizer, self._device)
            before.append(self._featured(images))
            after.append(self._featured(tokenizer.decode(tokenizer.encode(images))))
        distance = _distance(np.concatenate(after), np.concatenate(before))
        return {"reconstruction_frechet_distance": distance}

    def _featured(self, images: Tensor) -> np.ndarray:
        """Features [B, D] of images [B, 3, H, W] in [-1, 1], rounded as files hold them."""
        assert self._features is not None
        pixels = torch.from_numpy(np.stack(to_arrays(images))).permute(0, 3, 1, 2)
        return self._features(pixels.to(self._device)).features.cpu().numpy()

    def _compare(self, run: Run) -> Values:
        size = (self._config.data.size, self._config.data.size)
        if self._reference is None:
            assert self._config.data.source is not None
            self._reference = self._collect(self._config.data.source, size, "reference")
        samples = self._collect(str(run.path), size, "samples")
        found = {"frechet_distance": _distance(samples, self._reference)}
        if min(len(samples), len(self._reference)) >= MIN_IMAGES:
            terms = membership(samples, self._reference, device=self._device)
            found |= {"precision": float(terms.precise.mean()), "recall": float(terms.recalled.mean())}
        return found

    def _collect(self, source: str, size: tuple[int, int], what: str) -> np.ndarray:
        assert self._features is not None
        return collect_features(
            self._features,
            open_image_set(source, size, limit=self._images),
            size,
            as_it_is=False,
            batch_size=_BATCH,
            device=self._device,
            reporter=self._reporter,
            what=what,
        ).features

    @torch.inference_mode()
    def _draw(self, run: Run) -> Values:
        assert run.start is not None
        model = load_transformer(run.start, self._device)
        condition = torch.zeros(_TIMED_IMAGES, 1, dtype=torch.int64, device=self._device)
        started = time.perf_counter()
        codes = draw(model.prior, condition, model.prior.spec.grid, SamplingSettings(max_batch=_TIMED_IMAGES))
        model.tokenizer.decode(codes).cpu()  # which waits for a GPU
        return {"seconds_per_image": (time.perf_counter() - started) / _TIMED_IMAGES}


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Frechet distance; NaN of fewer than two images."""
    if min(len(first), len(second)) < 2:
        return math.nan
    return frechet_distance(fit_gaussian(first), fit_gaussian(second))
