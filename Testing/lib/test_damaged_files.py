"""Files with bytes changed, cut out or put in are read or refused in one line, whatever their kind."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from dicom_files import enhanced_file, slice_file

from SAMMed2DLib.io.segmentation_io import Segment, read_segmentation, write_segmentation
from SAMMed2DLib.io.volume_io import VolumeError, read_frames, read_volume

ARRAY = np.random.default_rng(0).integers(0, 250, (4, 6, 8)).astype(np.int16)
KINDS = ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.png", "a.seg.nrrd", "slice.dcm", "lengths.dcm", "many.dcm"]


def a_file(folder: Path, name: str) -> Path:
    path = folder / name
    if name == "slice.dcm":
        return slice_file(path, ARRAY[0], (0, 0, 0), RescaleSlope=2)
    if name == "lengths.dcm":
        return slice_file(path, ARRAY[0], (0, 0, 0), rle=True)
    if name == "many.dcm":
        return enhanced_file(path, ARRAY, [(0, 0, 2 * k) for k in range(4)])
    if name == "a.seg.nrrd":
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(ARRAY), str(folder / "image.nrrd"))
        write_segmentation(path, [ARRAY > 100], read_volume(folder / "image.nrrd"), [Segment("liver")])
        return path
    picture = ARRAY[0].astype(np.uint8) if name == "a.png" else ARRAY
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(picture), str(path), True)
    return path


def damaged(data: bytes, chance: random.Random) -> bytes:
    content = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(min(len(content), chance.choice([400, len(content)])))
        some = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))
        change = chance.choice(["change", "change", "cut off", "put in", "cut out"])
        if change == "change":
            content[at] = chance.choice([0, 255, 128, some[0]])
        elif change == "put in":
            content[at:at] = some
        else:
            del content[at : None if change == "cut off" else at + len(some)]
        content = content or bytearray(b"x")
    return bytes(content)


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_refused_in_one_line_or_harmless(tmp_path: Path, name: str) -> None:
    data, chance = a_file(tmp_path, name).read_bytes(), random.Random(name)
    readers: tuple[Callable[[Path], object], ...] = (read_volume, read_segmentation, read_frames)
    for _ in range(80):
        (tmp_path / name).write_bytes(damaged(data, chance))
        for read in readers:
            try:
                read(tmp_path / name)
            except VolumeError as error:
                assert "\n" not in str(error)
