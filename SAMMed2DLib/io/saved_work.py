"""A file that holds work in progress: segments as bits, and all else as JSON, so that little is lost in a crash.

It is a ZIP file, with `work.json` and the bits of each segment. It is written beside its place and then moved there, so
that whoever finds it finds all of it. It is read as carefully as any file of unknown origin.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
from SAMMed2DLib.system.files import JsonError, StagedFiles, parsed_json
from SAMMed2DLib.system.memory import available_memory

SUFFIX = ".sammed2d-work"
_VERSION = 1
_DETAILS = "work.json"
_MOST_JSON_BYTES = 256 * 1024**2


class SavedWorkError(ValueError):
    """A file of saved work cannot be read; the message says why."""


@dataclass(frozen=True, eq=False)
class PackedVoxels:
    """Voxels of a grid as bits.

    Attributes:
        start_ijk: (3,) the first voxel.
        shape_kji: (3,) how many there are.
        bits: compressed; see `of`.
    """

    start_ijk: tuple[int, int, int]
    shape_kji: tuple[int, int, int]
    bits: bytes

    @classmethod
    def of(cls, patch: VoxelPatch) -> PackedVoxels:
        """Pack a patch, in any thread."""
        k, j, i = patch.mask_kji.shape
        return cls(patch.start_ijk, (k, j, i), zlib.compress(np.packbits(patch.mask_kji).tobytes(), 1))

    def patch(self) -> VoxelPatch:
        """The voxels.

        Raises:
            SavedWorkError: the bits are not those of such a patch, or take more memory than there is.
        """
        count = math.prod(self.shape_kji)
        free = available_memory()
        if min(self.shape_kji) < 1 or (free is not None and 2 * count > free):
            raise SavedWorkError(f"a segment of {self.shape_kji} voxels is none, or more than fits in memory")
        size = (count + 7) // 8
        unpacker = zlib.decompressobj()
        try:
            data = unpacker.decompress(self.bits, size + 1)
        except zlib.error as error:
            raise SavedWorkError(f"a segment is damaged: {error}") from error
        if len(data) != size:
            raise SavedWorkError("a segment is damaged: it has another number of voxels than it says")
        mask = np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(bool)
        return VoxelPatch(self.start_ijk, mask.reshape(self.shape_kji))


@dataclass(frozen=True, eq=False)
class SavedSegment:
    """A segment.

    Attributes:
        id: that tells it from the others.
        name: for people.
        color: red, green and blue in 0..1.
        tags: what else is known of it.
        voxels: in the grid of the work; None for an empty segment.
    """

    id: str
    name: str
    color: tuple[float, float, float]
    tags: Mapping[str, str]
    voxels: PackedVoxels | None


@dataclass(frozen=True, eq=False)
class SavedWork:
    """Work in progress.

    Attributes:
        details: of plain types; what they are is the affair of who saves.
        segments: in their order.
    """

    details: Mapping[str, Any]
    segments: Sequence[SavedSegment]


def write_work(path: str | Path, work: SavedWork) -> None:
    """Write work; what was there before stays until all is written.

    Raises:
        OSError: it cannot be written.
    """
    entries = [_entry(segment) for segment in work.segments]
    text = json.dumps({"version": _VERSION, "details": work.details, "segments": entries})
    with StagedFiles() as staged, staged.place(path).open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(_DETAILS, text, zipfile.ZIP_DEFLATED, 1)
            for number, segment in enumerate(work.segments):
                if segment.voxels is not None:
                    archive.writestr(_name_of(number), segment.voxels.bits)
        file.flush()
        os.fsync(file.fileno())  # or the name could be there before the contents


def read_work(path: str | Path) -> SavedWork:
    """Read work.

    Raises:
        SavedWorkError: the file is missing, damaged, or no such file; the message says why.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = parsed_json(_read(archive, _DETAILS, _MOST_JSON_BYTES).decode("utf-8"))
            if content["version"] != _VERSION:
                raise SavedWorkError(f"{path}: was saved by another version of this program")
            segments = [_segment(archive, number, entry) for number, entry in enumerate(content["segments"])]
            return SavedWork(dict(content["details"]), segments)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise SavedWorkError(f"{path}: cannot be read: {error}") from error
    except (JsonError, UnicodeDecodeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, SavedWorkError):
            raise
        raise SavedWorkError(f"{path}: is damaged, or no file of saved work: {error}") from error


def _entry(segment: SavedSegment) -> dict[str, Any]:
    voxels = segment.voxels
    placed = None if voxels is None else [*voxels.start_ijk, *voxels.shape_kji]
    tags = dict(segment.tags)
    return {"id": segment.id, "name": segment.name, "color": list(segment.color), "tags": tags, "voxels": placed}


def _segment(archive: zipfile.ZipFile, number: int, entry: Mapping[str, Any]) -> SavedSegment:
    red, green, blue = (float(value) for value in entry["color"])
    tags = {str(name): str(text) for name, text in entry["tags"].items()}
    voxels = None
    if entry["voxels"] is not None:
        i, j, k, depth, height, width = (int(value) for value in entry["voxels"])
        most = math.prod(max(n, 0) for n in (depth, height, width)) // 8 + 4096
        bits = _read(archive, _name_of(number), most + most // 1000)
        voxels = PackedVoxels((i, j, k), (depth, height, width), bits)
    return SavedSegment(str(entry["id"]), str(entry["name"]), (red, green, blue), tags, voxels)


def _read(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    """One file of the archive, no longer than that whatever its header says."""
    with archive.open(name) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise SavedWorkError(f"{name} is longer than it can be")
    return data


def _name_of(number: int) -> str:
    return f"segment_{number}.bits"
