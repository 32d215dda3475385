"""Files of work in progress: what is written comes back, and damaged ones are refused in one line."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
from SAMMed2DLib.io import saved_work
from SAMMed2DLib.io.saved_work import PackedVoxels, SavedSegment, SavedWork, SavedWorkError, read_work, write_work

DETAILS = {"saved_at": 1.5, "prompts": [{"name": "Größe"}], "volume": None}


def some_work() -> SavedWork:
    mask = np.random.default_rng(0).random((3, 5, 7)) > 0.5
    drawn = SavedSegment("A", "Leber <1>", (1.0, 0.5, 0.0), {"tag": "x"}, PackedVoxels.of(VoxelPatch((-2, 3, 4), mask)))
    return SavedWork(DETAILS, [drawn, SavedSegment("B", "", (0.0, 0.0, 1.0), {}, None)])


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    work = some_work()
    write_work(tmp_path / "w", work)
    read = read_work(tmp_path / "w")
    assert read.details == DETAILS
    for ours, theirs in zip(work.segments, read.segments, strict=True):
        assert (ours.id, ours.name, ours.color, ours.tags) == (theirs.id, theirs.name, theirs.color, theirs.tags)
    patch, expected = read.segments[0].voxels.patch(), work.segments[0].voxels.patch()
    assert patch.start_ijk == expected.start_ijk
    np.testing.assert_array_equal(patch.mask_kji, expected.mask_kji)
    assert read.segments[1].voxels is None


def test_what_was_there_stays_until_all_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_work(tmp_path / "w", some_work())
    before = (tmp_path / "w").read_bytes()
    monkeypatch.setattr(saved_work.os, "fsync", lambda number: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_work(tmp_path / "w", SavedWork({}, []))
    assert os.listdir(tmp_path) == ["w"] and (tmp_path / "w").read_bytes() == before


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_file_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, at: int, value: int) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    write_work(path, some_work())
    content = bytearray(path.read_bytes())
    content[at % len(content)] = value
    path.write_bytes(content)
    try:
        for segment in read_work(path).segments:
            if segment.voxels is not None:
                segment.voxels.patch()
    except SavedWorkError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("length", [0, 10, 100, -30])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    write_work(tmp_path / "w", some_work())
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:length])
    with pytest.raises(SavedWorkError, match="w: cannot be read"):
        read_work(tmp_path / "w")


def test_a_file_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    entry = {"id": "A", "name": "A", "color": [0, 0, 0], "tags": {}, "voxels": [0, 0, 0, 10**5, 10**5, 10**5]}
    with zipfile.ZipFile(tmp_path / "w", "w") as archive:
        archive.writestr("work.json", json.dumps({"version": 1, "details": {}, "segments": [entry]}))
        archive.writestr("segment_0.bits", b"x")
    (segment,) = read_work(tmp_path / "w").segments
    with pytest.raises(SavedWorkError, match="more than fits in memory"):
        segment.voxels.patch()
    few = PackedVoxels.of(VoxelPatch((0, 0, 0), np.ones((2, 2, 2), bool)))
    with pytest.raises(SavedWorkError, match="another number of voxels"):
        PackedVoxels((0, 0, 0), (9, 9, 9), few.bits).patch()


@pytest.mark.parametrize("content", [b"[]", b'{"version": 2}', b"{", b'{"version": 1, "details": {}, "segments": [1]}'])
def test_another_content_is_refused(tmp_path: Path, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "w", "w") as archive:
        archive.writestr("work.json", content)
    with pytest.raises(SavedWorkError):
        read_work(tmp_path / "w")
