"""Inference checkpoints: weights alone, with their configuration, provenance and checksum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMMed2DLib.checkpoints.checkpoint import (
    FORMAT,
    VERSION,
    CheckpointError,
    plain_json,
    read_checkpoint,
    sha256_of,
    verify_weights,
    weights_sha256,
)
from SAMMed2DLib.checkpoints.torch_write import write_torch_file
from SAMMed2DLib.system.files import StagedFiles

if TYPE_CHECKING:
    import torch

KEEP_FLOAT32 = "gaussian_matrix"
"""Names with this part stay float32 in half-precision files: they are multiplied by 2 pi inside a sine."""


def save_inference_checkpoint(
    path: str | Path,
    state: Mapping[str, torch.Tensor],
    config: Mapping[str, Any] | None,
    provenance: Mapping[str, Any],
    *,
    dtype: str | None = None,
) -> Path:
    """Write weights alone, with their configuration, provenance and checksum.

    The file is written beside, read back and checked, and only then gets its name. torch reads it too
    (`weights_only=True, mmap=True`).

    Args:
        path: file to write; an existing one is replaced.
        state: name -> tensor on any device.
        config: the model's configuration, plain JSON types.
        provenance: where the weights come from, plain JSON types; "weights_sha256" is added.
        dtype: "float16" or "bfloat16" to store floating-point weights in half the space, None to keep them.

    Raises:
        CheckpointError: config or provenance is no plain JSON, a weight is too large for `dtype`, or the file
            reads back other than it was written.
    """
    path = Path(path)
    stored = {name: _stored(name, tensor, dtype) for name, tensor in state.items()}
    record = {
        "format": FORMAT,
        "version": VERSION,
        "config": None if config is None else plain_json(dict(config), "config"),
        "state": stored,
        "provenance": plain_json({**provenance, "weights_sha256": weights_sha256(stored)}, "provenance"),
    }
    _write(path, record)
    return path


def convert_to_inference_checkpoint(
    source: str | Path,
    target: str | Path,
    config: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    *,
    dtype: str | None = None,
) -> Path:
    """Write the weights of any readable file as an inference checkpoint.

    Args:
        source: the file to convert; it stays.
        target: the inference checkpoint to write.
        config: the model's configuration; None takes the source's own, if it has one.
        provenance: facts to add, such as "url" and "licence". "source_sha256" is computed if it is not given.
        dtype: as in `save_inference_checkpoint`.

    Raises:
        CheckpointError: the source cannot be read; or as in `save_inference_checkpoint`.
    """
    source = Path(source)
    checkpoint = read_checkpoint(source)
    known = {key: value for key, value in checkpoint.provenance.items() if key not in ("file", "bytes")}
    facts = {"source_file": source.name, "source_bytes": source.stat().st_size, **known, **(provenance or {})}
    if "source_sha256" not in facts:
        facts["source_sha256"] = sha256_of(source)
    return save_inference_checkpoint(target, checkpoint.state, config or checkpoint.config, facts, dtype=dtype)


def _stored(name: str, tensor: torch.Tensor, dtype: str | None) -> torch.Tensor:
    """The tensor as it goes to disk: alone in its storage, in the wished precision."""
    import torch

    tensor = tensor.detach().cpu()
    if dtype is not None and tensor.is_floating_point() and KEEP_FLOAT32 not in name:
        if dtype not in ("float16", "bfloat16"):
            raise CheckpointError(f"Weights are stored as float16 or bfloat16, not {dtype!r}.")
        half = tensor.to(getattr(torch, dtype))
        if not torch.equal(half.isfinite(), tensor.isfinite()):
            raise CheckpointError(
                f"{name} has values too large for {dtype}. Store the weights as bfloat16 or float32."
            )
        tensor = half
    tensor = tensor.contiguous()
    alone = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if alone else tensor.clone()


def _write(path: Path, record: dict[str, Any]) -> None:
    """Save beside the file, read back, and give it its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with StagedFiles() as staged:
        beside = staged.place(path)
        write_torch_file(beside, record)
        verify_weights(read_checkpoint(beside))
