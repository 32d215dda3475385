"""Errors as the command line shows them: one line, and whether the input was to blame."""

from __future__ import annotations

import errno

_FULL = "; free some, and give the same command again"
_FORBIDDEN = "; change its permissions, or use another place"
_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
}
_LIBRARY = __name__.partition(".")[0]


def is_bad_input(error: BaseException) -> bool:
    """The library's own ValueErrors are about what it was given; anything else is a failure."""
    return isinstance(error, ValueError) and _is_of_library(error)


def message_of(error: BaseException) -> str:
    """The message in one line."""
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return "this needs PyTorch, and it is not installed: pip install torch"
    if isinstance(error, ImportError) and not _is_of_library(error):
        return f"{error}; `sammed2d doctor` says what is missing and what to do"
    if isinstance(error, MemoryError):
        return "out of memory; close other programs, or use a smaller image or model"
    text = _system_message(error) if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
    if text and (isinstance(error, OSError) or _is_of_library(error)):
        return text
    return f"{type(error).__name__}: {text} (SAMMED2D_TRACEBACK=1 shows where)"


def _system_message(error: OSError) -> str:
    """What the operating system refused, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}{_ADVICE.get(error.errno or 0, '')}"


def _is_of_library(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == _LIBRARY
