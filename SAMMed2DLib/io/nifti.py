"""NIfTI files, read and written with the affine as it stands: sheared ones too, which ITK refuses or straightens."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from SAMMed2DLib.io.compressed import cut_off, is_packed, opened, read_into
from SAMMed2DLib.io.volume import LPS_TO_RAS, VolumeError, checked_place, times
from SAMMed2DLib.system.files import suffix_of

# Code of the voxels' type: what numpy calls it, and how many of it are one voxel.
_TYPES = {
    2: ("u1", 1), 4: ("i2", 1), 8: ("i4", 1), 16: ("f4", 1), 64: ("f8", 1), 128: ("u1", 3), 256: ("i1", 1),
    512: ("u2", 1), 768: ("u4", 1), 1024: ("i8", 1), 1280: ("u8", 1), 2304: ("u1", 4),
}  # fmt: skip
_COMPLEX = (32, 1792, 2048)
_MM = {1: 1e3, 2: 1.0, 3: 1e-3}  # metres, millimetres, micrometres
_MOST_BEFORE_VOXELS = 1 << 30
# A rotation says the same as the affine if no corner is farther off than this share of a voxel's shortest side.
_AS_ROTATION = 0.05
_AGREE_MM = 0.1


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """The header of a NIfTI file, and the way to its voxels.

    Attributes:
        path: of the header.
        size: voxels along i, j, k and frames, two to four numbers.
        components: values of one voxel.
        is_colour: they are red, green, blue and maybe alpha.
        dtype: of the stored values, with its byte order.
        scaling: slope and intercept from stored to true values.
        ijk_to_ras: (4, 4) float64, mm.
        notes: what a user should know about it.
    """

    path: Path
    size: tuple[int, ...]
    components: int
    is_colour: bool
    dtype: np.dtype
    scaling: tuple[float, float]
    ijk_to_ras: np.ndarray
    notes: tuple[str, ...]
    _voxels: Path
    _offset: int

    is_list = False

    @property
    def bytes_per_value(self) -> int:
        """Of one value in memory."""
        return self._true_dtype.itemsize

    @property
    def metadata(self) -> dict[str, str]:
        """No key/value pairs."""
        return {}

    def read(self, frame: int | None = None) -> np.ndarray:
        """Read the voxels.

        Args:
            frame: which one of a 4D image; None for all.

        Returns:
            (J, I), (K, J, I) or (T, K, J, I), with the components as a last axis if there are several.

        Raises:
            VolumeError: the file is cut off or damaged.
        """
        spatial, frames = self.size[:3], self.size[3:]
        shape = (*(() if frame is not None else frames), *spatial[::-1])
        # A voxel's values lie side by side in colour; else they are images one after the other.
        array = np.empty((*shape, self.components) if self.is_colour else (self.components, *shape), self.dtype)
        with opened(self._voxels) as content:
            _skip(self.path, content, self._offset + (frame or 0) * array.nbytes)
            read_into(self.path, content, array)
        array = array if self.is_colour else np.moveaxis(array, 0, -1)
        return self._true(np.ascontiguousarray(array if self.components > 1 else array[..., 0]))

    @property
    def _true_dtype(self) -> np.dtype:
        if self.scaling == (1.0, 0.0) or self.is_colour:
            return self.dtype.newbyteorder("=")
        is_whole = all(value == int(value) and abs(value) < 2**15 for value in self.scaling)
        if is_whole and self.dtype.kind in "iu" and self.dtype.itemsize <= 2:
            return np.dtype(np.int32)
        return np.dtype(np.float32 if self.dtype.itemsize <= 2 or self.dtype == np.float32 else np.float64)

    def _true(self, stored: np.ndarray) -> np.ndarray:
        true = stored.astype(self._true_dtype, copy=False)
        if self.scaling != (1.0, 0.0) and not self.is_colour:
            slope, intercept = (true.dtype.type(value) for value in self.scaling)
            true *= slope
            true += intercept
        return true


def _skip(path: Path, content: BinaryIO, count: int) -> None:
    while count > 0:
        piece = content.read(min(count, 1 << 20))
        if not piece:
            raise cut_off(path, "it ends before its voxels")
        count -= len(piece)


# --- the header ---------------------------------------------------------------------------------------------


def nifti_file(path: Path) -> NiftiFile | None:
    """The header of a file; None if it is no NIfTI file (a pair's .img is none, its .hdr is).

    Raises:
        VolumeError: it is cut off or damaged, or holds what is no image.
    """
    if not is_packed(path) and not _order(_start(path)):
        return None
    with opened(path, to_end=False) as content:  # the rest is read, and checked, with the voxels
        head = content.read(540)
    if not (order := _order(head)):
        return None
    kind = _SECOND if struct.unpack(f"{order}i", head[:4])[0] == 540 else _FIRST
    if len(head) < kind["bytes"]:
        raise cut_off(path, "it ends within its header")
    fields = {
        name: struct.unpack_from(order + layout, head, offset) for name, (layout, offset) in kind["fields"].items()
    }
    if fields["magic"][0][:3] not in (b"n+1", b"ni1", b"n+2", b"ni2"):
        return None
    return _of_fields(path, fields, order)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _order(head: bytes) -> str:
    """The byte order, "<" or ">", if a file begins as NIfTI does; else nothing."""
    return next((order for order in "<>" if head[:4] in (struct.pack(f"{order}i", n) for n in (348, 540))), "")


# Where the fields are, and of which types.
_FIRST: dict[str, Any] = {
    "bytes": 348,
    "fields": {
        "magic": ("4s", 344), "dim": ("8h", 40), "datatype": ("h", 70), "pixdim": ("8f", 76), "vox_offset": ("f", 108),
        "scaling": ("2f", 112), "units": ("B", 123), "qform_code": ("h", 252), "sform_code": ("h", 254),
        "quaternion": ("3f", 256), "qoffset": ("3f", 268), "sform": ("12f", 280),
    },
}  # fmt: skip
_SECOND: dict[str, Any] = {
    "bytes": 540,
    "fields": {
        "magic": ("8s", 4), "datatype": ("h", 12), "dim": ("8q", 16), "pixdim": ("8d", 104), "vox_offset": ("q", 168),
        "scaling": ("2d", 176), "qform_code": ("i", 344), "sform_code": ("i", 348), "quaternion": ("3d", 352),
        "qoffset": ("3d", 376), "sform": ("12d", 400), "units": ("i", 500),
    },
}  # fmt: skip


def _of_fields(path: Path, fields: dict[str, tuple[Any, ...]], order: str) -> NiftiFile:
    code = fields["datatype"][0]
    if code in _COMPLEX:
        raise VolumeError(f"{path}: holds complex numbers; write its magnitude to a file and use that")
    if code not in _TYPES:
        raise VolumeError(f"{path}: its voxels are of a type (code {code}) that is not read; save it as float32")
    kind, of_type = _TYPES[code]
    size, components = _sizes(path, fields["dim"])
    if of_type > 1 and components > 1:
        raise VolumeError(f"{path}: has {components} colours per voxel; write one 3D volume of it to a file")
    offset = fields["vox_offset"][0]
    if not 0 <= offset <= _MOST_BEFORE_VOXELS:
        raise VolumeError(f"{path}: its header has voxels begin at byte {offset:g}; repair the header")
    in_pair = fields["magic"][0][:2] == b"ni"
    notes: list[str] = []
    with np.errstate(all="ignore"):  # numbers that are none are found at the end
        ijk_to_ras = _place(path, fields, notes)
    slope, intercept = fields["scaling"]
    has_scaling = np.isfinite(slope) and slope != 0
    return NiftiFile(
        path,
        size,
        components * of_type,
        of_type > 1,
        np.dtype(order + kind),
        (float(slope), float(intercept) if np.isfinite(intercept) else 0.0) if has_scaling else (1.0, 0.0),
        ijk_to_ras,
        tuple(notes),
        _image_of_pair(path) if in_pair else path,
        int(offset) if in_pair or offset >= 348 else 352,
    )


def _image_of_pair(path: Path) -> Path:
    stem = path.name[: path.name.lower().rfind(".hdr")]
    for name in (f"{stem}.img", f"{stem}.img.gz"):
        if path.with_name(name).is_file():
            return path.with_name(name)
    raise VolumeError(f"{path}: is the header of a pair, and {stem}.img is not beside it; give both")


def _sizes(path: Path, dim: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Voxels along i, j, k and frames, and values of a voxel."""
    count, sizes = dim[0], dim[1 : dim[0] + 1]
    if not 1 <= count <= 7 or min(sizes) < 0:
        raise VolumeError(f"{path}: its header gives the sizes {', '.join(map(str, dim))}; repair it")
    if any(n > 1 for n in sizes[5:]):
        raise VolumeError(f"{path}: has too many dimensions ({times(sizes)}); write one 3D volume of it to a file")
    components = sizes[4] if count > 4 else 1
    size = (*sizes, 1)[: max(2, min(4, count))]
    while len(size) > 3 and size[-1] == 1:
        size = size[:-1]
    return tuple(size), components


# --- the place ----------------------------------------------------------------------------------------------


def _place(path: Path, fields: dict[str, tuple[Any, ...]], notes: list[str]) -> np.ndarray:
    """The sform if there is one, else the qform, else the sizes of voxels alone; in mm."""
    unit = _MM.get(fields["units"][0] & 7, 1.0)
    sform, qform = np.eye(4), _qform(fields)
    sform[:3] = np.reshape(fields["sform"], (3, 4))
    forms = [form for form, key in ((sform, "sform_code"), (qform, "qform_code")) if fields[key][0] > 0]
    usable = [form for form in forms if _is_usable(form)]
    if not forms:
        # As ITK has it, and so 3D Slicer: i and j run to the left and to the back.
        sides = np.abs(np.array(fields["pixdim"][1:4], float))
        usable = [LPS_TO_RAS @ np.diag([*np.where(sides > 0, sides, 1.0 if fields["dim"][0] < 3 else sides), 1.0])]
        notes.append("the file does not say where in the patient it lies: positions in mm count from its first voxel")
    elif len(usable) == 2 and (apart := _apart_mm(fields, *usable) * unit) > _AGREE_MM:
        notes.append(f"the file gives two places in the patient, up to {apart:.3g} mm apart: that of its sform counts")
    ijk_to_ras = (usable or forms)[0].copy()
    ijk_to_ras[:3] *= unit
    return checked_place(path, ijk_to_ras)


def _is_usable(form: np.ndarray) -> bool:
    return bool(np.isfinite(form).all() and np.linalg.matrix_rank(form[:3, :3]) == 3)


def _apart_mm(fields: dict[str, tuple[Any, ...]], first: np.ndarray, second: np.ndarray) -> float:
    ends = [max(n - 1, 0) for n in fields["dim"][1:4]]
    corners = np.array([[*(np.array(c) * ends), 1] for c in np.ndindex(2, 2, 2)], float)
    return float(np.linalg.norm((first - second) @ corners.T, axis=0).max())


def _qform(fields: dict[str, tuple[Any, ...]]) -> np.ndarray:
    b, c, d = (float(value) for value in fields["quaternion"])
    a_squared = 1 - b * b - c * c - d * d
    if a_squared < 1e-7:  # half a turn, but for rounding
        length = np.sqrt(b * b + c * c + d * d)
        b, c, d, a_squared = b / length, c / length, d / length, 0.0
    a = np.sqrt(a_squared)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    form = np.eye(4)
    form[:3, :3] = rotation * np.abs(fields["pixdim"][1:4]) * [1, 1, -1 if fields["pixdim"][0] < 0 else 1]
    form[:3, 3] = fields["qoffset"]
    return form


# --- writing ------------------------------------------------------------------------------------------------


def write_nifti(path: Path, labels_kji: np.ndarray, ijk_to_ras: np.ndarray) -> None:
    """Write a label map with its affine as it stands.

    The affine is in the sform. A rotation that says the same is in the qform; of a sheared image there is none, and
    readers that know only rotations refuse the file instead of placing it wrongly.

    Args:
        path: .nii or .nii.gz.
        labels_kji: (K, J, I) uint8, uint16 or int32.
        ijk_to_ras: (4, 4), mm.

    Raises:
        VolumeError: NIfTI has no room for so many voxels along an axis.
    """
    if max(labels_kji.shape) > 32767:
        raise VolumeError(f"{path}: NIfTI holds up to 32767 voxels along an axis; write .nrrd or .mha")
    data = labels_kji.astype(labels_kji.dtype.newbyteorder("<"), copy=False)
    code = next(code for code, (kind, _) in _TYPES.items() if kind == labels_kji.dtype.str[1:])
    sides = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    quaternion, handedness = _quaternion(ijk_to_ras[:3, :3] / sides)
    values: dict[str, Any] = {
        "dim": (3, *labels_kji.shape[::-1], 1, 1, 1, 1),
        "datatype": (code,),
        "pixdim": (handedness, *sides, 0, 0, 0, 0),
        "vox_offset": (352,),
        "scaling": (1, 0),
        "units": (2,),
        "sform_code": (1,),
        "sform": ijk_to_ras[:3].ravel(),
        "qform_code": (0,),
        "quaternion": quaternion,
        "qoffset": ijk_to_ras[:3, 3],
        "magic": (b"n+1",),
    }
    if _is_as_rotation(values, ijk_to_ras):
        values["qform_code"] = (1,)
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<h", head, 72, 8 * data.dtype.itemsize)  # bitpix
    for name, (layout, offset) in _FIRST["fields"].items():
        struct.pack_into("<" + layout, head, offset, *values[name])
    with path.open("wb") as file:
        if suffix_of(path) == ".nii.gz":
            with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0, compresslevel=6) as packed:
                _write(packed, head, data)
        else:
            _write(file, head, data)


