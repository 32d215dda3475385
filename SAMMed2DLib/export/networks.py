"""The network that is exported: as it was trained, which no predictor has prepared for its own use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint, weights_sha256
from SAMMed2DLib.registry.built_in import current_name
from SAMMed2DLib.registry.known_models import weights_path
from SAMMed2DLib.system.files import stem_of

if TYPE_CHECKING:
    from SAMMed2DLib.model.config.model_config import ModelConfig
    from SAMMed2DLib.model.sam import Sam


@dataclass(frozen=True, eq=False)
class ExportedNetwork:
    """A network and what files of it say.

    Attributes:
        name: of the model, or the stem of the file's name.
        model: float32 on the CPU, with the published names.
        config: its sizes.
        weights_sha256: of the weights.
    """

    name: str
    model: Sam
    config: ModelConfig
    weights_sha256: str

    @property
    def facts(self) -> dict[str, Any]:
        """What files say of it, plain JSON types."""
        return {"model": self.name, "weights_sha256": self.weights_sha256, "config": self.config.to_dict()}


def load_network(model: str | Path) -> ExportedNetwork:
    """Load weights by the name of a known or added model, or from a file.

    Args:
        model: a name, or a checkpoint of SAM, FT-SAM or SAM-Med2D, or our own.

    Raises:
        RegistryError: no model of this name here.
        CheckpointError: no such file, no weights in it, or weights of another network.
    """
    from SAMMed2DLib.inference.engines.loading import config_of_checkpoint, load_model

    path = weights_path(model)
    checkpoint = read_checkpoint(path)
    config = config_of_checkpoint(checkpoint, path.name)
    name = stem_of(path) if path == Path(model) else current_name(str(model))
    digest = str(checkpoint.provenance.get("weights_sha256") or weights_sha256(checkpoint.state))
    return ExportedNetwork(name, load_model(checkpoint, config), config, digest)
