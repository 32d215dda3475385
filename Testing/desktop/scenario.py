"""What an annotator does in 3D Slicer with SAMMed2D, from the loading of a CT to the closing of the scene, as a test.

    Slicer --python-script Testing/desktop/scenario.py -- --output DIR       # in any Slicer from 5.10 on
    python Testing/desktop/scenario.py --output DIR                          # on the tests' host, without Slicer

Real events of mouse and keys drive the real widgets, and masks are compared with what the CT, which is made, shows.
Each step prints one line: pass or FAIL, how long it took, the longest time for which the window stood still (on the
wall and in the main thread's own computing), what was measured. The lines and pictures of the window go into the output
folder. Slicer ends with exit code 0 if all steps passed, else with 1. The scene that is open is closed, not saved.
"""

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]
TOUR_SEEN = "SAMMed2D/TourSeen"


def parse(arguments):
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for pictures, the log and a scene; is made")
    parser.add_argument("--only", default="", help="steps, by commas, after the first three, which come always")
    parser.add_argument("--longest-gap", type=float, default=1000, help="ms that the window may stand still, computing")
    return parser.parse_args(arguments)


def make_steps(work):
    """(name, generator function) in their order; the first three are what the others need."""
    from effect_steps import EffectSteps
    from object_steps import ObjectSteps
    from scene_steps import SceneSteps

    scene = SceneSteps(work)
    return [
        ("module start", scene.load_module),
        ("load CT", scene.load_ct),
        *EffectSteps(work).steps(),
        *ObjectSteps(work).steps(),
        ("save", scene.save),
        ("reopen", scene.reopen),
        ("module", scene.module),
        ("Python examples", scene.python_examples),
        ("50 activations", scene.activations),
        ("close while predicting", scene.close_while_predicting),
    ]


def start(arguments, on_end):
    """Begin; gives the Runner, and calls `on_end` with the exit code."""
    import qt
    import slicer
    from event_loop import Runner
    from workplace import Workplace

    arguments.output.mkdir(parents=True, exist_ok=True)
    log = (arguments.output / "scenario.txt").open("w", encoding="utf-8")
    settings = slicer.app.settings()
    seen = settings.value(TOUR_SEEN)
    settings.setValue(TOUR_SEEN, 1)  # its window would come with the effect
    slicer.util.mainWindow().resize(1366, 768)

    def write(line):
        print(line, flush=True)
        log.write(line + "\n")
        log.flush()

    steps = make_steps(Workplace(arguments.output))
    wanted = [name.strip() for name in arguments.only.split(",") if name.strip()]
    unknown = set(wanted) - {name for name, _step in steps}
    if unknown:
        raise SystemExit(f"no such steps: {', '.join(sorted(unknown))}")
    chosen = [step for step in steps if not wanted or step in steps[:3] or step[0] in wanted]
    scripts = ("Python examples",)  # calls of scripts return when they are done
    runner = Runner(chosen, write, arguments.longest_gap, scripts)
    began = time.perf_counter()

    def watch():
        if not runner.is_done:
            qt.QTimer.singleShot(100, watch)
            return
        write(f"{time.perf_counter() - began:.0f} s in all")
        log.close()
        settings.setValue(TOUR_SEEN, seen) if seen is not None else settings.remove(TOUR_SEEN)
        on_end(1 if runner.failed else 0)

    runner.start()
    watch()
    return runner


def main_on_host(arguments):
    """Run on the tests' host, whose threads starve as in the desktop; gives the exit code."""
    sys.path[:0] = [str(HERE.parent)]
    import host

    app = host.start()
    host.begin()
    codes = []
    with host.starving():
        start(arguments, codes.append)
        host.pump(3600, lambda: codes)
    for error in app.errors:
        print(f"FAIL  the host noted {type(error).__name__}: {error}", flush=True)
        codes.append(1)
    return max(codes)


def main():
    """Run in the Slicer that runs this script, or on the tests' host where none does."""
    arguments = parse(sys.argv[1:])
    try:
        import slicer

        is_slicer = getattr(slicer, "app", None) is not None
    except ImportError:
        is_slicer = False
    if not is_slicer:
        sys.exit(main_on_host(arguments))
    start(arguments, slicer.util.exit)


if __name__ == "__main__":
    main()
