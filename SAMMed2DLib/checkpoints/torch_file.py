"""The two layouts of the files that torch writes: a zip archive (since 1.6) and the older stream of pickles.

Opening a file reads its table of contents only. Tensors are `TensorRef`s until someone asks for their values,
which are then mapped from the file, not read: the optimiser state of a training checkpoint is never touched.
torch's own loader is not used at all: before torch 2.10, crafted files could run code or corrupt memory in
spite of its safe mode (CVE-2025-32434, CVE-2026-24747).
"""

from __future__ import annotations

import mmap
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from SAMMed2DLib.checkpoints.safe_pickle import MAX_STEPS, PickleData, PickleDataError, read_pickle
from SAMMed2DLib.checkpoints.torch_contents import CONSTRUCTORS, StorageRef, Storages, TensorRef

if TYPE_CHECKING:
    import numpy as np
    import torch

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch's number 0x1950a86a20f9469cfc6c, pickled
_LEGACY_PROTOCOL = 1001
_MAX_CONTENTS_BYTES = 32 << 20  # a ViT-H checkpoint with its optimiser needs about 1 MiB
_MAX_DIRECTORY_BYTES = 2 << 20  # a ViT-H checkpoint with its optimiser needs about 200 KiB
_STEPS_OF_ANY_FILE = 150_000  # read in less than half a second
_CHUNK_BYTES = 4 << 20
_FEW_STEPS = 50_000  # of what the older layout has beside its contents
_BYTES_PER_STEP = 2000  # a weight with its moments takes about 100 steps, and is seldom so small


class TorchFileError(ValueError):
    """The file is not one that torch wrote, or it is damaged. The message completes "this file ..."."""


class TorchFile:
    """An opened file: its plain data, and its tensors on demand.

    Attributes:
        contents: what was saved, with `TensorRef` for tensors and `Inert` for what only code could rebuild.
        inert: the names of that code.
    """

    def __init__(self, data: PickleData, mapped: mmap.mmap, offsets: dict[str, int]) -> None:
        """Keep the data, and where in the mapped file each storage begins.

        Args:
            data: what the pickle within the file says.
            mapped: the whole file, mapped; it stays open for as long as this object.
            offsets: bytes from the file's beginning to each storage, by the storage's name.
        """
        self.contents = data.value
        self.inert = data.inert
        self._mapped = mapped
        self._offsets = offsets
        self._realigned: dict[str, bytearray] = {}

    def tensor(self, ref: TensorRef) -> torch.Tensor:
        """Map a tensor's values from the file, copy on write.

        Returns:
            CPU tensor of the saved dtype, shape and strides. Writing to it does not change the file. The file
            may be replaced by another under its name, but must not be cut short while the tensor lives.
        """
        import torch

        dtype = getattr(torch, ref.storage.dtype)
        if not ref.storage.count:
            return torch.empty(ref.shape, dtype=dtype)
        buffer, offset = self._place_of(ref.storage)
        values = torch.frombuffer(buffer, dtype=dtype, count=ref.storage.count, offset=offset)
        return values.as_strided(ref.shape, ref.strides, ref.offset)

    def array(self, ref: TensorRef) -> np.ndarray:
        """Map a tensor's values from the file as an array of NumPy, copy on write, as `tensor` does.

        NumPy has no bfloat16: such weights become float32, in memory of their own.
        """
        import numpy as np

        is_brief = ref.storage.dtype == "bfloat16"
        dtype = np.dtype("uint16" if is_brief else ref.storage.dtype)
        if not ref.storage.count:
            return np.empty(ref.shape, np.float32 if is_brief else dtype)
        buffer, offset = self._place_of(ref.storage)
        values = np.frombuffer(buffer, dtype, ref.storage.count, offset)[ref.offset :]
        strides = tuple(step * dtype.itemsize for step in ref.strides)
        array = np.lib.stride_tricks.as_strided(values, ref.shape, strides)
        return (array.astype(np.uint32) << 16).view(np.float32) if is_brief else array

    def _place_of(self, storage: StorageRef) -> tuple[mmap.mmap | bytearray, int]:
        """The memory that holds a storage, and where in it the storage begins, bytes."""
        offset = self._offsets[storage.key]
        if offset % storage.element_bytes:  # processors differ in what they do with unaligned numbers
            return self._aligned(storage, offset), 0
        return self._mapped, offset

    def _aligned(self, storage: StorageRef, offset: int) -> bytearray:
        """Copy a storage, once for all tensors that share it."""
        if storage.key not in self._realigned:
            self._realigned[storage.key] = bytearray(self._mapped[offset : offset + storage.bytes])
        return self._realigned[storage.key]

    @property
    def file_bytes(self) -> int:
        """Size of the file."""
        return len(self._mapped)


