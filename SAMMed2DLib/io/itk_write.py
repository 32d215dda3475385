"""Writing images by SimpleITK, so that a full disk is told as such."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import SimpleITK

_FULL_BYTES = 1 << 16  # what is left of a disk on which nothing fits any more


def write_image(image: SimpleITK.Image, path: Path) -> None:
    """Write an image file, compressed where its format can be. NIfTI has a writer of its own: ITK's forgets errors.

    Raises:
        OSError: it cannot be written, for instance because the disk is full.
    """
    import SimpleITK

    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        is_full = shutil.disk_usage(path.parent).free < _FULL_BYTES
        code = errno.ENOSPC if is_full else errno.EIO
        raise OSError(code, os.strerror(code), str(path.parent)) from error
