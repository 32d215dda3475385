"""Writing with torch so that what went wrong on disk is told as such, and what is written stays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, cast


def write_torch_file(path: Path, record: object) -> None:
    """Save a record; its bytes are on the disk when this returns.

    Args:
        path: of the file; one that is there is replaced.
        record: what `torch.save` takes.

    Raises:
        OSError: the file cannot be written, for instance because the disk is full.
    """
    import torch

    with path.open("wb") as file:
        sink = _Sink(file)
        try:
            torch.save(record, cast(BinaryIO, sink))  # all that torch asks for is these two
        except RuntimeError as error:  # what torch makes of a write that failed
            raise sink.error or error from error
        file.flush()
        os.fsync(file.fileno())


class _Sink:
    """Hands bytes on to a file, and remembers what went wrong."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write to the file."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Hand the last bytes on."""
        self._file.flush()
