"""Stands for slicer.packaging (Slicer 5.12 and newer) where Slicer's own file is not at hand.

pip_check really looks; nothing is installed (see host.installing). Left out: pip_ensure.
"""

from importlib import metadata
from pathlib import Path

from host.installing import NoInstallationError, answer, answers, is_busy
from packaging.requirements import Requirement

__all__ = [
    "NoInstallationError",
    "answers",
    "isPipInstallInProgress",
    "load_requirements",
    "pip_check",
    "pip_install",
    "pip_uninstall",
]


isPipInstallInProgress = is_busy


def _requirements(given):
    return [Requirement(str(one)) for one in (given if isinstance(given, list | tuple) else str(given).split())]


def _is_met(requirement):
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def load_requirements(path):
    """The requirements in a file, without its comments."""
    lines = (line.partition("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


def pip_check(req):
    """True where every requirement is installed in a version that fits."""
    if "pip_check" in answers:
        return answers["pip_check"](req)
    return all(_is_met(requirement) for requirement in _requirements(req))


def pip_install(requirements, **options):
    """Raises: NoInstallationError: no test answers."""
    return answer("pip_install", requirements, options)


def pip_uninstall(requirements, **options):
    """Raises: NoInstallationError: no test answers."""
    return answer("pip_uninstall", requirements, options)
