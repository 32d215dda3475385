"""The models that this program knows: what they are, under which licences, where they come from and lie."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMMed2DLib.registry.built_in import BUILT_IN, FORMER_NAMES, current_name

if TYPE_CHECKING:
    from SAMMed2DLib.registry.download import Downloaded, DownloadPolicy, Progress

MODELS_DIR_VARIABLE = "SAMMED2D_MODELS_DIR"
_CHECKSUMS_FILE = "checksums.json"
_DOWNLOAD_SUFFIX = ".download"
_WEIGHTS_DIR = Path(__file__).parents[1] / "weights"

_CODE_LICENCE_ONLY = (
    "Not stated for the weights themselves; the authors' repository, which links them, is under "
    "Apache-2.0 as a whole"
)
_SA_MED2D_DATA = (
    "SA-Med2D-20M: CC BY-NC-SA 4.0 (not for commercial use) by its dataset card, gathered from many public "
    "and private sets with terms of their own. Whether such terms reach the weights is unsettled: ask before "
    "commercial use"
)
_SAM_DATA = "SA-1B, under Meta's SA-1B research licence"


class RegistryError(ValueError):
    """A model is not known, or the record of checksums cannot be used; the message says what to do."""


class NotInstalledError(RegistryError):
    """A known model is not on this computer yet.

    Attributes:
        name: the model.
    """

    def __init__(self, name: str) -> None:
        """Say how to get it on the command line; another front says it in its own words."""
        self.name = name
        super().__init__(
            f"{name} is not on this computer: get it with 'sammed2d models download {name}', or add a file that "
            f"you have with 'sammed2d models add {name} FILE'."
        )


@dataclass(frozen=True)
class KnownModel:
    """A model by name.

    Attributes:
        name: what the user types.
        title: what the user reads in a list.
        what: one or two sentences about it.
        weights_licence: the licence of the weights, as far as it is stated.
        data_licence: the licence of the data they were trained on, as far as it is stated.
        size_bytes: of the download, or of the embedded file; about right, None if unknown.
        sources: addresses to download from, best first; none for the embedded model.
        sha256: published checksum of the download; without one, the first that is seen is held to.
        embedded: the file comes with the program.
        network: which of `model_config.VARIANTS` it is; empty for the embedded model, which says so itself.
    """

    name: str
    title: str
    what: str
    weights_licence: str
    data_licence: str
    size_bytes: int | None
    sources: tuple[str, ...]
    sha256: str | None = None
    embedded: bool = False
    network: str = ""


def hugging_face(repository: str, file: str) -> str:
    """Address of a file in a Hugging Face repository."""
    return f"https://huggingface.co/{repository}/resolve/main/{file}"


def google_drive(file_id: str) -> str:
    """Address of a file that is shared on Google Drive."""
    return f"https://drive.usercontent.google.com/download?id={file_id}&export=download"


_ENTRIES = (
    KnownModel(
        name=BUILT_IN,
        title="SAM-Med2D tiny (built in)",
        what="LiteMedSAM's image encoder, with points, boxes and masks trained by this project. It needs no download. "
        f"It took the place of {' and '.join(FORMER_NAMES)}: scripts and scenes that say so mean this one.",
        weights_licence="Apache-2.0",
        data_licence="trained here on CC0, CC BY, MIT, BSD and Apache-2.0 data and synthetic images only; the encoder "
        "by its authors on public sets of many terms, see the model card",
        size_bytes=None,
        sources=(),
        embedded=True,
    ),
    KnownModel(
        name="sam-med2d_b",
        network="sam-med2d_b_256",
        title="SAM-Med2D ViT-B",
        what="The published SAM-Med2D at 256 px, with adapters. The download holds the training state too; "
        "about 1.1 GB stay on disk.",
        weights_licence=f"{_CODE_LICENCE_ONLY}; the mirror on Hugging Face, a third party's, says Apache-2.0",
        data_licence=_SA_MED2D_DATA,
        size_bytes=2_561_829_701,
        sources=(
            hugging_face("schengal1/SAM-Med2D_model", "sam-med2d_b.pth"),
            google_drive("1ARiB5RkSsWmAB_8mqWnwDF8ZKTtFwsjl"),
        ),
    ),
    KnownModel(
        name="ft-sam_b",
        network="ft-sam_b_256",
        title="FT-SAM ViT-B",
        what="The published FT-SAM at 256 px: SAM's mask decoder fine-tuned on medical images, no adapters.",
        weights_licence=_CODE_LICENCE_ONLY,
        data_licence=_SA_MED2D_DATA,
        size_bytes=None,
        sources=(google_drive("1J4qQt9MZZYdv1eoxMTJ4FL8Fz65iUFM8"),),
    ),
    KnownModel(
        name="sam_b_256",
        network="sam_b_256",
        title="SAM ViT-B at 256 px",
        what="Meta's SAM, not trained on medical images, for comparison. The authors link one file for 256 "
        "and 1024 px; its position tables are resized to the model when they differ.",
        weights_licence="Apache-2.0, as Meta states for the SAM models; this copy is linked by the authors",
        data_licence=_SAM_DATA,
        size_bytes=None,
        sources=(google_drive("1_U26MIJhWnWVwmI5JkGg2cd2J6MvkqU-"),),
    ),
)
KNOWN_MODELS: Mapping[str, KnownModel] = {entry.name: entry for entry in _ENTRIES}

CatalogueError, CatalogueEntry, CATALOGUE = RegistryError, KnownModel, KNOWN_MODELS  # their former names


def find(name: str) -> KnownModel:
    """Look up a model, by a former name too.

    Raises:
        RegistryError: no model of this name; the message lists those there are.
    """
    try:
        return KNOWN_MODELS[current_name(name)]
    except KeyError:
        raise RegistryError(f"There is no model {name!r}. Known models: {', '.join(KNOWN_MODELS)}.") from None


def models_dir() -> Path:
    """Folder of the downloaded models: $SAMMED2D_MODELS_DIR or in the user's data; it may not exist yet."""
    if chosen := os.environ.get(MODELS_DIR_VARIABLE):
        return Path(chosen).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "SAMMed2D"
    elif sys.platform == "darwin":
        data = home / "Library" / "Application Support" / "SAMMed2D"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "sammed2d"
    return data / "models"


