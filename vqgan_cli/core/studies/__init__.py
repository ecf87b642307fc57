"""Studies by name. A new one is a file beside this one and a line in ``STUDIES``."""

from __future__ import annotations

from vqgan_cli.core.studies.base import Study
from vqgan_cli.core.studies.codebook import CodebookStudy
from vqgan_cli.core.studies.compression import CompressionStudy
from vqgan_cli.core.studies.loss import LossStudy
from vqgan_cli.core.studies.order import OrderStudy
from vqgan_cli.core.studies.prior import PriorStudy
from vqgan_cli.core.studies.sampling import SamplingStudy

__all__ = ["STUDIES"]

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        PriorStudy(),
        CompressionStudy(),
        CodebookStudy(),
        OrderStudy(),
        LossStudy(),
        SamplingStudy(),
    )
}