def open_torch_file(path: Path) -> TorchFile:
    """Open a file written by `torch.save`, running nothing of what it holds.

    Raises:
        TorchFileError: not such a file, or damaged.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(len(LEGACY_MAGIC))
        if not head:
            raise TorchFileError("is empty")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        try:
            if head.startswith(ZIP_MAGIC):
                return _open_zip(file, mapped)
            if head == LEGACY_MAGIC:
                return _open_legacy(mapped)
        except PickleDataError as error:
            raise TorchFileError(f"cannot be read: {error}") from error
    raise TorchFileError("is not a file written by torch.save")


def damaged_part(path: Path) -> str | None:
    """Read a whole archive and name a part that differs from its checksum; None if none does, or it is none.

    Raises:
        TorchFileError: the archive is damaged otherwise.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
            return None  # the older layout has no checksums
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            for name, member in _members(file).items():
                start, checksum = _data_start(mapped, member), 0
                for at in range(start, start + member.file_size, _CHUNK_BYTES):
                    checksum = zlib.crc32(mapped[at : min(at + _CHUNK_BYTES, start + member.file_size)], checksum)
                if checksum != member.CRC:
                    return name
    return None


# The zip layout: <folder>/data.pkl is the table of contents, <folder>/data/<key> a storage, uncompressed.


def _open_zip(file: BinaryIO, mapped: mmap.mmap) -> TorchFile:
    members = _members(file)
    folder = _folder(members)
    _check_byte_order(mapped, members.get(f"{folder}byteorder"))
    contents = members[f"{folder}data.pkl"]
    if contents.file_size > _MAX_CONTENTS_BYTES:
        raise TorchFileError(f"has a table of contents of {contents.file_size:,} bytes, which no model needs")
    start = _data_start(mapped, contents)
    seen = Storages()
    table = BytesIO(mapped[start : start + contents.file_size])
    data = read_pickle(table, CONSTRUCTORS, seen.from_reference, _max_steps(mapped))
    if (total := sum(ref.bytes for ref in seen.refs)) > len(mapped):
        raise TorchFileError(f"is damaged or crafted: its storages take {total:,} bytes, the file has {len(mapped):,}")
    offsets = {ref.key: _member_offset(mapped, members, folder, ref) for ref in seen.refs}
    return TorchFile(data, mapped, offsets)


