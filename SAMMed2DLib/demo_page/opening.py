"""Images that visitors bring: one file, or a ZIP archive of DICOM files; read into memory, then removed."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from SAMMed2DLib.demo_page.workspace import DemoError, OpenImage
from SAMMed2DLib.io.volume import VolumeError
from SAMMed2DLib.io.volume_io import read_volume

_MIB = 1024**2
# Directories, previews and such in archives do not count.
_MOST_FILES = 20_000
_CHOICES = {
    "--frame N (frame=N in Python)": "Frame under More",
    "--frame N": "Frame under More",
    "--series N (series=N in Python)": "Series under More",
    "--series N": "Series under More",
    "; give the image that it was drawn on, and the segmentation with --mask": "; open the image that it was drawn on",
    "--frame": "Frame",
    "--series": "Series",
}


@dataclass(frozen=True)
class Limits:
    """How much a visitor may bring, and how many there may be.

    Attributes:
        upload_mb: of a file as it is sent, MiB.
        image_mb: of an image, or of an archive, once it is unpacked, MiB.
        visitors: open pages at a time.
        idle_minutes: after which an open page is forgotten.
    """

    upload_mb: int = 512
    image_mb: int = 1024
    visitors: int = 8
    idle_minutes: int = 60


def open_upload(path: str | Path, *, frame: int | None, series: str | None, limits: Limits) -> OpenImage:
    """Read an image that a visitor sent; the file is removed, whatever comes of it.

    Args:
        path: of the file.
        frame: which volume of a 4D image.
        series: which series of a DICOM archive.
        limits: on its size.

    Raises:
        DemoError: it cannot be used; the message says why.
    """
    sent = Path(path)
    own = sent.with_name(f"{uuid4().hex}-{sent.name}")  # others may send the same file at the same time
    unpacked = own.with_name(f"{own.name}.d")
    try:
        sent.rename(own)
        source = _unpacked(own, unpacked, limits) if zipfile.is_zipfile(own) else own
        volume = read_volume(source, frame=frame, series=series)
        if (size := volume.array.nbytes) > limits.image_mb * _MIB:
            raise DemoError(f"{sent.name} takes {size // _MIB} MiB, more than {limits.image_mb}: crop it.")
    except VolumeError as error:
        raise DemoError(_in_words_of_the_page(str(error), {str(own): sent.name, str(unpacked): sent.name})) from error
    except OSError as error:
        raise DemoError(f"{sent.name} cannot be read ({error.strerror}): send it again.") from error
    finally:
        own.unlink(missing_ok=True)
        shutil.rmtree(unpacked, ignore_errors=True)
    return OpenImage(volume, sent.name, frame, series)


def _unpacked(archive: Path, folder: Path, limits: Limits) -> Path:
    """The files of an archive under names of ours, so that none lands elsewhere; a lone image file itself."""
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.infolist() if not member.is_dir()]
            if len(members) > _MOST_FILES or sum(member.file_size for member in members) > limits.image_mb * _MIB:
                raise DemoError(f"This archive is too large once unpacked: {limits.image_mb} MiB are the most.")
            folder.mkdir()
            for number, member in enumerate(members):
                _extract(content, member, folder / f"{number:05d}-{Path(member.filename).name[-80:]}")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DemoError(f"This archive cannot be unpacked ({error}): pack it again, without a password.") from error
    files = list(folder.iterdir())
    return files[0] if len(files) == 1 else folder


def _extract(content: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """One file, no longer than the archive says."""
    left = member.file_size
    with content.open(member) as source, target.open("wb") as out:
        while left > 0 and (block := source.read(min(_MIB, left))):
            out.write(block)
            left -= len(block)


def _in_words_of_the_page(message: str, names: dict[str, str]) -> str:
    """An error of the library without places on this computer and without options of the command line."""
    for long, short in sorted((names | _CHOICES).items(), key=lambda pair: -len(pair[0])):
        message = message.replace(long, short)
    return message
