"""What Slicer's start pays for the extension, used or not: module and effect, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

TESTING = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "torchvision", "SimpleITK", "scipy", "requests", "pydicom", "SAMMed2DLib.inference")
AIM_S = 0.1

HOST = f"""
import json, sys, time
sys.path[:0] = [{str(TESTING)!r}]
import host
app = host.start()
import slicer
module_path = {str(TESTING.parent / "SAMMed2D" / "SAMMed2D.py")!r}
"""

START = f"""{HOST}
before, began = set(sys.modules), time.process_time()
module = slicer.qSlicerScriptedLoadableModule(module_path)
module.load()
app.startupCompleted.emit()
seconds = time.process_time() - began
names = [effect.name for effect in slicer.qSlicerSegmentEditorEffectFactory.instance().registeredEffects()]
print(json.dumps([seconds, sorted(set(sys.modules) - before), names]))
"""

OPEN_EDITOR = f"""{HOST}
slicer.qSlicerScriptedLoadableModule(module_path).load()
app.startupCompleted.emit()
before = set(sys.modules)
slicer.util.selectModule("SegmentEditor")
host.pump(5, lambda: "SAMMed2DSlicer.effect.mouse_press" in sys.modules)
editor, opened = slicer.modules.SegmentEditorWidget.editor, set(sys.modules)
editor.setActiveEffectByName("SAM-Med2D")
print(json.dumps([sorted(opened - before), sorted(set(sys.modules) - opened)]))
"""


def test_module_and_effect_add_less_than_a_tenth_of_a_second_and_import_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True, timeout=300)
    seconds, imported, effects = json.loads(done.stdout.splitlines()[-1])
    assert "SAM-Med2D" in effects
    assert seconds < AIM_S
    assert [name for name in imported if name.startswith(HEAVY)] == []


def test_the_effect_imports_next_to_nothing_when_it_is_chosen_as_it_did_so_while_slicer_rested():
    done = subprocess.run([sys.executable, "-c", OPEN_EDITOR], capture_output=True, text=True, check=True, timeout=300)
    idle, chosen = json.loads(done.stdout.splitlines()[-1])
    assert "SAMMed2DSlicer.effect.controller" in idle
    assert [name for name in chosen if name.startswith("SAMMed2DSlicer.effect")] == []
    assert [name for name in idle if name.startswith(HEAVY[:-1])] == []
