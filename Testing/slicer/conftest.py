"""What every Slicer test starts from: the host, a clean scene, volumes of awkward geometries, an editor at work."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from host import requirements

try:
    requirements.check()
except requirements.MissingRequirementError as error:
    raise pytest.UsageError(str(error)) from None

import host

APP = host.start()
DEMO = Path(host.__file__).parent / "demo/SegmentEditorDemo/SegmentEditorDemo.py"


@pytest.fixture(scope="session")
def app():
    """slicer.app."""
    return APP


@pytest.fixture(autouse=True)
def clean_scene():
    """Every test starts and ends with an empty scene; collected errors and unused answers fail it."""
    host.begin()
    APP.settings().setValue("SAMMed2D/TourSeen", 1)  # or its window would come with the effect, and take the keys
    yield
    host.clean_up()


@pytest.fixture
def make_volume():
    """A function: make_volume(geometry="axis", array_kji=None, name="CT") -> volume node; see host/volumes.py."""
    from host import volumes

    return volumes.make_volume


@pytest.fixture
def an_editor():
    """A function: an_editor(volume, segments=("A", "B")) -> host.editing.Editing."""
    from host.editing import Editing

    return Editing


@pytest.fixture(scope="session")
def sammed2d(app):
    """The module, loaded as by Slicer at its start; its effect is registered."""
    import slicer

    module = slicer.qSlicerScriptedLoadableModule(str(Path(__file__).parents[2] / "SAMMed2D" / "SAMMed2D.py"))
    module.load()
    app.startupCompleted.emit()
    return module


@pytest.fixture
def model(sammed2d, monkeypatch):
    """A model that finds what is bright, in place of the network; editor fixtures are put away at the end."""
    from editor_fixture import BrightSession, EditorFixture, let_answer

    from SAMMed2DSlicer.inference import service

    bright = let_answer(monkeypatch, BrightSession())
    service.shared().state = service.ServiceState("unloaded", "")
    monkeypatch.setattr(service.shared(), "_loaded", None)  # no model of an earlier test answers where this one fails
    yield bright
    EditorFixture.close_all()
    service.shared().worker.cancel_all()


@pytest.fixture(scope="session")
def demo(app):
    """The demo module of the host, loaded as at start-up: its effect is called "Demo"."""
    import slicer

    module = slicer.qSlicerScriptedLoadableModule(str(DEMO)).load()
    app.startupCompleted.emit()
    return module


@pytest.fixture
def editing(demo, make_volume, an_editor):
    """An editor on an axis-aligned volume with a ball in it; the demo effect is there and not active."""
    return an_editor(make_volume("axis"))


@pytest.fixture
def logic(sammed2d, monkeypatch):
    """The Python API with a model that finds what is bright: `logic.session`."""
    import sys

    from module_kit import BrightMany

    from SAMMed2DSlicer.inference import service

    api = sys.modules["SAMMed2D"].SAMMed2DLogic()
    api.session = BrightMany()
    monkeypatch.setattr(service.InferenceService, "_session", lambda self, choice: api.session)
    service.shared().state = service.ServiceState("unloaded", "")
    yield api
    service.shared().worker.cancel_all()
    service.shared().state = service.ServiceState("unloaded", "")
