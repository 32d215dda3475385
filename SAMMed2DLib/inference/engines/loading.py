"""Engines made of weights, for whichever program computes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from SAMMed2DLib.checkpoints.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from SAMMed2DLib.inference.devices import Precision
from SAMMed2DLib.inference.engines.engine import Engine, EngineName, chosen_engine, is_for_numpy
from SAMMed2DLib.model.config.model_config import ConfigError, ModelConfig
from SAMMed2DLib.model.config.shapes import config_of

if TYPE_CHECKING:
    from SAMMed2DLib.model.sam import Sam


def load_engine(
    engine: EngineName, checkpoint: Checkpoint, config: ModelConfig, name: str, device: str, precision: Precision
) -> Engine:
    """Make the engine that is asked for, with its network and weights.

    Args:
        engine: "auto", "torch" or "numpy".
        checkpoint: the weights; arrays of NumPy where that computes them.
        config: sizes of the network.
        name: of the model, for messages.
        device: as in `Predictor`.
        precision: as in `Predictor`.

    Raises:
        CheckpointError: the weights are of another network, or some are missing.
        DeviceError: no such device or precision.
        EngineError: no such engine, or one that cannot compute this model on this device; or PyTorch is needed.
    """
    if chosen_engine(engine, config, name, needs_torch=_only_torch(device, precision)) == "numpy":
        return _numpy_engine(checkpoint, config)
    return torch_engine(load_model(checkpoint, config), name, device, precision)


def torch_engine(model: Sam, name: str, device: str, precision: Precision) -> Engine:
    """Make the engine of a network of PyTorch; see `TorchEngine`.

    Args:
        model: the network.
        name: what to call the weights in messages.
        device: as in `Predictor`.
        precision: as in `Predictor`.
    """
    from SAMMed2DLib.inference.engines.torch_engine import TorchEngine

    engine = TorchEngine(model, name, device, precision)
    engine.warm_up()
    return engine


def is_file_for_numpy(path: Path) -> bool:
    """Whether NumPy computes the network of a weights file; False also where it cannot be read."""
    try:
        return is_for_numpy(config_of_checkpoint(read_checkpoint(path, as_arrays=True), path.name))
    except CheckpointError:
        return False


def config_of_checkpoint(checkpoint: Checkpoint, file_name: str) -> ModelConfig:
    """The sizes of the network whose weights were read.

    Args:
        checkpoint: the weights.
        file_name: where they came from, for the message.

    Raises:
        CheckpointError: they are of no network that is known here.
    """
    try:
        return config_of(checkpoint.config, checkpoint.shapes)
    except ConfigError as error:
        raise CheckpointError(f"{file_name}: {error}") from error


def _only_torch(device: str, precision: Precision) -> str:
    """What of this only PyTorch does, for a message; empty for nothing."""
    if device not in ("auto", "cpu"):
        return f"the device {device!r}"
    return "" if precision in ("auto", "float32") else f"the precision {precision!r}"


def _numpy_engine(checkpoint: Checkpoint, config: ModelConfig) -> Engine:
    from SAMMed2DLib.inference.numpy_engine.engine import NumpyEngine

    try:
        return NumpyEngine(checkpoint.state, config)
    except KeyError as error:
        raise CheckpointError(
            f"weights are missing, one is {error.args[0]!r}: the file is incomplete. Download it again."
        ) from error


def load_model(checkpoint: Checkpoint, config: ModelConfig) -> Sam:
    """Build a network of PyTorch and fill it strictly from a checkpoint.

    Raises:
        CheckpointError: the weights are of another network, or some are missing.
    """
    from SAMMed2DLib.checkpoints.fit import fit_state_dict
    from SAMMed2DLib.model.build import build_empty

    network = build_empty(config)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    fitted = fit_state_dict(checkpoint.state, shapes)
    if fitted.missing:
        raise CheckpointError(
            f"{len(fitted.missing)} weights are missing, the first is {fitted.missing[0]!r}: the file is incomplete. "
            "Download it again."
        )
    state = {name: value.float() for name, value in fitted.state.items()}
    network.load_state_dict(state, strict=True, assign=True)
    return network
