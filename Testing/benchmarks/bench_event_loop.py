"""The longest gaps of the event loop while an annotator works, with the effect and, beside it, without.

A volume of 512 x 512 x 300 voxels in three slice views, on the host of the tests (Testing/host), whose threads starve
as in Slicer's desktop. A timer without interval notes when it comes round; while it does not, the window stands still.
Nothing is rendered here, so that none of a gap is software rendering's. "Computing" is the main thread's processor
time: on a busy computer read that.

    python Testing/benchmarks/bench_event_loop.py [--steps 40] [--model bright] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing")]
import host  # noqa: E402

APP = host.start()
sys.path[:0] = [str(ROOT / "Testing" / "slicer"), str(ROOT / "Testing" / "desktop")]
import qt  # noqa: E402
import slicer  # noqa: E402
from event_loop import Gaps  # noqa: E402

SIZE = (512, 512, 300)
MIDDLE = (250, 260)
SHORTEST_S = 0.08  # between two actions, as fast hands work
LONGEST_MS = 50  # the aim


def make_editor_fixture(model: str):
    """The editor over a noisy volume with a bright column of ellipses."""
    from editor_fixture import BrightSession, EditorFixture

    from SAMMed2DSlicer.inference import service

    if model == "bright":  # no network: what is left is ours
        bright = BrightSession()
        service.InferenceService._session = lambda self, choice: bright
    j, i = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    disc = (i - MIDDLE[0]) ** 2 / 60**2 + (j - MIDDLE[1]) ** 2 / 80**2 < 1
    noise = np.random.default_rng(0).normal(0, 8, (16, SIZE[1], SIZE[0]))
    values = np.concatenate([np.where(disc, 150, 50)[None] + noise] * (SIZE[2] // 16 + 1))[: SIZE[2]].astype(np.int16)
    fixture = EditorFixture(None, volume_kji=values, size_ijk=SIZE)
    for axis, name in ((0, "Yellow"), (1, "Green"), (2, "Red")):
        fixture.show(axis, SIZE[axis] // 2, name=name)
    fixture.effect.propagation.ui.propagateButton.collapsed = False
    return fixture


def actions(fixture, steps: int) -> list[tuple[str, Callable[[], object]]]:
    """What the user does: scrolls, clicks inside and outside, drags a box, accepts; on every slice anew."""
    first, listed = SIZE[2] // 2, []

    def scroll() -> None:
        fixture.view.wheel(*fixture.xy((*MIDDLE, first)), 1)

    def click(dx: int, **modifiers: bool) -> Callable[[], object]:
        return lambda: fixture.view.click(*_xy(fixture, dx), **modifiers)

    for _step in range(steps):
        listed += [("scroll", scroll)] * 3
        listed += [("click", click(0)), ("Ctrl+click", click(70, control=True))]
        listed += [("box", lambda: fixture.view.drag(_xy(fixture, -65, -85), _xy(fixture, 65, 85)))]
        listed += [("accept", lambda: fixture.effect.accept() if fixture.effect.controller else None)]
    return listed


def _xy(fixture, dx: float = 0, dy: float = 0):
    """Near the middle of the ellipses, px of the Red view, whatever slice it shows."""
    ras_to_ijk = np.linalg.inv(fixture.ijk_to_ras)
    k = float((ras_to_ijk @ slicer.util.arrayFromVTKMatrix(fixture.slice_node.GetSliceToRAS())[:, 3])[2])
    return fixture.xy((MIDDLE[0] + dx, MIDDLE[1] + dy, k))


def work(fixture, gaps: Gaps, steps: int) -> None:
    """Do all actions, one after the other has been answered."""
    fixture.show(2, SIZE[2] // 2)
    for kind, action in actions(fixture, steps):
        gaps.start(kind)
        timer = qt.QTimer()
        timer.setSingleShot(True)
        timer.setInterval(5)
        timer.connect("timeout()", action)
        timer.start()
        host.pump(SHORTEST_S)
        ends = time.perf_counter() + 20
        while fixture.controller is not None and fixture.controller.is_waiting and time.perf_counter() < ends:
            host.pump(0.05)
        gaps.stop()


def table(on: Gaps, off: Gaps) -> str:
    """The longest gaps by kind of action, ms."""
    lines = [
        "| longest gap, ms | effect off | effect on | computing, off | computing, on | above 50 ms of computing |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind, computing in on.cpu_ms.items():
        longest = [max(gaps.get(kind, [0])) for gaps in (off.wall_ms, on.wall_ms, off.cpu_ms, on.cpu_ms)]
        many = sum(ms > LONGEST_MS for ms in computing)
        lines.append(f"| {kind} | " + " | ".join(f"{ms:.0f}" for ms in longest) + f" | {many} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="slices that are worked on")
    parser.add_argument("--model", choices=("built-in", "bright"), default="built-in")
    parser.add_argument("--profile", action="store_true", help="say where the main thread's time goes")
    args = parser.parse_args()
    slicer.qSlicerScriptedLoadableModule(str(ROOT / "SAMMed2D" / "SAMMed2D.py")).load()
    APP.startupCompleted.emit()
    fixture, on, off = make_editor_fixture(args.model), Gaps(), Gaps()
    fixture.wait(lambda: fixture.effect._service.state.is_ready, 120)
    profile = cProfile.Profile(time.thread_time)
    with host.starving():
        work(fixture, Gaps(), 2)  # warms up
        if args.profile:
            profile.enable()
        work(fixture, on, args.steps)
        profile.disable()
        fixture.editor.setActiveEffect(None)
        work(fixture, off, args.steps)
    print(table(on, off), flush=True)
    if args.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
    from editor_fixture import EditorFixture

    EditorFixture.close_all()


if __name__ == "__main__":
    main()
