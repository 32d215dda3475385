"""The desktop's scenario, a part of it, on the host: its steps pass, and a fault makes it end with an error."""

import re
import subprocess
import sys
from pathlib import Path

SCENARIO = Path(__file__).parents[1] / "desktop" / "scenario.py"
ALWAYS = ["module start", "load CT", "effect"]


def run(folder, *options):
    command = [sys.executable, str(SCENARIO), "--output", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_clicks_boxes_strokes_whole_and_many_objects_saving_and_a_closed_scene_pass(tmp_path):
    wanted = ["click", "box", "correct", "accept", "undo and redo"]
    wanted += ["scribble and lasso", "whole object", "many objects", "correct what is there"]
    wanted += ["save", "reopen", "close while predicting"]
    done = run(tmp_path, "--only", ",".join(wanted), "--longest-gap", "5000")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = re.findall(r"^pass  (.{26}) ", done.stdout, re.MULTILINE)
    assert [line.strip() for line in lines] == [*ALWAYS, *wanted]
    assert f"{len(lines)} of {len(lines)} steps passed" in (tmp_path / "scenario.txt").read_text()
    pictures = {"click", "box", "correction", "accepted", "scribble", "lasso"}
    pictures |= {"whole object", "many objects", "corrected mask"}
    assert {path.stem for path in tmp_path.glob("*.png")} == pictures


def test_a_window_that_stands_still_too_long_fails_it(tmp_path):
    done = run(tmp_path, "--only", "effect", "--longest-gap", "0.1")
    assert done.returncode == 1
    assert re.search(r"^FAIL  load CT .* the window stood still for \d+ ms", done.stdout, re.MULTILINE)


def test_steps_that_do_not_exist_are_named(tmp_path):
    done = run(tmp_path, "--only", "click,fly")
    assert done.returncode == 1 and "no such steps: fly" in done.stderr
