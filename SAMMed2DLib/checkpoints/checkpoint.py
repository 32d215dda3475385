"""Weights on disk: reading what the world has, without running anything of what is in a file.

A training checkpoint of the authors holds its optimiser too, more than half of the file; an inference checkpoint of
ours (see `inference_checkpoint`) holds the weights, their configuration and where they came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMMed2DLib.checkpoints.safe_pickle import Inert
from SAMMed2DLib.checkpoints.torch_contents import TensorRef
from SAMMed2DLib.checkpoints.torch_file import TorchFile, TorchFileError, damaged_part, open_torch_file

if TYPE_CHECKING:
    import torch

FORMAT = "sammed2d-weights"
VERSION = 1
_STATE_KEYS = ("model", "state_dict", "model_state_dict")
_PARALLEL_PREFIX = "module."  # DataParallel puts it before every name
_MAX_PLAIN_VALUES = 100_000
_MAX_PLAIN_DEPTH = 20
_LETTERS_PER_VALUE = 50  # what a text counts in `_MAX_PLAIN_VALUES`
_MAX_PLAIN_INTEGER = 1 << 64
_MAX_SHARING = 2
_CHUNK_BYTES = 4 << 20


class CheckpointError(ValueError):
    """A weights file cannot be used; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The weights in a file.

    Attributes:
        state: name -> CPU tensor, or array of NumPy, mapped from the file where it lies (copy on write).
        config: the model's configuration as plain JSON types; None where the file does not hold one.
        provenance: where the weights come from, plain JSON types. For foreign files: "file", "bytes" and, if
            the file wanted code to be run, "not_loaded" with the names of that code.
    """

    state: dict[str, Any]
    config: dict[str, Any] | None
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of each weight."""
        return {name: tuple(value.shape) for name, value in self.state.items()}


def read_checkpoint(path: str | Path, *, as_arrays: bool = False) -> Checkpoint:
    """Read the weights of a file: authors' training checkpoints, bare SAM state dicts, our own inference checkpoints.

    Nothing in the file is executed, and values are mapped, not read, so that opening is fast and an optimiser
    in the file costs nothing.

    Args:
        path: the file.
        as_arrays: read the weights as arrays of NumPy, without PyTorch.

    Raises:
        CheckpointError: the file is missing, no weights file, damaged, or holds no weights.
    """
    path = Path(path)
    try:
        file = _open(path)
        contents = file.contents
        if isinstance(contents, dict) and contents.get("format") == FORMAT:
            return _read_own(file, contents, as_arrays)
        state = _weights(file, _find_state(contents), as_arrays)
    except TorchFileError as error:
        raise CheckpointError(f"{path.name} {error}. {_advice(path)}") from error
    provenance: dict[str, Any] = {"file": path.name, "bytes": path.stat().st_size}
    if file.inert:
        provenance["not_loaded"] = list(file.inert)
    return Checkpoint(state, None, provenance)


def check_opens(path: Path, *, checksums: bool = False) -> None:
    """Look whether a file opens as a checkpoint, without torch and without reading its values.

    Args:
        path: the file.
        checksums: read all values, and compare them with the checksums that an archive holds of its parts.

    Raises:
        CheckpointError: it does not; the message completes "this file ...".
        OSError: the file cannot be read.
    """
    try:
        file = open_torch_file(path)
        contents = file.contents
        if isinstance(contents, dict) and contents.get("format") == FORMAT:
            _references(file, contents.get("state"))
        else:
            _references(file, _find_state(contents))
        if checksums and (part := damaged_part(path)):
            raise TorchFileError(f"is damaged: its part {part[:40]!r} is not what its checksum says")
    except TorchFileError as error:
        raise CheckpointError(str(error)) from error


def verify_weights(checkpoint: Checkpoint) -> None:
    """Check every weight of an inference checkpoint against its checksum; this reads the whole file.

    Raises:
        CheckpointError: a weight differs from what was written, or the file has no checksum.
    """
    expected = checkpoint.provenance.get("weights_sha256")
    if expected is None:
        raise CheckpointError("These weights have no checksum. Convert the file to an inference checkpoint first.")
    if weights_sha256(checkpoint.state) != expected:
        raise CheckpointError("The weights differ from their checksum: the file is damaged. Get it again.")


def weights_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """Checksum of names, types, shapes and values of all weights, whatever file they are in."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode(errors="backslashreplace"))
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def sha256_of(path: str | Path) -> str:
    """Checksum of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


# Reading


def _open(path: Path) -> TorchFile:
    if not path.exists():
        raise TorchFileError("does not exist")
    if path.is_dir():
        raise TorchFileError("is a folder, not a file")
    try:
        return open_torch_file(path)
    except OSError as error:
        raise TorchFileError(f"cannot be opened ({error.strerror or error})") from error


