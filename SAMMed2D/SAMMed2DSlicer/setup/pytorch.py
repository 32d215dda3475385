"""PyTorch: its state without importing it, its errors in the user's words, and its installation in Slicer."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.setup.requirements import oldest_torch, specifier_to_install


class InstallError(RuntimeError):
    """PyTorch is missing or does not work; the message says what to do."""


@dataclass(frozen=True)
class TorchState:
    """The state of PyTorch, known without importing it.

    Attributes:
        name: "ready", "missing", "old" or "broken".
        text: for the user, the problem and what to do; empty if ready.
        version: of PyTorch; empty if unknown.
    """

    name: str
    text: str = ""
    version: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether PyTorch is expected to work."""
        return self.name == "ready"


def torch_state() -> TorchState:
    """Find the state of PyTorch in a few milliseconds, on any thread; an import may still fail, see `explain_error`."""
    loaded = sys.modules.get("torch")
    if loaded is not None and getattr(loaded, "__version__", None):
        return _state_of_version(str(loaded.__version__))
    try:
        spec = importlib.util.find_spec("torch")
        version = _installed_version()
    except (ImportError, ValueError):  # a module without a specification: what is left of an import that failed
        return _broken("")
    if spec is None:
        return TorchState("missing", _("PyTorch is not installed yet.")) if not version else _broken(version)
    folders = list(spec.submodule_search_locations or ())
    is_whole = any(next(Path(folder).glob("_C.*"), None) for folder in folders)
    return _state_of_version(version) if version and spec.origin and is_whole else _broken(version)


def explain_error(error: BaseException) -> str:
    """One or two sentences for the user about an error, with what to do."""
    causes = list(_causes(error))
    text = "\n".join(str(cause) for cause in causes)
    for pattern, advice in _known_errors():
        if re.search(pattern, text, re.IGNORECASE):
            return advice
    for cause in causes:
        name = getattr(cause, "name", None) if isinstance(cause, ImportError) else None
        if name == "torch" and isinstance(cause, ModuleNotFoundError):
            return _("PyTorch is not installed yet. Install it in the module SAMMed2D.")
        if name and name.split(".")[0] == "torch":
            return _broken("").text
        if type(cause).__name__ == "EngineError" and "needs PyTorch" in str(cause):
            return _("This model or device needs PyTorch. Install it in the module SAMMed2D, or choose another.")
        if isinstance(cause, MemoryError):
            return _("The memory is full: close other programs, or choose a smaller model.")
        if type(cause).__name__ == "NotInstalledError":
            advice = _("The model {name} is not on this computer yet. Get it in the module SAMMed2D, under Models.")
            return advice.format(name=getattr(cause, "name", ""))
    return str(error) or type(error).__name__


def ensure_torch(ask: bool = True) -> bool:
    """Install PyTorch if it is missing, with the user's consent; errors are shown in a dialog.

    Call it on the main thread, from a button; it blocks the window until PyTorch is installed.

    Args:
        ask: ask before anything is downloaded or removed.

    Returns:
        Whether PyTorch can be used now.
    """
    try:
        return install_torch(ask)
    except InstallError as error:
        slicer.util.errorDisplay(str(error), windowTitle=_("PyTorch for SAMMed2D"))
        return False


def install_torch(ask: bool = True) -> bool:
    """Install PyTorch where it is missing, old or broken, through the extension PyTorch.

    Args:
        ask: ask before anything is downloaded or removed.

    Returns:
        Whether PyTorch can be used now; False where the user declined.

    Raises:
        InstallError: it cannot be installed, or not without a restart.
    """
    state = torch_state()
    if state.is_ready:
        return True
    logic = _torch_utils()
    if "torch" in sys.modules and state.name != "missing":
        raise InstallError(_("{state} Its files are in use: restart Slicer, then try again.").format(state=state.text))
    if state.name == "broken":
        if ask and not _may_repair(state):
            return False
        _call_torch_utils(logic.uninstallTorch)  # pip takes a partial installation for a whole one
        ask = False
    wanted = specifier_to_install("torch")
    torch = _call_torch_utils(logic.installTorch, askConfirmation=ask, torchVersionRequirement=wanted)
    if torch is None:
        return False
    importlib.invalidate_caches()
    state = torch_state()
    if not state.is_ready:
        raise InstallError(_("{state} Restart Slicer, then try again.").format(state=state.text))
    return True


