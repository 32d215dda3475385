"""What 8-bit products of matrices in the exported encoder cost: Dice from boxes, and time of an encoding.

    python Testing/training/evaluate_quantized.py --data DATA --images 4

The product answers a box for each object, with its crop and its refiner; the encoder is the exported one in
onnxruntime, in float32 and quantised, on one thread. Beside them the ellipse in the box, fitted to the grey values by
no model. Needs the extra `onnx`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from evaluate_everything import chosen, objects_of
from prepare_data import SPLIT

from SAMMed2DLib.data.dataset import read_cache
from SAMMed2DLib.evaluation.baselines import fitted_ellipse
from SAMMed2DLib.export.networks import load_network
from SAMMed2DLib.export.onnx_files import OnnxOptions, write_onnx
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.prompts import Prompts, box_of_mask
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.registry.built_in import BUILT_IN


class OnnxEncoder:
    """Encodes crops by an exported encoder, and notes how long that takes."""

    def __init__(self, path: Path) -> None:
        """Load a file."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.seconds: list[float] = []

    def encode(self, inputs: Sequence[np.ndarray]) -> torch.Tensor:
        """As `Engine.encode`."""
        began = time.perf_counter()
        features = [self.session.run(None, {"input_image": each[None]})[0] for each in inputs]
        self.seconds.append((time.perf_counter() - began) / len(inputs))
        return torch.from_numpy(np.concatenate(features))


def main() -> None:
    """Print the mean over data sets, and the median time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--split", choices=("validation", "held_out"), default="validation", help="(%(default)s)")
    parser.add_argument("--images", type=int, default=1000, help="images of each set at most, evenly chosen")
    parser.add_argument("--model", default=BUILT_IN, help="name or file of weights (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    predictor = load_predictor(options.model, device="cpu", precision="float32", engine="torch")
    with tempfile.TemporaryDirectory() as folder:
        network = load_network(options.model)
        files = {}
        for way, quantize in (("float32", False), ("8 bits", True)):
            made = OnnxOptions(quantize=quantize)
            files[way] = write_onnx(network.model, network.config, way, Path(folder), made, network.facts)[0]
        sizes = {way: path.stat().st_size for way, path in files.items()}
        encoders = {way: OnnxEncoder(path) for way, path in files.items()}
    dices: dict[str, list[float]] = {}
    objects = 0
    for name in (name for name, split in SPLIT.items() if split == options.split):
        path = options.data / f"{name}.npz"
        if not path.is_file():
            continue
        of_set: dict[str, list[float]] = {}
        for item in chosen(read_cache(path), options.images):
            for mask in objects_of(item):
                objects += 1
                box_xyxy = box_of_mask(mask)
                of_set.setdefault("ellipse", []).append(dice(fitted_ellipse(item.image, box_xyxy), mask))
                for way, encoder in encoders.items():
                    predictor.engine.encode = encoder.encode  # type: ignore[method-assign]
                    found = Session(predictor).answer(item.image, Prompts.of(box=box_xyxy))
                    of_set.setdefault(way, []).append(dice(found.mask, mask))
        for way, values in of_set.items():
            dices.setdefault(way, []).append(float(np.mean(values)))
    print(f"{len(dices['ellipse'])} sets, {objects} objects")
    print("| encoder | MiB | ms | Dice |\n|---|---:|---:|---:|")
    print(f"| none: fitted ellipse | | | {np.mean(dices['ellipse']):.3f} |")
    for way, encoder in encoders.items():
        milliseconds = 1000 * np.median(encoder.seconds)
        print(f"| {way} | {sizes[way] / 2**20:.1f} | {milliseconds:.0f} | {np.mean(dices[way]):.3f} |")


if __name__ == "__main__":
    main()
