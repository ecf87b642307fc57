"""From pictures to their features, in batches: the array of features is all that grows with the pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqgan_cli.core.batching import beside, full_batches
from vqgan_cli.core.errors import DataError, ImageError
from vqgan_cli.core.evaluation.features import FeatureNetwork
from vqgan_cli.core.evaluation.image_sets import ImageSet
from vqgan_cli.core.memory import in_batch
from vqgan_cli.core.reporting import Reporter

__all__ = ["FeatureSet", "collect_features"]


@dataclass(frozen=True)
class FeatureSet:
    """Features of a set of pictures, and what is known of each.

    Attributes:
        features: float32 [N, D].
        labels: class, int64 [N]; -1 for none.
        classes: name by class.
        names: of the pictures.
        picture: by its number, uint8 [H, W, 3]; None where the pictures are not at hand.
        failed: name and reason of pictures that could not be read, and are not among the N.
    """

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    classes: Mapping[int, str]
    names: Sequence[str]
    picture: Callable[[int], npt.NDArray[np.uint8]] | None = None
    failed: Sequence[tuple[str, str]] = ()

    def __len__(self) -> int:
        return len(self.features)


def collect_features(
    network: FeatureNetwork,
    images: ImageSet,
    size: tuple[int, int],
    *,
    as_it_is: bool,
    batch_size: int,
    device: torch.device,
    reporter: Reporter,
    what: str,
    each: Callable[[Tensor], None] = lambda logits: None,
) -> FeatureSet:
    """Features of a set.

    Args:
        network: on the device.
        images: the set.
        size: (height, width) that every picture is brought to.
        as_it_is: it should have that size already.
        batch_size: pictures at a time.
        device: where to compute.
        reporter: who listens.
        what: the pictures are, for the reporter.
        each: receives the logits [B, C] of every batch.

    Raises:
        DataError: a picture has another size than it should; or not one can be read.
        MemoryLimitError: of the device.
    """
    failed: list[tuple[str, str]] = []

    def prepare(index: int) -> tuple[int, npt.NDArray[np.uint8] | None, str]:
        try:
            return index, images.read(index, size, as_it_is=as_it_is), ""
        except ImageError as error:
            return index, None, error.reason

    def readable() -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        for index, image, reason in beside(device.type, prepare, range(len(images)), ahead=4 * batch_size):
            if image is None:
                reporter.warning(f"skipped {images.image_name(index)!r}: {reason}")
                failed.append((images.image_name(index), reason))
            else:
                yield index, image

    features: npt.NDArray[np.float32] | None = None
    indices = np.empty(len(images), np.int64)
    done = 0
    with reporter.progress(f"features of {what}", len(images), "images") as progress:
        for chosen, pixels in full_batches(readable(), batch_size):
            batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device)
            found = in_batch(
                network,
                batch,
                f"on {device} with {batch_size} images of {size[0]}x{size[1]} (height x width)",
                "a smaller network",
            )
            part = slice(done, done + len(chosen))
            if features is None:
                features = np.empty((len(images), found.features.shape[1]), np.float32)
            features[part] = found.features[: len(chosen)].cpu().numpy()
            indices[part] = chosen
            each(found.logits[: len(chosen)].cpu())
            done += len(chosen)
            progress.update(done + len(failed))
    if features is None:
        name, reason = failed[0]
        raise DataError(
            f"none of the {len(images)} images of {images.name!r} can be read; the first, {name!r}, {reason}"
        )
    kept = indices[:done]

    def picture(number: int) -> npt.NDArray[np.uint8]:
        return images.read(int(kept[number]), size)

    names = [images.image_name(int(index)) for index in kept]
    return FeatureSet(features[:done], images.labels[kept], images.classes, names, picture, failed)
