"""What the table of contents of a torch file may build: references to storages and tensors, plain containers.

Every number comes from the file and is checked before anything is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from SAMMed2DLib.checkpoints.safe_pickle import Constructor, ContentsError, Name, checked_key

_MAX_DIMENSIONS = 16
_TOO_LARGE = 1 << 48
_MAX_STORAGE_KEY = 200  # letters; torch counts storages, "0", "1", ...

# What torch calls a storage -> (dtype, bytes per element)
_STORAGES = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}


@dataclass(frozen=True)
class StorageRef:
    """A run of `count` elements in the file."""

    key: str
    dtype: str
    count: int
    element_bytes: int

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.count * self.element_bytes


@dataclass(frozen=True, eq=False)
class TensorRef:
    """A tensor in the file, checked to lie inside its storage; offset and strides in elements."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size of its elements."""
        return prod(self.shape) * self.storage.element_bytes


class Storages:
    """Collects the storages that a table of contents refers to."""

    def __init__(self) -> None:
        """Start with none."""
        self.refs: dict[StorageRef, None] = {}

    def from_reference(self, reference: object) -> StorageRef:
        """Read ("storage", type, key, device, count), the only reference that torch writes."""
        if not isinstance(reference, tuple) or len(reference) not in (5, 6) or reference[0] != "storage":
            raise ContentsError("an external reference is not one to a storage")
        _, kind, key, _device, count, *view = reference
        if not isinstance(kind, Name) or not isinstance(key, str) or (view and view[0] is not None):
            raise ContentsError("a reference to a storage has an unknown form")
        if len(key) > _MAX_STORAGE_KEY:
            raise ContentsError(f"a storage has a name of {len(key):,} letters")
        dtype, element_bytes = _STORAGES.get(kind.full.rpartition(".")[2], (None, 0))
        if dtype is None or not kind.full.startswith("torch."):
            raise ContentsError(f"a storage has the unsupported type {kind.full[:80]!r}")
        ref = StorageRef(key, dtype, _natural(count), element_bytes)
        self.refs.setdefault(ref)
        return ref


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _TOO_LARGE:
        raise ContentsError("a size or offset is not a natural number")
    return value


def _naturals(values: object) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > _MAX_DIMENSIONS:
        raise ContentsError("a tensor's shape or strides are not a short list")
    return tuple(_natural(value) for value in values)


def _tensor(storage: object, offset: object, shape: object, strides: object, *_: object) -> TensorRef:
    if not isinstance(storage, StorageRef):
        raise ContentsError("a tensor has no storage")
    ref = TensorRef(storage, _natural(offset), _naturals(shape), _naturals(strides))
    if len(ref.shape) != len(ref.strides):
        raise ContentsError("a tensor has not as many strides as dimensions")
    last = ref.offset + sum((size - 1) * step for size, step in zip(ref.shape, ref.strides, strict=True))
    elements = prod(ref.shape)
    # With more elements than its storage, a tensor of a tiny file would fill the memory once it is copied.
    if elements and (last >= storage.count or elements > storage.count):
        raise ContentsError(
            f"a tensor of shape {ref.shape} does not fit its storage of {storage.count:,} elements"
        )
    # Without an element it needs no storage, but torch multiplies its other sizes all the same.
    if not elements and (ref.offset > storage.count or prod(size for size in ref.shape if size) >= _TOO_LARGE):
        raise ContentsError(f"an empty tensor has the shape {ref.shape}")
    return ref


def _parameter(tensor: object, *_: object) -> object:
    if not isinstance(tensor, TensorRef):
        raise ContentsError("a parameter holds no tensor")
    return tensor


def _dict(pairs: object = ()) -> dict[object, object]:
    if not isinstance(pairs, (tuple, list)):
        return {}
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ContentsError("a dictionary is not made of names and values")
    return {checked_key(name): value for name, value in pairs}


def _size(values: object = ()) -> tuple[int, ...]:
    return _naturals(values)


# Our own stand-ins for the few calls that weights need, by the name in the file.
CONSTRUCTORS: dict[str, Constructor] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": _size,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": lambda *_: {},
    "builtins.dict": _dict,
    "__builtin__.dict": _dict,
}