def _state_of_version(version: str) -> TorchState:
    # slicer.packaging.pip_check would refuse pre-releases, which the newest graphics cards need.
    if _numbers(version) < _numbers(oldest_torch()):
        text = _("PyTorch {version} is too old: {oldest} or newer is needed.").format(
            version=version, oldest=oldest_torch()
        )
        return TorchState("old", text, version)
    return TorchState("ready", "", version)


def _broken(version: str) -> TorchState:
    return TorchState("broken", _("The installation of PyTorch is incomplete: it has to be installed anew."), version)


def _installed_version() -> str:
    from importlib import metadata  # late: it takes long, and the built-in model does not ask

    try:
        return metadata.version("torch") or ""
    except metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in found[0].split(".")) if found else ()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, the error first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _known_errors() -> list[tuple[str, str]]:
    """Regular expressions for messages of torch and of operating systems, and the advice for each."""
    repair = _("Close Slicer, start it again, and install PyTorch anew in the module SAMMed2D, under Environment.")
    return [
        (
            r"WinError 1455|paging file",
            _("Windows has too little memory to load PyTorch. Close other programs, or enlarge the paging file."),
        ),
        (
            r"WinError (126|127|1114|193)|DLL load failed|error loading .*\.dll",
            _("A library of PyTorch cannot be loaded. Install Microsoft's Visual C++ Redistributable (x64).")
            + " "
            + repair,
        ),
        (
            r"compiled using NumPy 1|_ARRAY_API not found|numpy is not available|numpy\.core\.multiarray failed",
            _("This PyTorch was built for another version of numpy, so they cannot exchange images.") + " " + repair,
        ),
        (
            r"no kernel image|not compatible with the current PyTorch|CUDA capability",
            _("This PyTorch does not support the graphics card. Choose the device CPU, or install a newer PyTorch."),
        ),
        (
            r"undefined symbol|cannot open shared object|GLIBC|Library not loaded|symbol not found|image not found",
            _("A library of PyTorch is missing or of another version.") + " " + repair,
        ),
        (
            r"partially initialized module 'torch|torch.* has no attribute|cannot import name .* from .*torch",
            _broken("").text + " " + repair,
        ),
        (
            r"CUDA out of memory|MPS backend out of memory",
            _("The memory of the graphics card is full. Close other programs, or choose the device CPU."),
        ),
    ]


def _torch_utils() -> Any:
    """The logic of the extension PyTorch.

    Raises:
        InstallError: the extension is not installed, or pip is installing other packages.
    """
    if _is_pip_busy():
        raise InstallError(_("Other packages are being installed: wait until that is done, then try again."))
    try:
        import PyTorchUtils
    except ImportError as error:
        raise InstallError(
            _(
                "The extension PyTorch is needed, which installs the right PyTorch for this computer. Get it in "
                "Slicer's Extensions Manager, restart Slicer, then try again. Without internet: "
                "PythonSlicer -m pip install --no-index --find-links FOLDER torch"
            )
        ) from error
    return PyTorchUtils.PyTorchUtilsLogic()


def _is_pip_busy() -> bool:
    try:
        from slicer.packaging import isPipInstallInProgress
    except ImportError:  # before Slicer 5.12
        return False
    return isPipInstallInProgress()


def _call_torch_utils(work: Any, **options: Any) -> Any:
    try:
        return work(**options)
    except Exception as error:  # whatever pip, the network or torch itself comes up with
        raise InstallError(
            _("PyTorch could not be installed. {reason}\n\nDetails are in the Python console.").format(
                reason=explain_error(error)
            )
        ) from error


def _may_repair(state: TorchState) -> bool:
    question = _("{state} Remove what is there, and download PyTorch again? This takes several minutes.")
    return slicer.util.confirmOkCancelDisplay(question.format(state=state.text), windowTitle=_("PyTorch for SAMMed2D"))
