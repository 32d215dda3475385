"""Scripts that name modules as they were called before find them, and are told where they are."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from SAMMed2DLib.former_names import MODULES, NAMES

ROOT = Path(__file__).resolve().parents[2]


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_every_former_name_leads_to_a_module():
    names = sorted(MODULES)
    script = f"import importlib\nfor name in {names!r}: importlib.import_module('SAMMed2DLib.' + name)"
    done = run(script)
    assert done.returncode == 0, done.stderr
    assert "SAMMed2DLib.volume_io is SAMMed2DLib.io.volume_io now" in done.stderr


def test_what_is_imported_by_a_former_name_is_the_same():
    script = (
        "from SAMMed2DLib.volume_io import VolumeError, read_volume\n"
        "from SAMMed2DLib.batch import Answer\n"
        "from SAMMed2DLib.curation.discovery import discover\n"
        "from SAMMed2DLib.data.curation.discovery import discover as found_in_data\n"
        "from SAMMed2DLib.data.curation.sources.discovery import discover as discover_today\n"
        "import SAMMed2DLib.geometry, SAMMed2DLib as sammed2d\n"
        "from SAMMed2DLib.batch_run import CaseResult\n"
        "assert read_volume is sammed2d.read_volume and VolumeError is sammed2d.VolumeError\n"
        "assert discover is found_in_data is discover_today\n"
        "assert Answer is CaseResult and SAMMed2DLib.geometry.SlicePlane is sammed2d.SlicePlane\n"
    )
    done = run(script)
    assert done.returncode == 0, done.stderr


def test_names_that_never_were_are_not_found():
    done = run("import SAMMed2DLib.helpers")
    assert done.returncode == 1 and "No module named 'SAMMed2DLib.helpers'" in done.stderr
    done = run("from SAMMed2DLib.volume_io import read_everything")
    assert done.returncode == 1 and "read_everything" in done.stderr


@pytest.mark.parametrize("name", sorted(NAMES))
def test_renamed_classes_are_there_today(name):
    today = import_module(f"SAMMed2DLib.{MODULES[name]}")
    assert all(hasattr(today, new) and not hasattr(today, old) for old, new in NAMES[name].items())
