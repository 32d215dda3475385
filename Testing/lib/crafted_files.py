"""Files in torch's layout around any pickle, and pickles that run code in Python's own unpickler."""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from importlib import import_module
from pathlib import Path
from typing import Any

import torch


def torch_zip(
    path: Path,
    contents: bytes,
    storages: dict[str, bytes] | None = None,
    extra: list[tuple[str, bytes]] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """Write an archive in torch's layout around any pickle."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", contents)
        for key, values in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", values)
        for name, values in extra or []:
            archive.writestr(name, values)
    return path


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __call__(self) -> None:
        """Python's pickler demands that what it writes as a function can be called."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


class _Pickler(pickle.Pickler):
    """Writes tensors as torch does, so that hostile objects can stand beside real weights."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.reference if isinstance(obj, Storage) else None


class Storage:
    def __init__(self, *reference: Any) -> None:
        self.reference = reference


def tensor_of(storage: Any, offset: Any = 0, shape: Any = (2, 3), strides: Any = (3, 1)) -> Call:
    rebuild = torch._utils._rebuild_tensor_v2
    return Call(rebuild, storage, offset, shape, strides, False, OrderedDict())


def floats(count: Any = 6, key: Any = "0") -> Storage:
    return Storage("storage", torch.FloatStorage, key, "cpu", count)


SIX = struct.pack("<6f", *range(6))


def dumps(value: Any, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


def command(sentinel: Path) -> str:
    return f"echo run > '{sentinel}'"


def reduce_attacks(sentinel: Path) -> dict[str, Any]:
    """Objects whose pickle runs code; each alone creates the sentinel file when Python unpickles it."""
    code = f"open({str(sentinel)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, command(sentinel)),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "getattr": Call(Call(getattr, Call(import_module, "os"), "system"), command(sentinel)),
        "Path.touch": Call(Path.touch, sentinel),
        "map": Call(list, Call(map, eval, [code])),
        "copyreg": Call(copyreg._reconstructor, Call(eval, f"[str, {code}][0]"), object, None),  # type: ignore[attr-defined]
    }


def raw_attacks(sentinel: Path) -> dict[str, bytes]:
    """The same in instructions that Python's own pickler does not write."""
    shell = command(sentinel).encode()
    text = b"X" + struct.pack("<I", len(shell)) + shell
    code = f"open({str(sentinel)!r}, 'w').close()".encode()
    code_text = b"X" + struct.pack("<I", len(code)) + code
    system = os.system.__module__.encode()
    return {
        "INST": b"(" + text + b"i" + system + b"\nsystem\n.",
        "OBJ": b"(c" + system + b"\nsystem\n" + text + b"o.",
        "STACK_GLOBAL dotted": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "dotted name": b"\x80\x04\x8c\x02os\x8c\x0epath.os.system\x93" + text + b"\x85R.",
        "NEWOBJ_EX": b"\x80\x04cfunctools\npartial\ncbuiltins\neval\n" + code_text + b"\x86}\x92)R.",
        "BUILD": b"cbuiltins\neval\n" + code_text + b"\x85R}b.",
        "extension": b"\x82\xf0" + text + b"\x85R.",
        "first of two": b"cbuiltins\neval\n" + code_text + b"\x85R0}.",
    }
