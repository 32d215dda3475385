"""One case from its files to 8-bit PNG images, and the record of it."""

from __future__ import annotations

import base64
import hashlib
import shutil
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from SAMMed2DLib.data.curation.curation_options import CurationOptions
from SAMMed2DLib.data.curation.duplicates import thumbnail
from SAMMed2DLib.data.curation.records import (
    IMAGES,
    MASKS,
    CaseRecord,
    ImageRecord,
    MaskRecord,
    checksums,
    made_from,
    path_of,
    write_record,
)
from SAMMed2DLib.data.curation.slices import Cut, Mask, cuts
from SAMMed2DLib.data.curation.sources.cases import Case, CurationError, file_name
from SAMMed2DLib.data.curation.sources.label_stack import read_labels
from SAMMed2DLib.io.dicom import looks_like_dicom
from SAMMed2DLib.io.volume_io import Volume, VolumeError, read_header, read_volume

_GREY, _COLOUR = 0, 2  # colour types
_AS_IS, _UP = 0, 2  # filters of a row: its values, or their differences from the row above


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a PNG file.

    Args:
        path: of the file.
        image: (H, W) or (H, W, 3) uint8; or (H, W) bool, written as 0 and 255.
    Raises:
        OSError: the file cannot be written.
    """
    is_mask = image.dtype == bool
    values = image.astype(np.uint8) * 255 if is_mask else image
    height, width = values.shape[:2]
    rows = np.empty((height, values.size // height + 1), np.uint8)
    rows[:, 0] = _AS_IS if is_mask else _UP
    rows[:, 1:] = values.reshape(height, -1)
    if not is_mask:
        rows[1:, 1:] -= values.reshape(height, -1)[:-1]
    head = struct.pack(">IIBBBBB", width, height, 8, _GREY if values.ndim == 2 else _COLOUR, 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_EMPTY = "nothing is labelled, so there is nothing to learn from it"


class StoppedError(RuntimeError):
    """Somebody asked to stop; the case is not finished."""


def curate_case(
    case: Case, options: CurationOptions, folder: Path, is_stopped: Callable[[], bool] = lambda: False
) -> CaseRecord:
    """Make the slice images of a case, in place of any earlier ones, and at the end write its record.

    Args:
        case: what to read.
        options: what to keep.
        folder: where the slice images go.
        is_stopped: called between slices.
    Returns:
        the record; that of a case that cannot be read says why.
    Raises:
        StoppedError: it was stopped.
        OSError: the folder cannot be written to.
    """
    path_of(folder, case).unlink(missing_ok=True)  # first: without its images it would not be true
    for kind in (IMAGES, MASKS):
        shutil.rmtree(folder / kind / case.place, ignore_errors=True)
    try:
        record = _made(case, options, folder, is_stopped)
    except (VolumeError, CurationError, MemoryError) as error:
        for kind in (IMAGES, MASKS):
            shutil.rmtree(folder / kind / case.place, ignore_errors=True)
        words = "out of memory; run it with fewer --jobs" if isinstance(error, MemoryError) else str(error)
        record = CaseRecord(case.place, error=" ".join(words.split()))
    write_record(folder, case, record)
    return record


def _made(case: Case, options: CurationOptions, folder: Path, is_stopped: Callable[[], bool]) -> CaseRecord:
    try:
        files = checksums(case)
    except OSError as error:  # of its files; not of the folder that is written to, which ends everything
        raise CurationError(f"{error.filename}: cannot be read ({error.strerror})") from error
    volume = read_volume(case.image)
    labels = read_labels(case, volume, options.names)
    writer = _Writer(folder, case)
    dropped: Counter[str] = Counter()
    images = []
    for cut in cuts(volume, labels, case, options, dropped):
        if is_stopped():
            raise StoppedError
        images.append(writer.write(cut))
    return CaseRecord(
        case.place,
        made_from(case, options, files),
        files,
        case.modality or _dicom_modality(case, volume),
        tuple(images),
        {reason: count for reason, count in dropped.items() if count},
        (*volume.notes, *labels.notes, *([] if any(layer.any() for layer in labels.layers) else [_EMPTY])),
    )


def _dicom_modality(case: Case, volume: Volume) -> str:
    files = sorted(case.image.rglob("*")) if case.image.is_dir() else [case.image]
    path = next((file for file in files if file.is_file() and looks_like_dicom(file)), None)
    try:
        return "" if path is None else read_header(path).get("0008|0060", "").strip()
    except VolumeError:
        return ""


class _Writer:
    """Writes slice images and masks under SA-Med2D names: case, slice, class, instance."""

    def __init__(self, folder: Path, case: Case) -> None:
        self._folder, self._case = folder, case
        self._stem = file_name(case.name)
        self._classes: dict[str, str] = {}
        for kind in (IMAGES, MASKS):
            (folder / kind / case.place).mkdir(parents=True, exist_ok=True)

    def write(self, cut: Cut) -> ImageRecord:
        """Write one slice image and its masks."""
        stem = f"{self._stem}-{cut.axis}_{cut.number:04d}" if cut.axis else f"{self._stem}_0000"
        place = f"{IMAGES}/{self._case.place}/{stem}.png"
        write_png(self._folder / place, cut.image)
        small = np.clip(np.rint(thumbnail(cut.image)), 0, 255).astype(np.uint8)
        pixels = hashlib.sha256(repr(cut.image.shape).encode() + cut.image.tobytes())
        masks = tuple(self._write_mask(stem, mask, pixels) for mask in cut.masks)
        height, width = cut.image.shape[:2]
        encoded = base64.b64encode(small.tobytes()).decode()
        return ImageRecord(place, cut.axis, cut.number, (height, width), pixels.hexdigest(), cut.stored, encoded, masks)

    def _write_mask(self, stem: str, mask: Mask, pixels: hashlib._Hash) -> MaskRecord:
        place = f"{MASKS}/{self._case.place}/{stem}_{self._class(mask.anatomy)}_{mask.instance}.png"
        write_png(self._folder / place, mask.mask_hw)
        both = pixels.copy()
        both.update(np.packbits(mask.mask_hw).tobytes())
        return MaskRecord(place, mask.anatomy, mask.instance, int(mask.mask_hw.sum()), both.hexdigest())

    def _class(self, anatomy: str) -> str:
        """The class in a file's name, no two of them the same, also where case does not count."""
        if anatomy not in self._classes:
            name, number = file_name(anatomy), 1
            taken = {name.casefold() for name in self._classes.values()}
            while name.casefold() in taken:
                number += 1
                name = f"{file_name(anatomy)}-{number}"
            self._classes[anatomy] = name
        return self._classes[anatomy]