def path_of(entry: KnownModel, directory: Path | None = None) -> Path:
    """Where a model's inference checkpoint lies, or will lie once it is installed."""
    return (_WEIGHTS_DIR if entry.embedded else directory or models_dir()) / f"{entry.name}.pt"


def is_installed(entry: KnownModel, directory: Path | None = None) -> bool:
    """Whether the model can be loaded without a download."""
    return path_of(entry, directory).is_file()


def added_path(name: str) -> Path:
    """Where a model that a user added under a name of their own lies."""
    return models_dir() / f"{name}.pt"


def added_models() -> list[Path]:
    """Files of the models that a user added."""
    return sorted(path for path in models_dir().glob("*.pt") if path.stem not in KNOWN_MODELS)


def weights_path(model: str | Path) -> Path:
    """Find the weights that are meant: by a known or a former name, by that of an added model, or by a file's path.

    Raises:
        RegistryError: no model of this name.
        NotInstalledError: one that is not on this computer yet.
    """
    model = current_name(model) if isinstance(model, str) else model
    if isinstance(model, str) and model in KNOWN_MODELS:
        if is_installed(KNOWN_MODELS[model]):
            return path_of(KNOWN_MODELS[model])
        raise NotInstalledError(model)
    path = Path(model)
    if isinstance(model, Path) or path.exists() or path.suffix in (".pt", ".pth"):
        return path
    if added_path(model).is_file():
        return added_path(model)
    known = ", ".join([*KNOWN_MODELS, *(path.stem for path in added_models())])
    raise RegistryError(f"There is no model {model!r}. Known models: {known}.")


