"""What computes the chosen model, PyTorch or NumPy, and whether something has to be installed for it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from slicer.i18n import tr as _

from SAMMed2DLib.registry.built_in import BUILT_IN, current_name
from SAMMed2DSlicer.setup import pytorch
from SAMMed2DSlicer.setup.pytorch import TorchState

NUMPY = "numpy"  # among the devices: the processor, without PyTorch
NUMPY_NAME = "NumPy"


def engine_of(model: str, device: str) -> Literal["auto", "numpy"]:
    """What the library is to compute a model with: NumPy where PyTorch is not in order and NumPy will do.

    Args:
        model: the name of a known or added model, or the path of a weights file.
        device: as in `ModelChoice`.
    """
    if device == NUMPY:
        return "numpy"
    return "auto" if pytorch.torch_state().is_ready or not does_numpy(model, device) else "numpy"


def missing_torch(model: str, device: str) -> TorchState | None:
    """The state of PyTorch, where a model cannot be computed without a better one; None where it can.

    Args:
        model: the name of a known or added model, or the path of a weights file.
        device: as in `ModelChoice`.
    """
    if does_numpy(model, device):  # first: to look at PyTorch takes longer, and each activation asks
        return None
    state = pytorch.torch_state()
    return None if state.is_ready else state


def does_numpy(model: str, device: str) -> bool:
    """Whether NumPy alone computes a model on a device; the file of another than the built-in one is looked at."""
    if device not in ("auto", "cpu", NUMPY):
        return False
    return current_name(model) == BUILT_IN or _is_of_the_kind(model)


def numpy_hint() -> str:
    """What a user may know whose model runs on NumPy because there is no PyTorch; empty where there is."""
    if pytorch.torch_state().is_ready:
        return ""
    return _("Built-in model on NumPy; install PyTorch for the published model and graphics cards.")


def _is_of_the_kind(model: str) -> bool:
    from SAMMed2DLib.registry.known_models import RegistryError, weights_path

    try:
        path = Path(weights_path(model))
        return _is_small(str(path), path.stat().st_mtime_ns)
    except (RegistryError, OSError):
        return False  # what is not there is told when it is loaded


@lru_cache(maxsize=16)
def _is_small(path: str, _changed_ns: int) -> bool:
    """Whether the weights in a file are of the built-in model's kind; their values are not read."""
    from SAMMed2DLib.inference.engines.loading import is_file_for_numpy

    return is_file_for_numpy(Path(path))
