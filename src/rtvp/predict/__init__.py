"""Detection: images and words to boxes, verdicts, pictures and files."""

from __future__ import annotations

from rtvp.predict.calibration import Calibration
from rtvp.predict.coco import CocoFile, read_coco_file
from rtvp.predict.detector import Detector
from rtvp.predict.loading import load, usual_runtime
from rtvp.predict.masks import MaskMaker
from rtvp.predict.result import ImageProblem, Result
from rtvp.predict.run import Summary, detect_to_folder
from rtvp.predict.surroundings import SurroundingsMasks

__all__ = [
    "Calibration",
    "CocoFile",
    "Detector",
    "ImageProblem",
    "MaskMaker",
    "Result",
    "Summary",
    "SurroundingsMasks",
    "detect_to_folder",
    "load",
    "read_coco_file",
    "usual_runtime",
]
