"""From a click to pixels: how long an annotator waits, with the built-in model, and where the time goes.

A CT-like volume of 512 x 512 x 40 voxels, the Segment Editor with the effect, and synthesised clicks in a rendered
slice view, on the host of the tests (Testing/host): Slicer's own C++, with a stand-in for its window. The last two
columns are what the user sees, the coarse mask of a first click and the answer; the others are parts of it, and what is
missing is Slicer's and Qt's events in between.

    python Testing/benchmarks/bench_clicks.py [--clicks 30] [--threads N]
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing")]
import host  # noqa: E402

APP = host.start()
sys.path[:0] = [str(ROOT / "Testing" / "slicer")]
import slicer  # noqa: E402

SIZE = (512, 512, 40)
PARTS = ("picture", "encode", "decode", "write", "draw", "render", "click to coarse mask", "click to pixels")


class Stopwatch:
    """Adds up the seconds of each part of one click."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def wrap(self, owner, name: str, part: str) -> None:
        """Time a function of a module or class."""
        original = getattr(owner, name)

        def timed(*args, **kwargs):
            began = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                self.seconds[part] = self.seconds.get(part, 0) + time.perf_counter() - began

        setattr(owner, name, timed)

    @contextmanager
    def click(self, rows: list[dict[str, float]]):
        """Time everything from here to the pixels."""
        self.seconds = {}
        began = time.perf_counter()
        yield
        rows.append({**self.seconds, "click to pixels": time.perf_counter() - began})


def make_editor_fixture():
    """The editor over a noisy volume with a bright column of ellipses."""
    from editor_fixture import EditorFixture

    slicer.qSlicerScriptedLoadableModule(str(ROOT / "SAMMed2D" / "SAMMed2D.py")).load()
    APP.startupCompleted.emit()
    j, i = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    disc = (i - 250) ** 2 / 60**2 + (j - 260) ** 2 / 80**2 < 1
    noise = np.random.default_rng(0).normal(0, 8, (SIZE[2], SIZE[1], SIZE[0]))
    values = (np.where(disc, 150, 50)[None] + noise).astype(np.int16)
    fixture = EditorFixture(None, volume_kji=values, size_ijk=SIZE)
    fixture.set(LookAhead=0)
    return fixture


def stopwatch() -> Stopwatch:
    """A stopwatch on the parts of a click."""
    from SAMMed2DLib.inference.predictor import Predictor
    from SAMMed2DSlicer.effect.preview import ViewPreview
    from SAMMed2DSlicer.scene import edit_history, volumes

    watch = Stopwatch()
    watch.wrap(volumes, "model_image", "picture")
    watch.wrap(Predictor, "embed", "encode")
    watch.wrap(Predictor, "predict", "decode")
    watch.wrap(edit_history, "write_mask", "write")
    watch.wrap(ViewPreview, "show", "draw")
    return watch


def run(clicks: int, threads: int | None) -> dict[str, list[dict[str, float]]]:
    """Click on fresh slices, click again, draw a box, accept."""
    fixture, watch = make_editor_fixture(), stopwatch()
    kinds: dict[str, list[dict[str, float]]] = {
        kind: [] for kind in ("first click on a slice", "second click", "box", "accept")
    }
    wait_for_model(fixture, threads)
    for n in range(clicks + 1):  # the first round warms up
        fixture.show(2, n % SIZE[2])
        rows = {kind: [] for kind in kinds}
        do(fixture, watch, rows["first click on a slice"], lambda n=n: fixture.view.click(*fixture.xy((250, 260, n))))
        do(
            fixture,
            watch,
            rows["second click"],
            lambda n=n: fixture.view.click(*fixture.xy((350, 260, n)), control=True),
        )
        box = [fixture.xy((185, 175, n)), fixture.xy((315, 345, n))]
        do(fixture, watch, rows["box"], lambda box=box: fixture.view.drag(*box))
        do(fixture, watch, rows["accept"], fixture.effect.accept)
        for kind in kinds if n else ():
            kinds[kind] += rows[kind]
    return kinds


def wait_for_model(fixture, threads: int | None) -> None:
    """Load the model, and say how many threads it may use."""
    import torch

    service = fixture.effect._service
    service.call(lambda session, should_stop: threads and torch.set_num_threads(threads))
    print("torch uses", service.call(lambda session, should_stop: torch.get_num_threads()), "threads")


def do(fixture, watch: Stopwatch, rows, action) -> None:
    """Time an action until its pixels are there."""
    with watch.click(rows):
        clicked = time.perf_counter()
        action()
        while fixture.controller.is_waiting:
            APP.processEvents()
            if fixture.panel._state.has_coarse and "click to coarse mask" not in watch.seconds:
                fixture.view.forceRender()
                watch.seconds["click to coarse mask"] = time.perf_counter() - clicked
        began = time.perf_counter()
        fixture.view.forceRender()
        watch.seconds["render"] = time.perf_counter() - began


def table(kinds: dict[str, list[dict[str, float]]]) -> str:
    """Median and 95th percentile of every part, ms."""
    lines = ["| ms, p50 / p95 | " + " | ".join(PARTS) + " |", "|---|" + "---:|" * len(PARTS)]
    for kind, rows in kinds.items():
        cells = []
        for part in PARTS:
            values = [1000 * row.get(part, 0) for row in rows]
            cells.append(f"{np.median(values):.1f} / {np.percentile(values, 95):.1f}" if any(values) else "")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=30)
    parser.add_argument("--threads", type=int, help="threads of torch; by default one core is left to Slicer")
    args = parser.parse_args()
    print(table(run(args.clicks, args.threads)), flush=True)
    from editor_fixture import EditorFixture

    EditorFixture.close_all()


if __name__ == "__main__":
    main()
