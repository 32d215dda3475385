"""The module as Slicer loads it: what it says and registers, and that it opens before PyTorch is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import slicer

ROOT = Path(__file__).resolve().parents[2]


def test_it_says_what_it_is_and_under_which_licences(sammed2d):
    assert sammed2d.title == "SAMMed2D"
    assert sammed2d.categories == ("Segmentation",)
    assert not sammed2d.icon.isNull()
    assert "SegmentEditor" in sammed2d.dependencies
    (homepage,) = re.findall(r'EXTENSION_HOMEPAGE "(.*)"', (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))
    for words in ("effect SAM-Med2D", "Not a medical device", homepage):
        assert words in sammed2d.helpText
    for words in ("2308.16184", "Segment Anything. ICCV 2023", "Licence of the code", "Licence of other weights"):
        assert words in sammed2d.acknowledgementText


def test_nothing_stands_beside_the_modules_file():
    assert [path.name for path in (ROOT / "SAMMed2D").glob("*.py")] == ["SAMMed2D.py"]


def test_the_effect_is_registered_once(sammed2d, app):
    from SAMMed2DSlicer.module.registration import EFFECT_NAME, register_effect

    factory = slicer.qSlicerSegmentEditorEffectFactory.instance()

    def names():
        return [effect.name for effect in factory.registeredEffects()]

    assert names().count(EFFECT_NAME) == 1
    assert register_effect() is False
    app.startupCompleted.emit()
    slicer.util.selectModule("SAMMed2D")
    assert names().count(EFFECT_NAME) == 1


def test_the_effect_is_registered_by_the_panel_of_a_module_that_came_late(sammed2d, monkeypatch):
    from SAMMed2DSlicer.module import registration

    calls = []
    monkeypatch.setattr(registration, "register_effect", lambda: calls.append("effect"))
    widget = sammed2d.createNewWidgetRepresentation()
    widget.self().cleanup()
    assert calls == ["effect"]


def test_an_effect_that_cannot_be_loaded_is_reported(sammed2d, monkeypatch, caplog, app):
    from SAMMed2DSlicer.module import registration

    class Broken:
        def __init__(self, parent):
            pass

        def setPythonSource(self, path):  # noqa: N802
            assert path.endswith("SegmentEditorSAMMed2DLib/SegmentEditorEffect.py")

        def self(self):
            return None

    monkeypatch.setattr(slicer, "qSlicerSegmentEditorScriptedEffect", Broken)
    monkeypatch.setattr(registration, "EFFECT_NAME", "another name")
    assert registration.register_effect() is False
    assert "could not be loaded" in caplog.text


def test_sample_data_are_offered_with_checksums(sammed2d):
    import SampleData

    sources = SampleData.SampleDataLogic.sampleDataSourcesByCategory("SAMMed2D")
    assert [source.sampleName for source in sources] == ["CT chest", "MR head", "MR brain tumor"]
    for source in sources:
        (address,), (checksum,) = source.uris, source.checksums
        assert address.endswith(checksum.replace("SHA256:", "SHA256/")) and len(checksum) == 7 + 64


def test_without_sample_data_the_module_works(sammed2d, monkeypatch):
    from SAMMed2DSlicer.module import registration

    monkeypatch.setitem(sys.modules, "SampleData", None)
    registration.register_sample_data()


def test_the_library_is_found_in_the_source_tree(sammed2d):
    assert str(ROOT) in sys.path
    import SAMMed2DLib

    assert Path(SAMMed2DLib.__file__).parent == ROOT / "SAMMed2DLib"


def test_the_self_test_passes(sammed2d):
    slicer.selfTests["SAMMed2D"](msec=1)


def test_each_part_of_the_self_test_stands_alone(sammed2d):
    import unittest

    loaded = unittest.defaultTestLoader.loadTestsFromTestCase(sys.modules["SAMMed2D"].SAMMed2DTest)
    result = unittest.TestResult()
    loaded.run(result)
    assert result.wasSuccessful() and result.testsRun == 3, result.failures + result.errors
