"""What became of each case: a JSON file, written when the case is finished, that a later run goes on from."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from SAMMed2DLib.data.curation.curation_options import CurationOptions
from SAMMed2DLib.data.curation.duplicates import SIDE
from SAMMed2DLib.data.curation.sources.cases import Case
from SAMMed2DLib.system.files import StagedFiles, read_json

CASES, IMAGES, MASKS = "cases", "images", "masks"
REPORT_FILES = REPORT, SIZES, SAMPLES = "report.md", "mask_sizes.png", "samples.png"
VERSION = 1  # of the rules by which slice images are made: another one makes them again


@dataclass(frozen=True)
class MaskRecord:
    """A mask that was written; attributes as of `MaskEntry`."""

    mask: str
    anatomy: str
    instance: int
    area_px: int
    sha256: str


@dataclass(frozen=True)
class ImageRecord:
    """A slice image that was written, and its masks.

    Attributes:
        image: path of the PNG, relative to the folder.
        axis: "i", "j", "k", or empty.
        slice: its number, or -1.
        size_hw: px.
        sha256: of its pixels.
        stored: SHA-256 of the intensities before any window.
        thumbnail: base64 of 16 x 16 uint8.
        masks: at least one.
    """

    image: str
    axis: str
    slice: int
    size_hw: tuple[int, int]
    sha256: str
    stored: str
    thumbnail: str
    masks: tuple[MaskRecord, ...]

    @property
    def small(self) -> np.ndarray:
        """(16, 16) float32, 0..255."""
        data = np.frombuffer(base64.b64decode(self.thumbnail), np.uint8)
        return data.reshape(SIDE, SIDE).astype(np.float32)


@dataclass(frozen=True)
class CaseRecord:
    """What became of a case.

    Attributes:
        place: of the case.
        made_from: checksum of files and options.
        files: what was read; path -> (size, time of change, SHA-256).
        modality: of the images.
        images: that were written.
        dropped: how much was not, by reason.
        notes: what a user should know.
        error: why there is nothing; empty if all went well.
    """

    place: str
    made_from: str = ""
    files: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    modality: str = ""
    images: tuple[ImageRecord, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: str = ""


def path_of(folder: Path, case: Case) -> Path:
    """Where the record of a case is."""
    return folder / CASES / f"{case.place}.json"


def write_record(folder: Path, case: Case, record: CaseRecord) -> None:
    """Write a record; it appears whole or not at all.

    Args:
        folder: that is curated into.
        case: names the file.
        record: what became of the case.
    """
    path = path_of(folder, case)
    path.parent.mkdir(parents=True, exist_ok=True)
    with StagedFiles() as staged:
        staged.place(path).write_text(json.dumps(asdict(record)) + "\n", encoding="utf-8")


def read_record(folder: Path, case: Case) -> CaseRecord | None:
    """Read the record of a case; None if there is none that can be used."""
    try:
        content = read_json(path_of(folder, case))
        return _record(content)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _record(content: dict[str, Any]) -> CaseRecord:
    images = tuple(
        ImageRecord(
            **image
            | {"size_hw": tuple(image["size_hw"]), "masks": tuple(MaskRecord(**mask) for mask in image["masks"])}
        )
        for image in content["images"]
    )
    files = {path: (int(size), int(time), str(digest)) for path, (size, time, digest) in content["files"].items()}
    return CaseRecord(**content | {"images": images, "files": files, "notes": tuple(content["notes"])})


def is_finished(record: CaseRecord | None, case: Case, options: CurationOptions) -> bool:
    """Whether a record is of these files, as they are now, and these options.

    Args:
        record: of an earlier run; None if there is none.
        case: as it is now.
        options: of this run.
    """
    if record is None or record.error or set(record.files) != {str(path) for path in files_of(case)}:
        return False
    try:
        files = checksums(case, record.files)
    except OSError:
        return False
    return record.made_from == made_from(case, options, files)


def files_of(case: Case) -> list[Path]:
    """All files that a case is read from."""
    return sorted(set(_files_in((case.image, *case.labels))))


def _files_in(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from (file for file in path.rglob("*") if file.is_file())
        else:
            yield path


def checksums(case: Case, known: dict[str, tuple[int, int, str]] | None = None) -> dict[str, tuple[int, int, str]]:
    """Size, time of change and SHA-256 of a case's files; those as old and as large as before are not read again.

    Raises:
        OSError: a file cannot be read.
    """
    found = {}
    for path in files_of(case):
        about = path.stat()
        size, time, digest = (known or {}).get(str(path), (-1, -1, ""))
        if (size, time) != (about.st_size, about.st_mtime_ns):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[str(path)] = (about.st_size, about.st_mtime_ns, digest)
    return found


def made_from(case: Case, options: CurationOptions, files: dict[str, tuple[int, int, str]]) -> str:
    """A text that changes with all that decides on the slice images of a case, but not with its split.

    Args:
        case: its place, modality, window and classes count, and its files by their content.
        options: of the run.
        files: size in bytes, time of change in ns and SHA-256 of each file of the case, by path.
    """
    described = [
        VERSION,
        [(Path(path).name, digest) for path, (_, _, digest) in sorted(files.items())],
        [case.place, case.modality, case.window, sorted(case.classes.items())],
        asdict(options),
    ]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
