"""What has to be installed before the host can start; each thing that is missing is named in one sentence."""

import ctypes
import importlib.util

from .rendering import can_render

PACKAGES = {"slicer_core": "slicer-core==5.13.31053.0", "PySide6": "PySide6-Essentials==6.8.3"}

# The Debian package of each shared library that rendering and Qt open at run time.
LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
}
DRIVERS = "libgl1-mesa-dri"


class MissingRequirementError(RuntimeError):
    """Something that the host needs is not installed; the message says what to install."""


def missing_packages():
    """Python packages to install, as pip takes them."""
    return [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]


def missing_libraries(load=ctypes.CDLL):
    """Debian packages to install."""
    missing = []
    for library, package in LIBRARIES.items():
        try:
            load(library)
        except OSError:
            missing.append(package)
    return [*missing, DRIVERS] if "libegl1" in missing else missing


def check(load=ctypes.CDLL):
    """Say in one sentence what to install.

    Raises:
        MissingRequirementError: a Python package or a system library is missing.
    """
    packages = missing_packages()
    if packages:
        raise MissingRequirementError(f"The Slicer host needs Python packages: pip install {' '.join(packages)}")
    libraries = missing_libraries(load) or ([] if can_render(load) else [DRIVERS])
    if libraries:
        raise MissingRequirementError(
            f"The Slicer host needs system libraries (Debian: apt-get install {' '.join(libraries)})"
        )
