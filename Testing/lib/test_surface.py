"""Surfaces of masks, and the .glb file that holds them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from SAMMed2DLib.plots.gltf import ColoredSurface, write_glb
from SAMMed2DLib.plots.surface import Surface, surface_of

RED = (0.8, 0.2, 0.1)


def ball(radius: float = 14.0, side: int = 40) -> np.ndarray:
    k, j, i = np.mgrid[:side, :side, :side]
    return (k - 20) ** 2 + (j - 18) ** 2 + (i - 21) ** 2 < radius**2


def volume_of(surface: Surface) -> float:
    """Of what it encloses, mm³; positive where the triangles look outwards."""
    corners = surface.points_ras[surface.triangles].astype(np.float64)
    return float(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, 1, -1)])
def test_a_surface_is_closed_looks_outwards_and_lies_where_the_mask_is(signs):
    mask = ball()
    ijk_to_ras = np.diag([*np.multiply(signs, (1.0, 2.0, 3.0)), 1.0])
    ijk_to_ras[:3, 3] = (5, -7, 11)
    surface = surface_of(mask, ijk_to_ras)
    assert volume_of(surface) == pytest.approx(6 * mask.sum(), rel=0.03)
    edges = np.sort(np.concatenate([surface.triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]), axis=1)
    assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}
    centre = (surface.points_ras.min(axis=0) + surface.points_ras.max(axis=0)) / 2
    np.testing.assert_allclose(centre, np.array(signs) * (21, 36, 60) + (5, -7, 11), atol=1e-3)
    away = (surface.points_ras - centre)
    assert ((surface.normals() * away).sum(axis=1) > 0).all()


def test_masks_at_the_rim_and_of_single_voxels_are_closed_too():
    mask = np.zeros((3, 4, 5), bool)
    mask[0, 0, 0] = mask[2, 3, 4] = True
    surface = surface_of(mask, np.eye(4), passes=0)
    assert len(surface.points_ras) == 16 and len(surface.triangles) == 24
    np.testing.assert_allclose(surface.points_ras.min(axis=0), -0.25, atol=0.2)


def test_a_large_mask_is_looked_at_in_steps():
    surface = surface_of(ball(), np.eye(4), most_voxels=10)
    assert len(surface.triangles) < 1500 and volume_of(surface) == pytest.approx(ball().sum(), rel=0.25)


def test_an_empty_mask_has_no_surface_and_is_not_written(tmp_path):
    surface = surface_of(np.zeros((3, 3, 3), bool), np.eye(4))
    assert surface.points_ras.shape == surface.triangles.shape == (0, 3)
    with pytest.raises(ValueError, match="accept a mask first"):
        write_glb(tmp_path / "nothing.glb", [ColoredSurface("nothing", RED, surface)])
    assert not list(tmp_path.iterdir())


def read_glb(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack("<I4s", data[12:20])
    assert kind == b"JSON" and size % 4 == 0
    rest, kind = struct.unpack("<I4s", data[20 + size : 28 + size])
    assert kind == b"BIN\0" and rest == len(data) - 28 - size
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def test_a_glb_file_holds_each_segment_upright_with_name_and_colour(tmp_path):
    ijk_to_ras = np.diag([1.0, 2.0, 3.0, 1.0])
    surface = surface_of(ball(), ijk_to_ras)
    nothing = surface_of(np.zeros((3, 3, 3), bool), np.eye(4))
    path = tmp_path / "segments.glb"
    write_glb(path, [ColoredSurface("nothing", RED, nothing), ColoredSurface("Leber", RED, surface)])
    content, data = read_glb(path)
    assert [node["name"] for node in content["nodes"]] == ["Leber"]
    color = content["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"]
    np.testing.assert_allclose(color, [*(value**2.2 for value in RED), 1])
    (primitive,) = content["meshes"][0]["primitives"]
    place = content["accessors"][primitive["attributes"]["POSITION"]]
    # left, superior, anterior: the voxels' i runs to the right, k upwards, j to the front
    np.testing.assert_allclose(np.subtract(place["max"], place["min"]), (28, 84, 56), rtol=0.1)
    view = content["bufferViews"][content["accessors"][primitive["indices"]]["bufferView"]]
    indices = np.frombuffer(data, "<u4", view["byteLength"] // 4, view["byteOffset"]).reshape(-1, 3)
    np.testing.assert_array_equal(indices, surface.triangles)
    start = content["bufferViews"][place["bufferView"]]["byteOffset"]
    points = np.frombuffer(data, "<f4", 3 * place["count"], start).reshape(-1, 3)
    assert volume_of(Surface(points, indices)) == pytest.approx(volume_of(surface), rel=1e-4)