def _advice(path: Path) -> str:
    """Say what to do, from what the file looks like."""
    if not path.is_file():
        return "Check the path, or download the model first."
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return "Check that you may read it."
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "It is a web page: the download was answered by a page instead of the file. Download it again."
    if text.startswith(b"version https://git-lfs"):
        return "It is a pointer to a file kept elsewhere (Git LFS). Download the file itself."
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30:
        return "It is a safetensors file, which is not supported. Use the .pth or .pt file of the model."
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")):
        return "It is a compressed archive. Unpack it and use the .pth or .pt file inside."
    return (
        "Use a .pth or .pt file of SAM or SAM-Med2D; if it was downloaded, delete it and download it again."
    )


def _read_own(file: TorchFile, contents: dict[Any, Any], as_arrays: bool) -> Checkpoint:
    version = contents.get("version")
    if version != VERSION:
        raise TorchFileError(f"is not of version {VERSION} of our format; update the program")
    config, provenance = contents.get("config"), contents.get("provenance")
    if not isinstance(provenance, dict) or not (config is None or isinstance(config, dict)):
        raise TorchFileError("is damaged or crafted: its configuration or provenance is no dictionary")
    return Checkpoint(
        _weights(file, contents.get("state"), as_arrays),
        None if config is None else plain_json(config, "configuration"),
        plain_json(provenance, "provenance"),
    )


def _find_state(contents: object) -> dict[Any, Any]:
    """The dict of weights: under a usual name, or the whole of the file."""
    if isinstance(contents, Inert):
        raise TorchFileError(f"holds a whole object ({contents.made_by}), not its weights")
    if not isinstance(contents, dict):
        raise TorchFileError("holds no dictionary of weights")
    for candidate in (*(contents.get(key) for key in _STATE_KEYS), contents):
        if isinstance(candidate, dict) and any(isinstance(value, TensorRef) for value in candidate.values()):
            return candidate
    keys = ", ".join(repr(key[:40]) for key in list(contents)[:8] if isinstance(key, str)) or "nothing named"
    raise TorchFileError(f"holds no weights (it holds: {keys})")


def _weights(file: TorchFile, state: object, as_arrays: bool) -> dict[str, Any]:
    read = file.array if as_arrays else file.tensor
    return {name: read(ref) for name, ref in _references(file, state).items()}


def _references(file: TorchFile, state: object) -> dict[str, TensorRef]:
    """The weights among what a state dict holds, by name."""
    if not isinstance(state, dict) or not state:
        raise TorchFileError("holds no dictionary of weights")
    named = {name: value for name, value in state.items() if isinstance(name, str)}
    for name, value in named.items():  # a dotted name is a weight's; others stand beside them in some files
        if isinstance(value, Inert) and "." in name:
            raise TorchFileError(
                f"is crafted or damaged: {name[:80]!r} is no weight but made by {value.made_by!r}"
            )
    refs = {name: ref for name, ref in named.items() if isinstance(ref, TensorRef)}
    total = sum(ref.bytes for ref in refs.values())
    if total > _MAX_SHARING * file.file_bytes:  # tensors may share a storage, and are copied in another precision
        raise TorchFileError(f"is crafted: its weights take {total:,} bytes, the file has {file.file_bytes:,}")
    prefix = _PARALLEL_PREFIX if all(name.startswith(_PARALLEL_PREFIX) for name in refs) else ""
    return {name.removeprefix(prefix): ref for name, ref in refs.items()}


def plain_json(value: object, what: str) -> Any:
    """Copy plain JSON data, of a size that is no attack."""
    left = _MAX_PLAIN_VALUES

    def copy(item: object, depth: int) -> object:
        nonlocal left
        left -= 1 + (len(item) // _LETTERS_PER_VALUE if isinstance(item, str) else 0)
        if left < 0 or depth > _MAX_PLAIN_DEPTH:
            raise CheckpointError(f"The {what} is too large to be one; the file is damaged or crafted.")
        if isinstance(item, int) and abs(item) >= _MAX_PLAIN_INTEGER:
            raise CheckpointError(f"The {what} holds a whole number of {item.bit_length():,} bits.")
        if isinstance(item, Mapping) and all(isinstance(key, str) for key in item):
            return {key: copy(entry, depth + 1) for key, entry in item.items()}
        if isinstance(item, (list, tuple)):
            return [copy(entry, depth + 1) for entry in item]
        if item is None or isinstance(item, (str, bool, int, float)):
            return item
        kind = type(item).__name__
        raise CheckpointError(
            f"The {what} holds a {kind} that is no plain JSON (or has keys that are no text)."
        )

    return copy(value, 0)
