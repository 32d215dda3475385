"""Volumes with awkward geometries, by name."""

import numpy as np
import slicer
import vtk

SHAPE_KJI = (20, 60, 50)


def _rotation(z_deg, x_deg):
    z, x = np.radians([z_deg, x_deg])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    return about_z @ about_x


def _affine(spacing=(0.7, 0.9, 3.0), rotation=None, flips=(1, 1, 1), origin=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if rotation is None else rotation) @ np.diag(flips) * np.array(spacing)
    matrix[:3, 3] = origin
    return matrix


# name: (ras_from_ijk, rotates and shifts its parent transform, shape_kji)
GEOMETRIES = {
    "axis": (_affine(), False, SHAPE_KJI),
    "flipped": (_affine(flips=(-1, -1, 1), origin=(40, -7, 33)), False, SHAPE_KJI),
    "oblique": (_affine(rotation=_rotation(20, 10), flips=(-1, -1, 1), origin=(11, -7, 33)), False, SHAPE_KJI),
    "anisotropic": (_affine(spacing=(0.4, 0.4, 8.0)), False, SHAPE_KJI),
    "offset": (_affine(spacing=(1, 1, 1), origin=(-1234.5, 987.6, 2.25)), False, SHAPE_KJI),
    "sagittal": (_affine() @ np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]]), False, SHAPE_KJI),
    "transformed": (_affine(rotation=_rotation(20, 10), flips=(-1, -1, 1)), True, SHAPE_KJI),
    "single slice": (_affine(spacing=(1, 1, 1)), False, (1, 60, 50)),
    "colour": (_affine(flips=(-1, -1, 1)), False, SHAPE_KJI),
}
WITH_A_BALL = ("axis", "flipped", "oblique", "anisotropic", "offset", "sagittal", "transformed")


def ball_kji(shape_kji):
    """A bright ball in the middle: (K, J, I) int16, 100 inside, 0 outside."""
    k, j, i = np.mgrid[tuple(slice(n) for n in shape_kji)]
    centre = [n // 2 for n in shape_kji]
    distance = (i - centre[2]) ** 2 + (j - centre[1]) ** 2 + ((k - centre[0]) * 3) ** 2
    return np.where(distance < 15**2, 100, 0).astype(np.int16)


def make_volume(geometry="axis", array_kji=None, name="CT"):
    """A volume node of a geometry of the table, holding the array, or else a ball.

    "colour" is a vector volume with the ball in red. Under "transformed" the volume has a linear parent transform.
    """
    ras_from_ijk, has_parent, shape_kji = GEOMETRIES[geometry]
    array_kji = ball_kji(shape_kji) if array_kji is None else array_kji
    if geometry == "colour":
        array_kji = np.stack([array_kji, 0 * array_kji, 255 - 0 * array_kji], axis=-1).astype(np.uint8)
        node = slicer.util.addVolumeFromArray(array_kji, ras_from_ijk, name, "vtkMRMLVectorVolumeNode")
    else:
        node = slicer.util.addVolumeFromArray(array_kji, ras_from_ijk, name)
    node.CreateDefaultDisplayNodes()
    if has_parent:
        node.SetAndObserveTransformNodeID(_make_parent().GetID())
    return node


def _make_parent():
    turn = vtk.vtkTransform()
    turn.RotateZ(35)
    turn.Translate(20, 5, -9)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Parent")
    node.SetMatrixTransformToParent(turn.GetMatrix())
    return node


def world_from_ijk(volume):
    """(4, 4) float: voxels of a volume -> the scene's RAS, its parent transforms included."""
    matrix, parent = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    if volume.GetParentTransformNode():
        volume.GetParentTransformNode().GetMatrixTransformToWorld(parent)
    return slicer.util.arrayFromVTKMatrix(parent) @ slicer.util.arrayFromVTKMatrix(matrix)
