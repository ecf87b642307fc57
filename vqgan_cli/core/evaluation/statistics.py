"""Files of what a comparison needs to know of a reference set: an ``.npz`` of plain arrays, without pickles.

``description`` (JSON as bytes), ``mean`` [D], ``covariance`` [D, D]; and, where they were asked for, ``features``
[N, D] and ``labels`` [N], which per-class figures, kernel distance, precision, recall, density and coverage need.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from vqgan_cli.core.errors import DataError
from vqgan_cli.core.evaluation.collecting import FeatureSet
from vqgan_cli.core.evaluation.features import FeatureNetwork
from vqgan_cli.core.evaluation.image_sets import describe_size
from vqgan_cli.core.files import staged_file
from vqgan_cli.core.metrics.frechet import Gaussian, gaussian_of

__all__ = ["SUFFIX", "ReferenceFile", "StatisticsDescription", "read_statistics", "write_statistics"]

SUFFIX = ".npz"
"""Of the files' names."""

_TYPES = {"description": "u1", "mean": "f8", "covariance": "f8", "features": "f4", "labels": "i8"}

Arrays = dict[str, npt.NDArray[Any]]


class StatisticsDescription(BaseModel):
    """What a file says of itself.

    Attributes:
        format: of the file.
        features: name of the network.
        fingerprint: of its weights.
        source: what the user wrote.
        size: (height, width) that every picture was brought to.
        preparation: how, in words.
        images: how many.
        classes: name by class.
        names: of the images, where their features are in the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["vqgan-statistics/1"] = "vqgan-statistics/1"
    features: str
    fingerprint: str
    source: str
    size: tuple[int, int]
    preparation: str
    images: int
    classes: dict[int, str] = {}
    names: list[str] = []


class ReferenceFile:
    """Statistics of a reference set.

    Attributes:
        path: of the file.
        description: what it says of itself.
        gaussian: mean and covariance.
        images: their features; None if the file does not keep them.
    """

    def __init__(self, path: Path, description: StatisticsDescription, arrays: Arrays) -> None:
        self.path = path
        self.description = description
        mean, covariance = (torch.from_numpy(arrays[name]) for name in ("mean", "covariance"))
        self.gaussian: Gaussian = gaussian_of(mean, covariance, description.images)
        self.images: FeatureSet | None = None
        if "features" in arrays:
            self.images = FeatureSet(
                arrays["features"], arrays["labels"], description.classes, description.names
            )

    def require_comparable(self, network: FeatureNetwork, size: tuple[int, int]) -> None:
        """See that samples can be compared with it.

        Args:
            network: of the samples' features.
            size: (height, width) of the samples.

        Raises:
            DataError: other features, weights, size or preparation, by name.
        """
        mine, where = self.description, f"the statistics {str(self.path)!r} are of"
        if mine.features != network.name:
            raise DataError(
                f"{where} features {mine.features!r}, and the samples' are {network.name!r}",
                hint=f"--features {mine.features}, or make others with vqgan evaluate statistics",
            )
        if mine.fingerprint != network.fingerprint:
            raise DataError(
                f"{where} other weights of {mine.features!r}: {mine.fingerprint[:16]}..., and not "
                f"{network.fingerprint[:16]}...",
                hint="give the weights that they were made with, or make others with vqgan evaluate statistics",
            )
        if mine.size != size:
            height, width = mine.size
            raise DataError(
                f"{where} images of {height}x{width}, and the samples are {size[0]}x{size[1]} (height x width)",
                hint=f"resize the samples with --size {height}x{width}, or make others with vqgan evaluate "
                f"statistics --size {size[0]}x{size[1]}",
            )
        if mine.preparation != (now := describe_size(size)):
            raise DataError(
                f"{where} images that were {mine.preparation}, and the samples are {now}",
                hint="make others with vqgan evaluate statistics",
            )


def write_statistics(
    path: Path, description: StatisticsDescription, gaussian: Gaussian, images: FeatureSet | None = None
) -> None:
    """Write a file in one step; the folder must exist.

    Args:
        path: of the file.
        description: what it says of itself.
        gaussian: mean and covariance.
        images: whose features it keeps; None: none.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    arrays: Arrays = {
        "description": np.frombuffer(description.model_dump_json().encode(), np.uint8),
        "mean": gaussian.mean.cpu().numpy(),
        "covariance": gaussian.covariance.cpu().numpy(),
    }
    if images is not None:
        arrays |= {"features": images.features, "labels": images.labels}
    with staged_file(path) as staging, staging.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_statistics(path: Path) -> ReferenceFile:
    """Read a file; nothing in it is executed, and no more memory is asked for than it holds.

    Raises:
        DataError: it cannot be read, is damaged, or is another program's.
    """
    try:
        arrays = _read_arrays(path)
        description = StatisticsDescription.model_validate_json(arrays["description"].tobytes())
        _check_arrays(arrays, description)
    except OSError as error:
        raise DataError(f"cannot read the statistics {str(path)!r}: {error.strerror or error}") from None
    except (
        ValueError,
        ValidationError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:
        reason = f"it lacks {error.args[0]!r}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise DataError(
            f"{str(path)!r} is no file of vqgan evaluate statistics, or is damaged: {reason}",
            hint="make one: vqgan evaluate statistics --data IMAGES -o FILE.npz",
        ) from None
    return ReferenceFile(path, description, arrays)


def _read_arrays(path: Path) -> Arrays:
    arrays: Arrays = {}
    with zipfile.ZipFile(path) as archive:
        for name, kind in _TYPES.items():
            if f"{name}.npy" not in archive.namelist():
                continue
            member = archive.getinfo(f"{name}.npy")
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is compressed")
            arrays[name] = _read_array(archive, member, np.dtype(kind))
    return arrays


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{member.filename} has a header of version {version}")
        shape, fortran, found = np.lib.format.read_array_header_1_0(file)
        if found != kind or fortran:
            raise ValueError(f"{member.filename} holds {found}, where {kind} was expected")
        content = file.read()
    array = np.frombuffer(bytearray(content), kind)  # of its own memory, which torch may take over
    return array.reshape(shape)


def _check_arrays(arrays: Arrays, description: StatisticsDescription) -> None:
    mean, covariance = arrays["mean"], arrays["covariance"]
    dimension = len(mean) if mean.ndim == 1 else 0
    if not dimension or covariance.shape != (dimension, dimension):
        raise ValueError(f"mean and covariance have shapes {mean.shape} and {covariance.shape}")
    scale = float(np.abs(covariance).max())
    if not np.isfinite([scale, np.abs(mean).max()]).all():
        raise ValueError("mean or covariance are not finite")
    if np.abs(covariance - covariance.T).max() > 1e-9 * scale:
        raise ValueError("the covariance is not symmetric")
    if min(description.size) < 1 or description.images < 2:
        raise ValueError(f"{description.images} images of {description.size} pixels")
    if ("features" in arrays) != ("labels" in arrays):
        raise ValueError("features and labels come together")
    if "features" in arrays:
        shapes = arrays["features"].shape, arrays["labels"].shape, (len(description.names),)
        if shapes != ((description.images, dimension), (description.images,), (description.images,)):
            raise ValueError(f"features, labels and names have shapes {shapes}")
        if not np.isfinite(arrays["features"]).all():
            raise ValueError("the features are not finite")
