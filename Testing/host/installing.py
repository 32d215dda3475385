"""Nothing is ever installed by a test: what pip would do, a test says.

``slicer.packaging.answers["pip_install"] = function`` is called with the requirements; ``"pip_check"`` answers whether
they are met, where it should not really be looked; ``"isPipInstallInProgress"`` is True while pip is to seem busy.
"""

answers = {}


class NoInstallationError(RuntimeError):
    """Something wanted to install packages, and no test said that it may."""


def answer(name, requirements, options):
    """What the test's function gives.

    Raises:
        NoInstallationError: there is none.
    """
    if name not in answers:
        raise NoInstallationError(f"{name}({requirements!r}, {options}): no test answers")
    return answers[name](requirements)


def is_busy():
    """Whether pip is to seem at work in the background."""
    return bool(answers.get("isPipInstallInProgress"))


def guard(packaging):
    """Put the answers before Slicer's own slicer.packaging."""
    really_check = packaging.pip_check

    def pip_check(req, _seen=None):
        return answers["pip_check"](req) if "pip_check" in answers else really_check(req, _seen)

    packaging.answers, packaging.NoInstallationError, packaging.pip_check = answers, NoInstallationError, pip_check
    packaging.isPipInstallInProgress = is_busy
    packaging.pip_install = lambda requirements, **options: answer("pip_install", requirements, options)
    packaging.pip_uninstall = lambda requirements, **options: answer("pip_uninstall", requirements, options)
