"""Check a graphics card in a few minutes: is what it computes right, how fast is it, and does it fail well.

    python Testing/benchmarks/gpu_check.py                          # the first card
    python Testing/benchmarks/gpu_check.py --device mps
    python Testing/benchmarks/gpu_check.py --device cpu --quick     # that the script itself works, without a card

It prints a table for the README, and ends with 1 if a check failed. All images are drawn here; the yardstick is the
same network on the processor in float32.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

from bench_prompts import slice_with_disc  # noqa: E402

from SAMMed2DLib.inference.devices import FallbackWarning, choose_device  # noqa: E402
from SAMMed2DLib.inference.predictor import Predictor, load_predictor  # noqa: E402
from SAMMed2DLib.inference.prompts import Prompts  # noqa: E402
from SAMMed2DLib.inference.session import Session  # noqa: E402
from SAMMed2DLib.registry.built_in import BUILT_IN  # noqa: E402

PRECISIONS = ("float32", "float16", "bfloat16")
# How far logits may be off, and how alike masks must be (mean Dice), by precision.
LARGEST_DIFFERENCE = {"float32": 0.05, "float16": 0.5, "bfloat16": 3.0}
LEAST_DICE = {"float32": 0.999, "float16": 0.99, "bfloat16": 0.95}

Case = tuple[np.ndarray, np.ndarray, float]


@dataclass(frozen=True)
class Row:
    """A line of the table: what was checked, in which precision, what came out, and whether it is right."""

    check: str
    precision: str
    result: str
    is_right: bool = True


@dataclass
class Plan:
    """What to check, and how often.

    Attributes:
        model: name or file of the weights.
        device: as in `load_predictor`.
        rounds: repetitions of what is timed.
        cases: images, each with the centre (x, y) and the radius of a disc.
        images_at_once: encoded as one batch where throughput is measured.
        prompts_at_once: likewise decoded.
    """

    model: str
    device: str
    rounds: int
    cases: list[Case]
    images_at_once: int = 8
    prompts_at_once: int = 32

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that the device is checked in: most processors take minutes in the others."""
        return PRECISIONS[:1] if self.device == "cpu" else PRECISIONS

    @property
    def weights(self) -> str | Path:
        """The model as `load_predictor` takes it."""
        return Path(self.model) if Path(self.model).is_file() else self.model

    def predictor(self, precision: str, device: str | None = None) -> Predictor:
        """Load the network anew."""
        return load_predictor(self.weights, engine="torch", device=device or self.device, precision=precision)


def main() -> int:
    """Print the table; 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, mps or cpu (%(default)s)")
    parser.add_argument("--model", default=BUILT_IN, help="name or file of the weights (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="as little as shows that the script works")
    parser.add_argument("--masks-only", action="store_true", help=argparse.SUPPRESS)  # what the second process does
    options = parser.parse_args()
    try:
        device = choose_device(options.device)
    except ValueError as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return 2
    count = 2 if options.quick else 12
    cases = [slice_with_disc(np.random.default_rng(number)) for number in range(count)]
    plan = Plan(options.model, options.device, 1 if options.quick else 20, cases, *((1, 2) if options.quick else ()))
    if options.masks_only:
        print(_masks_digest(plan))
        return 0
    began, rows = time.perf_counter(), []
    for check in (parity, throughput, clicks, cache_on_device, full_memory, training_step, two_processes):
        for row in check(plan):
            rows.append(row)
            print(f"{'ok  ' if row.is_right else 'FAIL'} {row.check}, {row.precision}: {row.result}", flush=True)
    print(f"\n{table(rows, plan, device)}\n\n{time.perf_counter() - began:.0f} s in all")
    return int(not all(row.is_right for row in rows))


def table(rows: list[Row], plan: Plan, device: torch.device) -> str:
    """The rows as Markdown, under what they were measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device} ({platform.processor()})"
    lines = [
        f"{name}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}, {platform.system()}, model {plan.model}",
        "",
        "| check | precision | result | right |",
        "|---|---|---|---|",
    ]
    return "\n".join(
        [*lines, *(f"| {r.check} | {r.precision} | {r.result} | {'yes' if r.is_right else '**no**'} |" for r in rows)]
    )


# The checks


