"""Surfaces as a binary glTF file (.glb), which browsers and 3D programs read."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SAMMed2DLib.plots.surface import Surface
from SAMMed2DLib.system.files import StagedFiles

_FLOAT, _UINT32, _POINTS, _INDICES = 5126, 5125, 34962, 34963
# The patient upright, looking at the viewer: left, superior, anterior are glTF's x, y, z.
_GLTF_FROM_RAS = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])


@dataclass(frozen=True, eq=False)
class ColoredSurface:
    """A surface, its name and colour.

    Attributes:
        name: of the segment.
        color: red, green, blue in 0..1.
        surface: in mm of the patient.
    """

    name: str
    color: tuple[float, float, float]
    surface: Surface


def write_glb(path: str | Path, parts: Sequence[ColoredSurface]) -> None:
    """Write surfaces, each with its name and colour; the file appears whole or not at all.

    Args:
        path: of the file, .glb.
        parts: those without triangles are left out.

    Raises:
        ValueError: there is nothing to show.
    """
    shown = [part for part in parts if len(part.surface.triangles)]
    if not shown:
        raise ValueError("there is no surface to write: accept a mask first")
    points = np.concatenate([part.surface.points_ras for part in shown])
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    buffer = _Buffer()
    meshes = [_mesh(buffer, number, part, centre) for number, part in enumerate(shown)]
    content = {
        "asset": {"version": "2.0", "generator": "SAMMed2D"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(shown)))}],
        "nodes": [{"mesh": number, "name": part.name} for number, part in enumerate(shown)],
        "meshes": meshes,
        "materials": [_material(part) for part in shown],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    with StagedFiles() as staged:
        head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(buffer.data))
        chunks = [(b"JSON", text), (b"BIN\0", bytes(buffer.data))]
        body = b"".join(struct.pack("<I4s", len(chunk), kind) + chunk for kind, chunk in chunks)
        staged.place(path).write_bytes(head + body)


class _Buffer:
    """The binary part of a file, and what is where in it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, kind: int, target: int) -> int:
        """Append an array; returns the number by which a mesh names it."""
        self.views.append(
            {"buffer": 0, "byteOffset": len(self.data), "byteLength": values.nbytes, "target": target}
        )
        accessor: dict[str, Any] = {"bufferView": len(self.views) - 1, "componentType": kind, "count": len(values)}
        if values.ndim == 2:
            accessor |= {"type": "VEC3", "min": values.min(0).tolist(), "max": values.max(0).tolist()}
        else:
            accessor["type"] = "SCALAR"
        self.accessors.append(accessor)
        self.data += values.tobytes()
        return len(self.accessors) - 1


def _mesh(buffer: _Buffer, number: int, part: ColoredSurface, centre: np.ndarray) -> dict[str, Any]:
    points = ((part.surface.points_ras - centre) @ _GLTF_FROM_RAS.T).astype("<f4")
    normals = (part.surface.normals() @ _GLTF_FROM_RAS.T).astype("<f4")
    attributes = {
        "POSITION": buffer.add(points, _FLOAT, _POINTS),
        "NORMAL": buffer.add(normals, _FLOAT, _POINTS),
    }
    indices = buffer.add(part.surface.triangles.ravel().astype("<u4"), _UINT32, _INDICES)
    return {"name": part.name, "primitives": [{"attributes": attributes, "indices": indices, "material": number}]}


def _material(part: ColoredSurface) -> dict[str, Any]:
    """A matt one; glTF's colours are linear."""
    linear = [float(value**2.2) for value in part.color]
    look = {"baseColorFactor": [*linear, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}
    return {"name": part.name, "pbrMetallicRoughness": look, "doubleSided": True}
