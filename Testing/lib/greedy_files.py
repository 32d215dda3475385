"""Weights files of a few kB or MB that ask for hours or for all memory, by the fault that they have."""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from crafted_files import SIX, Storage, dumps, floats, tensor_of, torch_zip
from tiny_network import CONFIG

from SAMMed2DLib.model.build import build_model

Writer = Callable[[Path], object]

MANY = 149_000  # instructions: what any file may have


def declared(**changes: Any) -> Writer:
    """Real weights whose configuration declares other sizes."""
    record = {"format": "sammed2d-weights", "version": 1, "config": {**CONFIG.to_dict(), **changes}, "provenance": {}}
    return lambda path: torch.save({**record, "state": _state()}, path)


def changed(**tensors: torch.Tensor) -> Writer:
    """A bare state dict with some tensors replaced; dots are written as double underscores."""
    named = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return lambda path: torch.save({**_state(), **named}, path)


def of_pickle(contents: bytes, storages: dict[str, bytes] | None = None) -> Writer:
    return lambda path: torch_zip(path, contents, storages or {"0": SIX})


@cache
def _state() -> dict[str, torch.Tensor]:
    return build_model(replace(CONFIG, adapter=False)).state_dict()


def _text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def _repeated_names() -> bytes:
    """Two long equal names, kept once each and set as keys again and again."""
    kept = b"".join(_text(b"n" * (1 << 20)) + bytes([ord("q"), i]) + b"0" for i in range(2))
    return kept + b"}" + b"h\0Nsh\1Ns" * (MANY // 6) + b"."


def _joined_names() -> bytes:
    """A class named by a long text and a long module, again and again."""
    kept = _text(b"n" * (1 << 20)) + b"q\0"
    return kept + b"h\0h\0\x93" * (MANY // 3) + b"."


def _copied_dicts() -> bytes:
    """One list of pairs, made into a dictionary again and again."""
    pairs = [[str(i), None] for i in range(2000)]
    kept = dumps(pairs, 2)[2:-1] + b"\x85q\xff0ccollections\nOrderedDict\nq\xfe0"
    return b"\x80\x02" + kept + b"]" + b"h\xfeh\xffRa" * (MANY // 8) + b"."


def _long_integers() -> bytes:
    """A key of many digits, hashed anew each time."""
    number = (1 << 8_000_000) - 1
    encoded = pickle.dumps(number, 2)[2:-1]
    return encoded + b"q\0" + b"0}" + b"h\0Ns" * (MANY // 3) + b"."


def _shared(tensors: int, storage_bytes: int) -> Writer:
    """Weights that all lie in one storage, to be copied one by one."""
    count = storage_bytes // 2
    storage = Storage("storage", torch.HalfStorage, "0", "cpu", count)
    state = {f"image_encoder.blocks.{i}.w": tensor_of(storage, 0, (count,), (1,)) for i in range(tensors)}
    return of_pickle(dumps(state), {"0": bytes(storage_bytes)})


def _overlapping_parts(path: Path) -> None:
    """An archive whose directory lists one part under thousands of names."""
    keys = [str(i) for i in range(2000)]
    size = 1 << 20
    state = {f"w.{k}": tensor_of(Storage("storage", torch.ByteStorage, k, "cpu", size), 0, (size,), (1,)) for k in keys}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", dumps(state))
        archive.writestr("archive/data/0", bytes(size))
        first = archive.getinfo("archive/data/0")
        for key in keys[1:]:
            other = zipfile.ZipInfo(f"archive/data/{key}")
            other.file_size = other.compress_size = size
            other.header_offset, other.CRC = first.header_offset, first.CRC
            archive.filelist.append(other)
    path.write_bytes(buffer.getvalue())


def _many_parts(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", dumps({}))
        first = archive.filelist[0]
        for i in range(60_000):
            other = zipfile.ZipInfo(f"archive/data/{i}")
            other.header_offset, other.CRC = first.header_offset, first.CRC
            archive.filelist.append(other)


def _blocks(depth: int) -> dict[str, torch.Tensor]:
    """One small tensor for each block."""
    table = torch.zeros(5, 16)
    return {f"image_encoder.blocks.{i}.attn.rel_pos_h": table.clone() for i in range(depth)}


def _layers(depth: int) -> dict[str, torch.Tensor]:
    return {f"mask_decoder.transformer.layers.{i}.w": torch.zeros(1) for i in range(depth)}


GREEDY: dict[str, Writer] = {
    **{f"declares depth 1e{power}": declared(depth=10**power) for power in (4, 6, 9)},
    **{f"declares image_size {size}": declared(image_size=size) for size in (32_768, 1 << 60)},
    "declares a million decoder layers": declared(decoder_depth=10**6),
    "declares 100 blocks, holds 2": declared(depth=100),
    "declares 20 decoder layers, holds 2": declared(decoder_depth=20),
    "declares a larger image": declared(image_size=4096),
    "declares wide tokens": declared(embed_dim=16_384),
    "declares endless tokens": declared(embed_dim=1 << 62),
    "declares a wide window": declared(window_size=16_000),
    "declares an endless window": declared(window_size=10**12),
    "declares an endless ratio": declared(mlp_ratio=math.inf),
    "declares no ratio": declared(mlp_ratio=math.nan),
    "declares a wide ratio": declared(mlp_ratio=60.0),
    "declares a ratio that rounds to nothing": declared(mlp_ratio=1e-300),
    "declares lists for blocks": declared(global_blocks=[[0]]),
    "declares infinite blocks": declared(global_blocks=[math.inf]),
    "declares 40,000 blocks": declared(global_blocks=[0] * 40_000),
    "declares a long text": declared(depth="9" * 10**6),
    "declares a number of many digits": declared(depth=-(10**19)),
    "declares many sizes": declared(**{f"size_{i}": i for i in range(20_000)}),
    "holds 1000 blocks": changed(**_blocks(1000)),
    "holds 1000 decoder layers": changed(**_layers(1000)),
    "holds blocks with gaps": changed(**{"image_encoder.blocks.987654321.attn.rel_pos_h": torch.zeros(5, 16)}),
    "positions of 3000 x 1": changed(image_encoder__pos_embed=torch.zeros(1, 3000, 1, 32)),
    "positions of 1 x 3000": changed(image_encoder__pos_embed=torch.zeros(1, 1, 3000, 32)),
    "positions of 300 x 300": changed(image_encoder__pos_embed=torch.zeros(1, 300, 300, 32)),
    "positions without an axis": changed(image_encoder__pos_embed=torch.zeros(4, 4, 32)),
    "positions of nothing": changed(image_encoder__pos_embed=torch.zeros(1, 4, 4, 0)),
    "heads of nothing": changed(**{"image_encoder.blocks.0.attn.rel_pos_h": torch.zeros(5, 0)}),
    "a table of positions 100,000 long": changed(**{"image_encoder.blocks.0.attn.rel_pos_h": torch.zeros(100_000, 16)}),
    "a patch of 10,000 px": changed(**{"image_encoder.patch_embed.proj.weight": torch.zeros(32, 3, 1, 10_000)}),
    "an empty tensor of endless size": of_pickle(
        dumps({"a.w": tensor_of(floats(0), 0, (0, 1 << 47, 1 << 47), (1, 1, 1))}), {"0": b""}
    ),
    "an empty tensor far behind its storage": of_pickle(
        dumps({"a.w": tensor_of(floats(), 1 << 47, (0, 3), (1 << 47, 1))})
    ),
    "long names, repeated": of_pickle(_repeated_names()),
    "long names, joined": of_pickle(_joined_names()),
    "dictionaries, copied": of_pickle(_copied_dicts()),
    "long integers, hashed": of_pickle(_long_integers()),
    "150,000 nested dictionaries": of_pickle(b"}" + b"X\1\0\0\0a}" * 150_000 + b"s" * 150_000 + b"."),
    "more objects than bytes allow": of_pickle(b"}0" * 200_000 + b"}."),
    "a stack of marks": of_pickle(b"(" * 1_000_000 + b"."),
    "2000 weights in one storage": _shared(2000, 4 << 20),
    "one part under 2000 names": _overlapping_parts,
    "60,000 parts": _many_parts,
}