def parity(plan: Plan) -> Iterator[Row]:
    """Logits and masks of boxes, against the processor in float32."""
    yardstick = plan.predictor("float32", "cpu")
    expected = [yardstick.predict(yardstick.embed([case[0]]), _box(case)) for case in plan.cases]
    for precision in plan.precisions:
        predictor = plan.predictor(precision)
        found = [predictor.predict(predictor.embed([case[0]]), _box(case)) for case in plan.cases]
        pairs = list(zip(found, expected, strict=True))
        worst = max(float(np.abs(ours.low_res_logits - theirs.low_res_logits).max()) for ours, theirs in pairs)
        alike = float(np.mean([_dice(ours.mask, theirs.mask) for ours, theirs in pairs]))
        is_right = worst <= LARGEST_DIFFERENCE[precision] and alike >= LEAST_DICE[precision]
        yield Row("same as the processor", precision, f"logits within {worst:.2g}, Dice {alike:.4f}", is_right)


def throughput(plan: Plan) -> Iterator[Row]:
    """Images that are encoded, and prompts that are decoded, in a second."""
    image = plan.cases[0][0]
    for precision in plan.precisions:
        predictor = plan.predictor(precision)
        encode_s = _seconds(plan, lambda used=predictor: used.embed([image] * plan.images_at_once))
        embedding, prompts = predictor.embed([image]), [_box(plan.cases[0])] * plan.prompts_at_once
        decode_s = _seconds(plan, lambda used=predictor, e=embedding, p=prompts: used.predict_many(e, p))
        images_s, prompts_s = plan.images_at_once / encode_s, plan.prompts_at_once / decode_s
        result = f"{images_s:.1f} images/s encoded, {prompts_s:.0f} prompts/s decoded"
        yield Row("throughput", precision, result)


def clicks(plan: Plan) -> Iterator[Row]:
    """The first click on a slice and a further one, as a user waits for them; the very first after loading, too."""
    for precision in plan.precisions:
        began = time.perf_counter()
        predictor = plan.predictor(precision)
        loaded_s = time.perf_counter() - began
        first, further = [], []
        for image, centre_xy, radius in plan.cases:
            session, click = Session(predictor), Prompts.of(positive=[centre_xy])
            first.append(_timed(lambda s=session, i=image, c=click: s.answer(i, c)))
            more = click.with_point(centre_xy + np.array([0.6 * radius, 0]), 1)
            further.append(_timed(lambda s=session, i=image, m=more: s.answer(i, m)))
        result = (
            f"first click {1e3 * statistics.median(first):.0f} ms (the very first {1e3 * first[0]:.0f} ms), "
            f"further {1e3 * statistics.median(further):.0f} ms, loaded in {loaded_s:.1f} s"
        )
        yield Row("clicks", precision, result)


def cache_on_device(plan: Plan) -> Iterator[Row]:
    """Embeddings stay on the device, and nothing is encoded twice."""
    predictor = plan.predictor("auto")
    session, (image, centre_xy, _) = Session(predictor), plan.cases[0]
    session.answer(image, Prompts.of(positive=[centre_xy]))
    encoded = session.encoded
    session.answer(image, Prompts.of(positive=[centre_xy]).with_point((1, 1), 0))
    features = session.embed([image])[0].features
    is_there = features.device.type == predictor.device.type
    result = f"{features.nbytes / 2**20:.1f} MiB a slice on {features.device}"
    yield Row("embeddings are kept", "auto", result, is_there and session.encoded <= encoded + 2)


def full_memory(plan: Plan) -> Iterator[Row]:
    """Where the memory is full, the processor goes on, and says so."""
    predictor = plan.predictor("float32")
    image = plan.cases[0][0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with _memory_is_full(predictor):
            found = predictor.predict(predictor.embed([image]), _box(plan.cases[0]))
    yardstick = plan.predictor("float32", "cpu")
    expected = yardstick.predict(yardstick.embed([image]), _box(plan.cases[0]))
    told = any(issubclass(each.category, FallbackWarning) for each in caught)
    alike = _dice(found.mask, expected.mask)
    is_right = told and predictor.device.type == "cpu" and alike > LEAST_DICE["float32"]
    yield Row("memory is full", "float32", f"goes on with {predictor.device}, Dice {alike:.4f}", is_right)


class _memory_is_full:  # noqa: N801 (used as a function)
    """A context in which the next work on the device finds no memory: on a card really, elsewhere by an error."""

    def __init__(self, predictor: Predictor) -> None:
        self._engine, self._device = predictor.engine, predictor.device
        self._ballast: list[torch.Tensor] = []

    def __enter__(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            total = torch.cuda.get_device_properties(self._device).total_memory
            torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_reserved(self._device) / total, self._device)
            self._fill(2**26)
            return
        encode, calls = self._engine._encode, []

        def full_at_first(inputs: object) -> object:
            calls.append(inputs)
            if len(calls) == 1:
                raise torch.cuda.OutOfMemoryError("full")
            return encode(inputs)

        self._engine._encode = full_at_first

    def _fill(self, size: int) -> None:
        """Take what is free within the memory that PyTorch holds already: a small image would find room there."""
        while size >= 512:
            try:
                self._ballast.append(torch.empty(size, dtype=torch.uint8, device=self._device))
            except torch.cuda.OutOfMemoryError:
                size //= 2

    def __exit__(self, *_: object) -> None:
        self._ballast.clear()
        if self._device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0, self._device)