def _write(file: Any, head: bytearray, data: np.ndarray) -> None:
    file.write(head)
    for plane in data:
        file.write(np.ascontiguousarray(plane).tobytes())


def _is_as_rotation(values: dict[str, Any], ijk_to_ras: np.ndarray) -> bool:
    sides = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    return _apart_mm(values, _qform(values), ijk_to_ras) <= _AS_ROTATION * sides.min()


def _quaternion(directions: np.ndarray) -> tuple[tuple[float, float, float], float]:
    """The nearest rotation as the last three of a unit quaternion, and -1 where the third axis is mirrored."""
    left, _, right = np.linalg.svd(directions)
    rotation = left @ right
    handedness = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    rotation = rotation * [1, 1, handedness]
    # The eigenvector of the largest eigenvalue of this matrix is the quaternion, whatever the rotation.
    xx, yy, zz = np.diag(rotation)
    (_, xy, xz), (yx, _, yz), (zx, zy, _) = rotation
    matrix = np.array(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, xy + yx, xz + zx],
            [xz - zx, xy + yx, yy - xx - zz, yz + zy],
            [yx - xy, xz + zx, yz + zy, zz - xx - yy],
        ]
    )
    a, b, c, d = np.linalg.eigh(matrix)[1][:, -1]
    return ((b, c, d) if a >= 0 else (-b, -c, -d)), handedness
