"""Compressed files, read to their end: a file that was cut off must not be taken for a whole one."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from SAMMed2DLib.io.volume import VolumeError

_PIECE = 1 << 20
# A file may go on behind what is needed of it; so much of that is looked at.
_MOST_BEHIND = 64 << 20
_OPENERS: tuple[tuple[bytes, Any], ...] = (
    (b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open),
)  # fmt: skip


def is_packed(path: Path) -> bool:
    """Whether a file is compressed as a whole, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(6)
    return any(head.startswith(magic) for magic, _ in _OPENERS)


@contextmanager
def opened(path: Path, *, skip: int = 0, to_end: bool = True) -> Iterator[BinaryIO]:
    """A file as what it holds, uncompressed.

    Args:
        path: compressed with gzip, bzip2 or xz, or not at all.
        skip: bytes before the compressed part.
        to_end: read on to the end, where the checksums are, when the block ends.

    Raises:
        VolumeError: it is cut off or damaged.
    """
    with path.open("rb") as file:
        file.seek(skip)
        head = file.read(6)
        file.seek(skip)
        opener = next((opener for magic, opener in _OPENERS if head.startswith(magic)), None)
        if opener is None:
            yield file
            return
        try:
            with opener(_Rest(file, skip)) as content:
                yield content
                if to_end:
                    _drain(content)
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise cut_off(path, error) from error


def _drain(content: BinaryIO) -> None:
    behind = 0
    while behind < _MOST_BEHIND and (piece := content.read(_PIECE)):
        behind += len(piece)


def cut_off(path: Path, error: BaseException | str = "") -> VolumeError:
    """The error for a file that ends too early or was altered."""
    words = str(error).splitlines()[0].rstrip(". ") if str(error) else ""
    reason = f" ({words})" if words else ""
    return VolumeError(f"{path}: is cut off or damaged{reason}; copy, download or export it again")


def read_into(path: Path, content: BinaryIO, array: np.ndarray) -> None:
    """Fill an array, C-contiguous, with the bytes that come next.

    Args:
        path: of the file, for messages.
        content: the open stream.
        array: of any shape and dtype; its bytes are overwritten.

    Raises:
        VolumeError: there are fewer.
    """
    view, done = array.reshape(-1).view(np.uint8).data, 0
    while done < len(view):
        count = content.readinto(view[done : done + 16 * _PIECE])  # type: ignore[attr-defined]
        if not count:
            raise cut_off(path, f"it holds {done} of {len(view)} bytes of its voxels")
        done += count


class _Rest:
    """The part of a file from some byte on."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset + (self._start if whence == 0 else 0), whence) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def has_whole_gzip(path: Path, skip: int, array: np.ndarray) -> bool:
    """Whether the end of a gzip file says that it holds the bytes of this array, which came from it.

    Args:
        path: of the file.
        skip: bytes before the gzip stream.
        array: C-contiguous, any dtype.
    """
    with path.open("rb") as file:
        if file.seek(0, 2) < skip + 18:
            return False
        file.seek(-8, 2)
        trailer = file.read(8)
    return trailer == _little(zlib.crc32(_bytes(array))) + _little(array.nbytes % 2**32)


def has_whole_zlib(path: Path, end: int, array: np.ndarray) -> bool:
    """Whether the last four bytes of a zlib stream, which ends there, say that it holds the bytes of this array.

    Args:
        path: of the file.
        end: bytes from the file's beginning to the stream's end.
        array: C-contiguous, any dtype.
    """
    with path.open("rb") as file:
        file.seek(max(end - 4, 0))
        return file.read(4) == _little(zlib.adler32(_bytes(array)))[::-1]


def check_zlib(path: Path, start: int, size: int) -> None:
    """Read a zlib stream within a file to its end.

    Args:
        path: of the file.
        start: bytes before the stream.
        size: of the stream, bytes.

    Raises:
        VolumeError: it is cut off or damaged.
    """
    stream = zlib.decompressobj()
    with path.open("rb") as file:
        file.seek(start)
        while size > 0 and (piece := file.read(min(_PIECE, size))):
            size -= len(piece)
            try:
                while piece:
                    stream.decompress(piece, 4 * _PIECE)
                    piece = stream.unconsumed_tail
            except zlib.error as error:
                raise cut_off(path, error) from error
    if not stream.eof:
        raise cut_off(path)


def _bytes(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _little(number: int) -> bytes:
    return number.to_bytes(4, "little")
