"""Promptable segmentation of 2D medical image slices, without 3D Slicer.

What users need, under one name; everything else is imported from its own file::

    import SAMMed2DLib as sammed2d

    session = sammed2d.Session(sammed2d.load_predictor())

A name is loaded when it is first used, so that the package opens at once, without PyTorch and without NumPy.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from SAMMed2DLib.former_names import FormerNames

__version__ = "0.1.0"

__all__ = [
    "ExampleObjects",
    "FullRange",
    "GeometryError",
    "MaskPrediction",
    "Percentiles",
    "Prediction",
    "Predictor",
    "PromptError",
    "Prompts",
    "SamPredictor",
    "Segment",
    "Session",
    "SlicePlane",
    "Volume",
    "VolumeError",
    "Window",
    "__version__",
    "find_similar",
    "load_predictor",
    "propagate",
    "propagate_in_time",
    "propose_objects",
    "read_segmentation",
    "read_volume",
    "rgb_from_slice",
    "segment_object",
    "write_segmentation",
]

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import GeometryError, SlicePlane
    from SAMMed2DLib.imaging.intensity import FullRange, Percentiles, Window, rgb_from_slice
    from SAMMed2DLib.inference.prediction import Prediction
    from SAMMed2DLib.inference.predictor import Predictor, load_predictor
    from SAMMed2DLib.inference.prompts import PromptError, Prompts
    from SAMMed2DLib.inference.sam_predictor import SamPredictor
    from SAMMed2DLib.inference.session import MaskPrediction, Session
    from SAMMed2DLib.io.seg_nrrd import Segment
    from SAMMed2DLib.io.segmentation_io import read_segmentation, write_segmentation
    from SAMMed2DLib.io.volume import Volume, VolumeError
    from SAMMed2DLib.io.volume_io import read_volume
    from SAMMed2DLib.propagation.stack import propagate_stack as propagate
    from SAMMed2DLib.propagation.time_series import propagate_in_time
    from SAMMed2DLib.propagation.whole_object import segment_object
    from SAMMed2DLib.proposals.everything import propose_objects
    from SAMMed2DLib.proposals.similar import ExampleObjects, find_similar

# The same for Python: the file of each name.
_FILES = {
    "ExampleObjects": "proposals.similar",
    "FullRange": "imaging.intensity",
    "GeometryError": "imaging.geometry",
    "MaskPrediction": "inference.session",
    "Percentiles": "imaging.intensity",
    "Prediction": "inference.prediction",
    "Predictor": "inference.predictor",
    "PromptError": "inference.prompts",
    "Prompts": "inference.prompts",
    "SamPredictor": "inference.sam_predictor",
    "Segment": "io.seg_nrrd",
    "Session": "inference.session",
    "SlicePlane": "imaging.geometry",
    "Volume": "io.volume",
    "VolumeError": "io.volume",
    "Window": "imaging.intensity",
    "find_similar": "proposals.similar",
    "load_predictor": "inference.predictor",
    "propagate": "propagation.stack",
    "propagate_in_time": "propagation.time_series",
    "propose_objects": "proposals.everything",
    "read_segmentation": "io.segmentation_io",
    "read_volume": "io.volume_io",
    "rgb_from_slice": "imaging.intensity",
    "segment_object": "propagation.whole_object",
    "write_segmentation": "io.segmentation_io",
}
_NAMES_THERE = {"propagate": "propagate_stack"}

if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
    sys.meta_path.append(FormerNames())

if not TYPE_CHECKING:  # a type checker would take every name for granted

    def __getattr__(name: str) -> object:
        """Load a name of the face, and keep it."""
        if name not in _FILES:
            raise AttributeError(f"SAMMed2DLib has no {name!r}: import what dir() does not list from its own file")
        value = getattr(import_module(f"SAMMed2DLib.{_FILES[name]}"), _NAMES_THERE.get(name, name))
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """The names of the face, loaded or not, and what else is here."""
    return sorted({*globals(), *__all__})