class _DirectoryReader(RawIOBase):
    """A file of which nothing large is read at once: an archive's directory is, and may have been crafted."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > _MAX_DIRECTORY_BYTES:
            raise TorchFileError(f"is damaged or crafted: its archive has a directory of {size:,} bytes")
        return self._file.read(size if size >= 0 else _MAX_DIRECTORY_BYTES)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def _members(file: BinaryIO) -> dict[str, zipfile.ZipInfo]:
    """List the archive; nothing is ever extracted, so names are only compared, never used as paths."""
    try:
        with zipfile.ZipFile(cast("BinaryIO", _DirectoryReader(file))) as archive:
            infos = archive.infolist()
    except TorchFileError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, LookupError, OverflowError) as error:
        raise TorchFileError("is cut short or damaged (its archive has no readable directory)") from error
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise TorchFileError("is damaged or crafted: its archive has two parts of one name")
    for name in members:
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise TorchFileError(f"is crafted: its archive has a part named {name[:80]!r}")
    return members


def _max_steps(mapped: mmap.mmap) -> int:
    """Steps that reading a table of contents may take, in proportion to the file."""
    return min(MAX_STEPS, _STEPS_OF_ANY_FILE + len(mapped) // _BYTES_PER_STEP)


def _folder(members: Iterable[str]) -> str:
    names = list(members)
    tables = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    folders = [name.removesuffix("data.pkl") for name in tables]
    if not folders:
        raise TorchFileError("is a zip archive, but not one written by torch.save (it has no data.pkl)")
    if len(folders) > 1:
        raise TorchFileError("is crafted: its archive has more than one data.pkl")
    if f"{folders[0]}constants.pkl" in names:
        raise TorchFileError("is a TorchScript program, not weights")
    return folders[0]


def _check_byte_order(mapped: mmap.mmap, member: zipfile.ZipInfo | None) -> None:
    if member is None:  # torch before 2.1 did not say, and ran on little-endian machines
        return
    start = _data_start(mapped, member)
    order = mapped[start : start + min(member.file_size, 16)].decode("ascii", "replace")
    if order != sys.byteorder:
        raise TorchFileError(f"was written with byte order {order!r}, this computer uses {sys.byteorder!r}")


def _member_offset(
    mapped: mmap.mmap, members: dict[str, zipfile.ZipInfo], folder: str, ref: StorageRef
) -> int:
    member = members.get(f"{folder}data/{ref.key}")
    if member is None:
        raise TorchFileError(f"is incomplete: its storage {ref.key[:40]!r} is not in the archive")
    if member.file_size != ref.bytes:
        raise TorchFileError(
            f"is damaged: storage {ref.key[:40]!r} should have {ref.bytes:,} bytes, not {member.file_size:,}"
        )
    return _data_start(mapped, member)


def _data_start(mapped: mmap.mmap, member: zipfile.ZipInfo) -> int:
    """Find where a member's bytes begin, from its local header, which must agree with the directory."""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise TorchFileError("has a compressed or encrypted archive, which torch.save never writes")
    at = member.header_offset
    header = mapped[at : at + 30] if at >= 0 else b""
    if len(header) < 30 or not header.startswith(ZIP_MAGIC):
        raise TorchFileError(f"is damaged: its archive has no part at byte {at:,}")
    name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
    start = at + 30 + name_bytes + extra_bytes
    encoding = "utf-8" if member.flag_bits & 0x800 else "cp437"
    name = mapped[at + 30 : at + 30 + name_bytes].decode(encoding, "replace")
    if name != member.orig_filename or member.compress_size != member.file_size:
        raise TorchFileError("is damaged or crafted: the parts of its archive contradict its directory")
    if start + member.file_size > len(mapped):
        raise TorchFileError("is cut short: a part of its archive reaches past its end")
    return start


# The older layout: five pickles (magic, protocol, system, contents, storage keys), then all storages.


def _open_legacy(mapped: mmap.mmap) -> TorchFile:
    stream = BytesIO(mapped[:_MAX_CONTENTS_BYTES])
    read_pickle(stream, max_steps=_FEW_STEPS)
    if read_pickle(stream, max_steps=_FEW_STEPS).value != _LEGACY_PROTOCOL:
        raise TorchFileError("uses an unknown version of torch's old layout")
    system = read_pickle(stream, max_steps=_FEW_STEPS).value
    if not isinstance(system, dict) or system.get("little_endian") is not True or sys.byteorder != "little":
        raise TorchFileError("was written with another byte order than this computer's")
    seen = Storages()
    data = read_pickle(stream, CONSTRUCTORS, seen.from_reference, _max_steps(mapped))
    keys = read_pickle(stream, max_steps=_FEW_STEPS).value
    return TorchFile(data, mapped, _legacy_offsets(mapped, stream.tell(), keys, seen))


def _legacy_offsets(mapped: mmap.mmap, at: int, keys: object, seen: Storages) -> dict[str, int]:
    """Walk over the storages: eight bytes with the number of elements, then the elements."""
    refs = {ref.key: ref for ref in seen.refs}
    if not isinstance(keys, list) or set(refs) != {key for key in keys if isinstance(key, str)}:
        raise TorchFileError("is damaged: its list of storages does not match its table of contents")
    if len(keys) != len(refs) or len(refs) != len(seen.refs):
        raise TorchFileError("is damaged: it lists a storage twice")
    offsets = {}
    for key in keys:
        said = mapped[at : at + 8]
        if len(said) < 8 or at + 8 + refs[key].bytes > len(mapped):
            raise TorchFileError("is cut short: it ends before its last storage")
        if struct.unpack("<q", said)[0] != refs[key].count:
            raise TorchFileError(f"is damaged: storage {key[:40]!r} does not have the announced size")
        offsets[key] = at + 8
        at += 8 + refs[key].bytes
    return offsets
