"""The models on this computer: which there are, adding a file that a user has, and removing one."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from SAMMed2DLib.checkpoints.checkpoint import Checkpoint, read_checkpoint
from SAMMed2DLib.checkpoints.inference_checkpoint import convert_to_inference_checkpoint
from SAMMed2DLib.registry.built_in import current_name
from SAMMed2DLib.registry.known_models import (
    KNOWN_MODELS,
    KnownModel,
    RegistryError,
    added_models,
    added_path,
    is_installed,
    path_of,
    remove,
)
from SAMMed2DLib.system.files import StagedFiles, stem_of

if TYPE_CHECKING:
    from SAMMed2DLib.model.config.model_config import ModelConfig


class ModelNameError(ValueError):
    """A name that no added model can have, or has; the message says which."""


@dataclass(frozen=True)
class StoredModel:
    """A model that is known or was added.

    Attributes:
        name: what `load_predictor` takes.
        title: what the user reads in a list.
        what: one or two sentences about it.
        path: its file; None while it is not on this computer.
        size_bytes: of the file, or else of the download; None if unknown.
        weights_licence: as far as it is stated; empty for added models.
        data_licence: as far as it is stated; empty for added models.
        entry: what is known of it; None for added models.
    """

    name: str
    title: str
    what: str
    path: Path | None
    size_bytes: int | None
    weights_licence: str
    data_licence: str
    entry: KnownModel | None

    @property
    def is_installed(self) -> bool:
        """Whether it can be loaded now."""
        return self.path is not None

    @property
    def is_removable(self) -> bool:
        """Whether there is a file that may be removed."""
        return self.is_installed and not (self.entry is not None and self.entry.embedded)

    @property
    def is_downloadable(self) -> bool:
        """Whether it can be had by a download, and is not here yet."""
        return not self.is_installed and self.entry is not None and bool(self.entry.sources)


def stored_models() -> list[StoredModel]:
    """The known models, installed or not, and those that were added."""
    return [_known(entry) for entry in KNOWN_MODELS.values()] + [_added(path) for path in added_models()]


def find_stored(name: str) -> StoredModel:
    """Look up a model of `stored_models`, by a former name too.

    Raises:
        RegistryError: no model of this name; the message lists those there are.
    """
    models = {model.name: model for model in stored_models()}
    name = current_name(name)
    if name not in models:
        raise RegistryError(f"There is no model {name!r}. Known models: {', '.join(models)}.")
    return models[name]


def suggested_name(file: str | Path) -> str:
    """A name that `add_model` takes, from a file's name; "model" where nothing of it can be used."""
    return re.sub(r"[^\w.+-]+", "-", stem_of(Path(file))).strip(".-") or "model"


def add_model(name: str, file: str | Path, *, half: bool = False) -> StoredModel:
    """Keep the weights of a file under a name, after a look whether they fit a network.

    Args:
        name: a new name, or that of a known model that is not installed.
        file: a checkpoint of SAM, FT-SAM, SAM-Med2D or our own; it stays.
        half: keep the weights in 16 bits, which takes half the space.

    Raises:
        ModelNameError: the name cannot be used, or is that of a known model with another network.
        CheckpointError: the file cannot be used.
    """
    from SAMMed2DLib.inference.predictor import load_predictor  # late: it is needed here only, and torch with it

    entry = KNOWN_MODELS.get(current_name(name))
    if not re.fullmatch(r"[\w+-][\w.+-]*", name):
        raise ModelNameError(f"{name!r} is no name for a model; use letters, digits, '-', '_', '+' and '.'")
    target = path_of(entry) if entry else added_path(name)
    if target.exists() or (entry and entry.embedded):
        raise ModelNameError(f"there is a model {name!r} already; remove it first, or choose another name")
    checkpoint = read_checkpoint(file)
    load_predictor(Path(file), device="cpu", precision="float32")  # its error says what does not fit
    if entry:
        _check_network(entry, Path(file), checkpoint)
    licences = {"weights_licence": entry.weights_licence, "data_licence": entry.data_licence} if entry else {}
    target.parent.mkdir(parents=True, exist_ok=True)
    if checkpoint.config is not None and not (half or licences):
        _copy(Path(file), target)  # as it is: reports name the checksum of the file
    else:
        convert_to_inference_checkpoint(file, target, checkpoint.config, licences, dtype="float16" if half else None)
    return find_stored(name)


def _copy(file: Path, target: Path) -> None:
    """Copy a file, which gets its name when it is whole."""
    with StagedFiles() as staged:
        shutil.copyfile(file, staged.place(target))


def _check_network(entry: KnownModel, file: Path, checkpoint: Checkpoint) -> None:
    """Refuse weights of another network under the name of a known model; the image size may differ.

    Raises:
        ModelNameError: they are of another one.
    """
    from SAMMed2DLib.model.config.model_config import VARIANTS
    from SAMMed2DLib.model.config.shapes import config_of

    found, wanted = config_of(checkpoint.config, checkpoint.shapes), VARIANTS[entry.network]
    if _network_words(found) != _network_words(wanted):
        raise ModelNameError(
            f"{file}: is not {entry.name}, which has {_network_words(wanted)}; this file has {_network_words(found)}: "
            "add it under a name of its own"
        )


def _network_words(config: ModelConfig) -> str:
    adapters = "with adapters" if config.adapter else "without adapters"
    return f"{config.depth} blocks of width {config.embed_dim} {adapters}"


def remove_model(name: str) -> int:
    """Remove a model from the folder of the models, and what broken downloads of it left.

    Returns:
        The size of the model that was removed, bytes.

    Raises:
        RegistryError: there is nothing to remove, or the model comes with the program.
    """
    entry, added = KNOWN_MODELS.get(current_name(name)), added_path(name)
    if entry is None and added not in added_models():
        names = ", ".join(stem_of(path) for path in added_models()) or "none"
        raise RegistryError(f"there is no model {name!r} to remove; added models: {names}")
    path = path_of(entry) if entry else added
    size = path.stat().st_size if path.is_file() else 0
    if entry is None:
        added.unlink()
    elif not remove(entry):
        raise RegistryError(f"{name!r} is not installed, so there is nothing to remove")
    return size


def _known(entry: KnownModel) -> StoredModel:
    path = path_of(entry) if is_installed(entry) else None
    return StoredModel(
        entry.name,
        entry.title,
        entry.what,
        path,
        path.stat().st_size if path else entry.size_bytes,
        entry.weights_licence,
        entry.data_licence,
        entry,
    )


def _added(path: Path) -> StoredModel:
    return StoredModel(stem_of(path), "added by you", str(path), path, path.stat().st_size, "", "", None)
