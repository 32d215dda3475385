"""Size and load time of a file like the published one (weights and Adam state) against its inference checkpoint.

    python Testing/benchmarks/bench_checkpoints.py /tmp/somewhere

Needs about 5 GB in that folder (Linux), and removes what it wrote. Each load runs in a process of its own;
"cold" drops the file from the system's cache first; "own memory" is what the file's mapping does not cover.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
TENSORS = ROOT / "Testing" / "data" / "state_dict_vit_b_256.json"
TRAINED = ("Adapter", "prompt_encoder", "mask_decoder")  # what the published training moves, so has moments

_LOAD = """
import sys, time
import torch
sys.path.insert(0, {root!r})
def own_memory():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssAnon")))
before = own_memory()
start = time.perf_counter()
{load}
opened = time.perf_counter()
total = sum(float(t.float().sum()) for t in state.values())
read = time.perf_counter()
print(opened - start, read - start, len(state), own_memory() - before)
"""
_OURS = "from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint\nstate = read_checkpoint({path!r}).state"
_TORCH = "state = torch.load({path!r}, weights_only=False)['model']"
_TORCH_INFERENCE = "state = torch.load({path!r}, weights_only=True, mmap=True)['state']"


def write_published_like(path: Path) -> None:
    """Write {"model": state dict, "optimizer": the Adam object itself} at the published sizes."""
    tensors = json.loads(TENSORS.read_text(encoding="utf-8"))["tensors"]
    state = {t["name"]: torch.randn(t["shape"]) for t in tensors}
    names = [t["name"] for t in tensors if t["kind"] == "parameter"]
    parameters = [torch.nn.Parameter(state[name]) for name in names]
    adam = torch.optim.Adam(parameters, lr=1e-4)
    for name, parameter in zip(names, parameters, strict=True):
        if any(part in name for part in TRAINED):
            parameter.grad = torch.zeros_like(parameter)
    adam.step()
    adam.zero_grad()
    torch.save({"model": state, "optimizer": adam}, path)


def forget(path: Path) -> None:
    """Drop a file from the system's cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(what: str, load: str, path: Path) -> None:
    """Print the time to open, the time until every weight was read once, and the memory of one load."""
    for cold in (True, False):
        if cold:
            forget(path)
        code = _LOAD.format(root=str(ROOT), load=load.format(path=str(path)))
        run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        opened, read, count, memory = run.stdout.split()
        state = "cold" if cold else "warm"
        print(
            f"{what:42} {state}  open {float(opened):7.3f} s  all read {float(read):7.3f} s  "
            f"{count} tensors  own memory {float(memory) / 1e9:.2f} GB"
        )


def main() -> None:
    """Write, convert, measure, clean up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    sys.path.insert(0, str(ROOT))
    from SAMMed2DLib.checkpoints.inference_checkpoint import convert_to_inference_checkpoint

    folder.mkdir(parents=True, exist_ok=True)
    published, inference, half = (folder / name for name in ("published.pth", "inference.pt", "lean16.pt"))
    try:
        write_published_like(published)
        for target, dtype in ((inference, None), (half, "float16")):
            start = time.perf_counter()
            convert_to_inference_checkpoint(published, target, {}, dtype=dtype)
            seconds = time.perf_counter() - start
            print(f"convert to {target.name}: {seconds:.1f} s, checksums and reading back included")
        for path in (published, inference, half):
            print(f"{path.name}: {path.stat().st_size:,} bytes")
        measure("published, torch.load(weights_only=False)", _TORCH, published)
        measure("published, read_checkpoint", _OURS, published)
        measure("inference, read_checkpoint", _OURS, inference)
        measure("inference, torch.load(weights_only, mmap)", _TORCH_INFERENCE, inference)
        measure("inference float16, read_checkpoint", _OURS, half)
    finally:
        for path in (published, inference, half):
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
