"""Stands for slicer.packaging (Slicer 5.12 and newer) where Slicer's own file is not at hand.

pip_check really looks; nothing is installed (see host.installing). Left out: pip_ensure, requirement files.
"""

from importlib import metadata

from host.installing import NoInstallationError, answer, answers, is_busy
from packaging.requirements import Requirement

__all__ = ["NoInstallationError", "answers", "isPipInstallInProgress", "pip_check", "pip_install", "pip_uninstall"]


isPipInstallInProgress = is_busy


def _requirements(given):
    return [Requirement(str(one)) for one in (given if isinstance(given, list | tuple) else str(given).split())]


def _is_met(requirement):
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


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
