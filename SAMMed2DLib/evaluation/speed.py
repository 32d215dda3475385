"""How fast a model is: images encoded and prompts decoded in a second, each by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from SAMMed2DLib.evaluation.scores import Peer
from SAMMed2DLib.inference.engines.engine import has_torch
from SAMMed2DLib.inference.numpy_engine import threads as numpy_threads
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.prompts import Prompts

_ROUNDS = 3
# Slow models are measured on fewer images: no more once this has passed, but at least so many.
_ENOUGH_S, _LEAST_IMAGES = 15.0, 3


@dataclass(frozen=True)
class Speed:
    """Medians over images.

    Attributes:
        name: of the model.
        encode_s: seconds to encode one image; of each image the fastest of three rounds.
        decode_s: seconds for the mask of one box at image size, likewise.
        images: how many were measured.
        device: where.
        precision: of the image encoder.
        threads: of the model on the CPU.
    """

    name: str
    encode_s: float
    decode_s: float
    images: int
    device: str
    precision: str
    threads: int


def measure(predictor: Predictor, samples: Sequence[tuple[np.ndarray, np.ndarray]]) -> Speed:
    """Time a model.

    Args:
        predictor: the model.
        samples: images (H, W, 3) uint8 and a box in each, (4,) px; at least one.
    """

    def encode(image: np.ndarray) -> Any:
        embedding = predictor.embed([image])
        _wait_for(predictor.device)
        return embedding

    def decode(embedding: Any, box: np.ndarray) -> np.ndarray:
        return predictor.predict(embedding, Prompts.of(box=box)).mask

    times = _times(encode, decode, samples)
    precision = str(predictor.precision).removeprefix("torch.")
    return Speed(predictor.name, *times, _device_name(predictor), precision, _threads(predictor.engine.name))


def measure_peer(peer: Peer, samples: Sequence[tuple[np.ndarray, np.ndarray]]) -> Speed:
    """Time another model in the same way; it is taken to run on the CPU in float32."""
    times = _times(peer.embed, peer.segment, samples)
    return Speed(peer.name, *times, "cpu", "float32", _threads("torch" if has_torch() else "numpy"))


def _times(
    encode: Callable[[np.ndarray], Any],
    decode: Callable[[Any, np.ndarray], np.ndarray],
    samples: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[float, float, int]:
    """Median seconds to encode and to decode, and of how many images; after a warm-up."""
    began = time.perf_counter()
    decode(encode(samples[0][0]), samples[0][1])
    rows: list[np.ndarray] = []
    for image, box in samples:
        if len(rows) < _LEAST_IMAGES or time.perf_counter() - began < _ENOUGH_S:
            rows.append(np.min([_time_once(encode, decode, image, box) for _ in range(_ROUNDS)], axis=0))
    encode_s, decode_s = np.median(rows, axis=0)
    return float(encode_s), float(decode_s), len(rows)


def _time_once(
    encode: Callable[[np.ndarray], Any],
    decode: Callable[[Any, np.ndarray], np.ndarray],
    image: np.ndarray,
    box: np.ndarray,
) -> tuple[float, float]:
    start = time.perf_counter()
    embedding = encode(image)
    between = time.perf_counter()
    decode(embedding, box)
    return between - start, time.perf_counter() - between


def _threads(engine: str) -> int:
    """How many threads compute in an engine, "torch" or "numpy"."""
    if engine == "numpy":
        return numpy_threads.threads()
    import torch

    return torch.get_num_threads()


def _wait_for(device: Any) -> None:
    """Graphics cards go on working after the call has returned."""
    if str(device).startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
    elif str(device) == "mps":
        import torch

        torch.mps.synchronize()


def _device_name(predictor: Predictor) -> str:
    device = predictor.device
    if not str(device).startswith("cuda"):
        return str(device)
    import torch

    return torch.cuda.get_device_name(device)