def install(
    entry: KnownModel,
    directory: Path | None = None,
    *,
    progress: Progress | None = None,
    should_cancel: Callable[[], bool] | None = None,
    config: Mapping[str, Any] | None = None,
    policy: DownloadPolicy | None = None,
) -> Path:
    """Download a model, check it, keep its weights as an inference checkpoint, and remove the rest.

    Args:
        entry: the model; an installed one is left as it is.
        directory: folder of the models, by default `models_dir()`.
        progress: see `download.Progress`.
        should_cancel: see `download.download`.
        config: the model's configuration, to be kept with the weights.
        policy: see `download.download`.

    Returns:
        The inference checkpoint.

    Raises:
        DownloadError, DownloadCancelled, ChecksumError: as `download.download`.
        CheckpointError: the file that came is not usable.
        RegistryError: the record of checksums is damaged, or the embedded file is missing.
    """
    # Late: whoever only lists the models, as a panel that is opened, downloads none.
    from SAMMed2DLib.registry.download import DownloadPolicy, exclusive

    target = path_of(entry, directory)
    if target.is_file():
        return target
    if entry.embedded:
        raise RegistryError(f"The built-in model is missing ({target}). Install the program again.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(target):
        _install(entry, target, progress, should_cancel, config, policy or DownloadPolicy())
    return target


def _install(
    entry: KnownModel,
    target: Path,
    progress: Progress | None,
    should_cancel: Callable[[], bool] | None,
    config: Mapping[str, Any] | None,
    policy: DownloadPolicy,
) -> None:
    # Late: it is needed here only, and torch with it.
    from SAMMed2DLib.checkpoints.inference_checkpoint import convert_to_inference_checkpoint
    from SAMMed2DLib.registry.download import download

    record = ChecksumRecord(target.parent / _CHECKSUMS_FILE)
    source = target.with_suffix(_DOWNLOAD_SUFFIX)
    done = download(
        entry.sources,
        source,
        progress,
        should_cancel,
        sha256=entry.sha256 or record.sha256(entry.name),
        size_bytes=entry.size_bytes,
        policy=replace(policy, reserve_bytes=policy.reserve_bytes + (entry.size_bytes or 0) // 2),
    )
    try:
        convert_to_inference_checkpoint(source, target, config, _provenance(entry, done))
        record.hold(entry.name, done)
    finally:
        source.unlink(missing_ok=True)


def remove(entry: KnownModel, directory: Path | None = None) -> tuple[Path, ...]:
    """Remove a model's inference checkpoint and what broken downloads of it left; its checksum stays on record.

    Returns:
        The files that were removed; none if there were none.

    Raises:
        RegistryError: the model comes with the program.
    """
    if entry.embedded:
        raise RegistryError(f"{entry.name} comes with the program and cannot be removed.")
    target = path_of(entry, directory)
    rests = target.parent.glob(f"{target.stem}{_DOWNLOAD_SUFFIX}*")
    removed = tuple(path for path in (target, *sorted(rests)) if path.is_file())
    for path in removed:
        path.unlink()
    return removed


def _provenance(entry: KnownModel, done: Downloaded) -> dict[str, Any]:
    return {
        "name": entry.name,
        "url": done.url,
        "source_file": done.url.split("?")[0].rsplit("/", 1)[-1],
        "source_sha256": done.sha256,
        "weights_licence": entry.weights_licence,
        "data_licence": entry.data_licence,
    }


class ChecksumRecord:
    """The checksums of the first downloads, in a small JSON file beside the models.

    No checksums are published for these models. So the first download is trusted, and every later one must be
    the same file.
    """

    def __init__(self, path: Path) -> None:
        """Use the record at `path`; it need not exist."""
        self._path = path

    def sha256(self, name: str) -> str | None:
        """The checksum first seen for a model; None before its first download.

        Raises:
            RegistryError: the record is damaged.
        """
        held = self._read().get(name)
        return held["sha256"] if held else None

    def hold(self, name: str, done: Downloaded) -> None:
        """Record a model's first download; a later one changes nothing."""
        held = self._read()
        if name in held:
            return
        held[name] = {
            "sha256": done.sha256,
            "bytes": done.size_bytes,
            "url": done.url,
            "first_seen": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        beside.write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")
        os.replace(beside, self._path)

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self._path.exists():
            return {}
        try:
            held = json.loads(self._path.read_text(encoding="utf-8"))
            if all(len(entry["sha256"]) == 64 for entry in held.values()):
                return dict(held)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(self._damaged()) from error
        raise RegistryError(self._damaged())

    def _damaged(self) -> str:
        return (
            f"The record of checksums {self._path} is damaged. Restore it; or delete it: the next download"
            " of each model is trusted as a first one."
        )