def training_step(plan: Plan) -> Iterator[Row]:
    """A step of training under autocast, with the scaler where there is one."""
    from SAMMed2DLib.training.config import TrainingConfig
    from SAMMed2DLib.training.optimisers import choose_trained, make_optimiser
    from SAMMed2DLib.training.start import build_start, known_start
    from SAMMed2DLib.training.steps import Batch, Interaction, make_scaler, train_batch
    from SAMMed2DLib.training.training_prompts import AccumulatedClicks

    device = choose_device(plan.device)
    start = known_start(plan.weights)
    side = start.model.image_size
    for precision in ("float32", "bf16", "fp16"):
        if (device.type == "cpu" and precision != "float32") or (precision == "fp16" and device.type != "cuda"):
            continue
        config = TrainingConfig(start.model, 1, trained="decoder", precision=precision, max_rounds=2)
        model = build_start(config, start.state).to(device)
        choose_trained(model, config.trained)
        optimiser = make_optimiser(model, config)
        rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        mask = ((rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (side / 4) ** 2).float()
        batch = Batch((2 * mask - 1 + 0.1 * torch.randn(2, 3, side, side)), mask.expand(4, 1, side, side).contiguous())
        one_pass, scaler = Interaction(model, precision), make_scaler(precision, device)
        seconds, losses = [], []
        for _ in range(max(2, plan.rounds // 4)):
            clicks_of = AccumulatedClicks(np.random.default_rng(0))
            began = time.perf_counter()
            losses.append(train_batch(one_pass, optimiser, [(batch, clicks_of)], 2, scaler))
            seconds.append(time.perf_counter() - began)
        is_right = bool(np.isfinite(losses).all())
        yield Row("training step", precision, f"{1e3 * min(seconds):.0f} ms, loss {losses[-1]:.3f}", is_right)


def two_processes(plan: Plan) -> Iterator[Row]:
    """Two processes on one device at a time find what one finds alone."""
    command = [sys.executable, __file__, "--masks-only", "--device", plan.device, "--model", plan.model]
    command += ["--quick"] * (len(plan.cases) < 4)
    alone, began = _masks_digest(plan), time.perf_counter()
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [(each.communicate(timeout=300)[0] or "").strip() for each in both]
    seconds = time.perf_counter() - began
    is_right = all(each.returncode == 0 for each in both) and told[0] == told[1]
    words = "as one alone" if set(told) == {alone} else "both alike" if is_right else "not alike"
    yield Row("two processes", "float32", f"{words}, {seconds:.0f} s", is_right)


# What they share


def _box(case: Case) -> Prompts:
    _, centre_xy, radius = case
    return Prompts.of(box=np.concatenate([centre_xy - radius, centre_xy + radius + 1]))


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def _seconds(plan: Plan, work: Callable[[], object]) -> float:
    """Median seconds of a piece of work, after one more that warms up."""
    work()
    return statistics.median(_timed(work) for _ in range(plan.rounds))


def _timed(work: Callable[[], object]) -> float:
    _wait()
    began = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - began


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    if torch.backends.mps.is_available():
        torch.mps.synchronize()


def _masks_digest(plan: Plan) -> str:
    """A text of all masks, by their sizes and centres: equal for equal masks."""
    predictor = plan.predictor("float32")
    masks = [predictor.predict(predictor.embed([case[0]]), _box(case)).mask for case in plan.cases]
    return " ".join(f"{int(mask.sum())}@{np.argwhere(mask).mean(axis=0).round(1).tolist()}" for mask in masks)


if __name__ == "__main__":
    sys.exit(main())
