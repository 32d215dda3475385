"""Radiographs that are computed from a labelled CT show its structures where their outlines lie."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from prepare_data import SPLIT
from projected_radiographs import (
    RADIOGRAPHS,
    UNSEEN,
    StructuresOfVolume,
    body_of,
    cubic,
    label_maps,
    lungs_of,
    radiographs,
    read_structures,
    sections,
)

SPACING = (2.0, 2.0, 2.5)
SHAPE_KJI = (40, 50, 60)
SOURCE = StructuresOfVolume(
    "totalsegmentator",
    "xr_drawn",
    "ct.nii.gz",
    {"bone": ("labels.nii.gz", (3,)), UNSEEN: ("labels.nii.gz", (5,))},
    has_lungs=True,
    sections="ct_drawn",
)


def ellipsoid(centre_kji: tuple[float, ...], radii_kji: tuple[float, ...]) -> np.ndarray:
    k, j, i = (
        (axis - c) / r for axis, c, r in zip(np.indices(SHAPE_KJI).astype(float), centre_kji, radii_kji, strict=True)
    )
    return k**2 + j**2 + i**2 <= 1


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """A trunk on a table: two lungs, a dense ball near the head and to the left, a liver below."""
    folder = tmp_path_factory.mktemp("package")
    hounsfield = np.full(SHAPE_KJI, -1000.0, np.float32)
    hounsfield[:, 47:49, 5:55] = 100  # the table
    hounsfield[:, 4:45, 4:56] = 30
    hounsfield[ellipsoid((20, 25, 18), (14, 14, 8)) | ellipsoid((20, 25, 42), (14, 14, 8))] = -850
    labels = np.zeros(SHAPE_KJI, np.uint8)
    labels[ellipsoid((33, 25, 42), (4, 5, 5))] = 3
    labels[ellipsoid((5, 25, 20), (4, 10, 9))] = 5
    hounsfield[labels == 3] = 1200
    for name, array in (("ct", hounsfield), ("labels", labels)):
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing(SPACING)
        SimpleITK.WriteImage(image, str(folder / f"{name}.nii.gz"))
    return folder


def test_views_are_bright_and_outlined_where_the_structures_are(package):
    image, masks = read_structures(SOURCE, package)
    assert set(masks) == {"body", "lungs", "bone", UNSEEN}
    views = list(radiographs(image, masks, SOURCE))
    assert {view.name.split("_")[0] for view in views} == {"front", "side"}
    head_on = [view for view in views if view.name.startswith("front_0")]
    found = 0
    for label, grey in ((view.label, view.image[..., 0].astype(float)) for view in head_on):
        height, width = label.shape
        for value in range(1, int(label.max()) + 1):
            rows, columns = np.nonzero(label == value)
            if len(rows) < 0.05 * label.size:  # the ball: up, on the image's right, denser than the other side
                assert rows.mean() < 0.35 * height and columns.mean() > 0.55 * width
                mirrored = width - 1 - columns
                assert grey[rows, columns].mean() > grey[rows, mirrored].mean() + 20
                found += 1
    assert found == 1  # and the liver, which a radiograph does not show, has no outline
    again = list(radiographs(image, masks, SOURCE))
    for one, other in zip(views, again, strict=True):
        assert np.array_equal(one.image, other.image) and np.array_equal(one.label, other.label)


def test_body_and_lungs_are_found_without_the_table(package):
    image = cubic(SimpleITK.Cast(SimpleITK.ReadImage(str(package / "ct.nii.gz")), SimpleITK.sitkFloat32))
    body = SimpleITK.GetArrayFromImage(body_of(image)).astype(bool)
    lungs = SimpleITK.GetArrayFromImage(lungs_of(image)).astype(bool)
    table_j = round(47.5 * SPACING[1] / 1.5)
    assert not body[:, table_j - 1 :].any()
    middle = body.shape[0] // 2
    assert body[middle, round(25 * SPACING[1] / 1.5), round(18 * SPACING[0] / 1.5)]  # filled where the lung is
    sides = [lungs[middle, :, : lungs.shape[2] // 2].sum(), lungs[middle, :, lungs.shape[2] // 2 :].sum()]
    assert min(sides) > 0.8 * max(sides) and (lungs & ~body).sum() < 0.02 * lungs.sum()


def test_sections_have_the_body_with_the_lungs_in_another_map(package):
    image, masks = read_structures(SOURCE, package)
    planes = list(sections(image, masks, SOURCE))
    assert {plane.name.split("_")[0] for plane in planes} == {"axial", "coronal", "sagittal"}
    middle = [plane for plane in planes if plane.name.startswith("axial")]
    covered = sorted((plane.label == 1).mean() for plane in middle)
    assert covered[0] < 0.4 < covered[-1]
    assert all(plane.dataset == "ct_drawn" for plane in planes)


def test_what_overlaps_comes_into_another_label_map():
    first, second, apart = (np.zeros((50, 50), bool) for _ in range(3))
    first[5:25, 5:25] = second[15:35, 15:35] = apart[40:48, 40:48] = True
    maps = label_maps([first, second, apart, np.zeros((50, 50), bool), np.ones((50, 50), bool)])
    assert len(maps) == 2
    assert (maps[0] == 1)[first].all() and (maps[0] == 2)[apart].all()
    assert np.array_equal(maps[1] == 1, second)


def test_every_computed_set_has_a_part():
    names = {name for source in RADIOGRAPHS for name in (source.dataset, source.sections) if name}
    assert names <= {name for name, part in SPLIT.items() if part == "train"}
