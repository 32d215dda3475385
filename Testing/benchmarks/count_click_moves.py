"""How a click travels: moves between files of ours, calls and planes computed, from the click to its answer.

The Segment Editor with the effect on the host of the tests (Testing/host), and a model of the tests that answers at
once, so that only our own way is counted: the main thread, from the mouse's release until the answer is shown. A move
is a call from a function in one file of ours to a function in another one; what Slicer, Qt and VTK call back counts as
a move from where we were last. Looking up whether an answer is there is not counted. The other masks that a click may
mean are requested once its answer is shown; `--candidates` counts that as well.

    python Testing/benchmarks/count_click_moves.py [--list] [--candidates]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing")]
import host  # noqa: E402

APP = host.start()
sys.path[:0] = [str(ROOT / "Testing" / "slicer")]
import slicer  # noqa: E402

OURS = (str(ROOT / "SAMMed2D") + "/", str(ROOT / "SAMMed2DLib") + "/")
PLANES, MATRICES = ("plane_of_view",), ("world_from_ijk",)


class CallCounter:
    """Counts what happens on the main thread while it is active."""

    def __init__(self) -> None:
        self.moves: Counter[tuple[str, str]] = Counter()
        self.calls: Counter[tuple[str, str]] = Counter()
        self._files: list[str] = []

    def __enter__(self) -> CallCounter:
        """Begin to count."""
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *error: object) -> None:
        """Count no more."""
        sys.setprofile(None)

    def _profile(self, frame, event: str, argument: object) -> None:
        name = frame.f_code.co_filename
        if event not in ("call", "return") or not name.startswith(OURS):
            return
        if event == "return":
            if self._files:
                self._files.pop()
            return
        here = name[len(str(ROOT)) + 1 :]
        self.calls[here, frame.f_code.co_name] += 1
        if self._files and self._files[-1] != here:
            self.moves[self._files[-1], here] += 1
        self._files.append(here)

    def computed(self, names: tuple[str, ...]) -> int:
        """How often functions of these names were called."""
        return sum(count for (_file, name), count in self.calls.items() if name in names)


def open_editor(with_candidates: bool):
    """The editor over a small volume, with the model of the tests."""
    import test_effect  # noqa: F401  (its imports are those of a session that has been used)
    from editor_fixture import BrightSession, EditorFixture

    from SAMMed2DSlicer.inference import service
    from SAMMed2DSlicer.inference.request_queue import RequestQueue

    if not with_candidates:
        RequestQueue.request_candidates = lambda queue, pending, on_found: None
    model = BrightSession()
    service_class = type(service.shared())
    service_class._session = lambda self, choice: model
    fixture = EditorFixture(model)
    fixture.set(LookAhead=0)
    return fixture


def count(fixture, ijk: tuple[int, int, int]) -> CallCounter:
    """Click on a voxel, and count until its answer is shown."""
    APP.processEvents()
    asked, counter = len(fixture.model.asked), CallCounter()
    with counter:
        fixture.view.click(*fixture.xy(ijk))
        while not (len(fixture.model.asked) > asked and not any_waiting(fixture)):
            APP.processEvents()
        APP.processEvents()
    return counter


def any_waiting(fixture) -> bool:
    """Whether an answer is on its way, seen without calling anything of ours."""
    from SAMMed2DSlicer.inference import service

    worker = service.shared.__globals__["slicer"].modules.sammed2dInferenceService.worker
    return bool(worker._waiting or worker._running or worker._finished)


def main() -> None:
    """Print the counts of a first and of a further click on a slice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="name the moves of the further click, most frequent first")
    parser.add_argument("--candidates", action="store_true", help="go on until the other masks are there, too")
    args = parser.parse_args()
    slicer.qSlicerScriptedLoadableModule(str(ROOT / "SAMMed2D" / "SAMMed2D.py")).load()
    APP.startupCompleted.emit()
    fixture = open_editor(args.candidates)
    count(fixture, (25, 22, 10))  # imports what is imported late, and translates
    fixture.effect.clear()
    counters = {"first click on a slice": count(fixture, (25, 22, 10)), "further click": count(fixture, (20, 22, 10))}
    columns = ("", "moves between files", "files", "calls", "planes computed", "matrices computed")
    print("| " + " | ".join(columns) + " |\n|---|" + "---:|" * 5)
    for name, counter in counters.items():
        files = {file for file, _name in counter.calls}
        row = (sum(counter.moves.values()), len(files), sum(counter.calls.values()))
        cells = (*row, counter.computed(PLANES), counter.computed(MATRICES))
        print(f"| {name} | " + " | ".join(map(str, cells)) + " |")
    if args.list:
        for (source, target), number in counters["further click"].moves.most_common():
            print(f"{number:4} {source} -> {target}")
    from editor_fixture import EditorFixture

    EditorFixture.close_all()


if __name__ == "__main__":
    main()
