"""How much memory this computer can still give, so that a refusal comes before the crash."""

from __future__ import annotations

import os
import sys
from pathlib import Path

GIB = 1024**3


def available_memory() -> int | None:
    """Memory that this process may still take without swapping.

    Returns:
        bytes, or None where the system does not say. On Linux the limit of a container counts too; on macOS
        it is the installed memory, an upper bound.
    """
    if sys.platform == "win32":
        return _windows_available()
    if sys.platform == "linux":
        known = [value for value in (_meminfo_available(), _cgroup_available()) if value is not None]
        return min(known) if known else None
    return _installed()


def in_gib(size_bytes: float) -> str:
    """Words for a number of bytes: "3.2 GiB", or MiB below half a GiB."""
    if size_bytes < GIB / 2:
        return f"{size_bytes / 1024**2:.0f} MiB"
    return f"{size_bytes / GIB:.1f} GiB"


def _meminfo_available(path: str = "/proc/meminfo") -> int | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_available(folder: str = "/sys/fs/cgroup") -> int | None:
    try:
        limit = Path(folder, "memory.max").read_text().strip()
        used = Path(folder, "memory.current").read_text().strip()
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - int(used))


def _installed() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _windows_available() -> int | None:  # pragma: no cover - runs on Windows only
    import ctypes

    class MemoryStatus(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong)
            for name in (
                "total",
                "available",
                "total_page",
                "available_page",
                "total_virtual",
                "available_virtual",
                "extended",
            )
        ]

    status = MemoryStatus()
    status.length = ctypes.sizeof(status)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - the attribute exists on Windows only
    return int(status.available) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None
