"""After each test: nothing of it is left, and nothing that it got wrong stays hidden."""

import slicer

from . import installing
from .application import errors
from .application.scripted import qSlicerScriptedLoadableModule
from .application.window import WINDOW_KEYS
from .editor import widget
from .keys import shortcuts
from .views.window import SIZE_PX


class CollectedErrors(AssertionError):
    """Errors that were collected while a test ran; the desktop would have printed them and gone on."""


def begin():
    """What every test begins with: its errors will be collected."""
    errors.hook_in()


def clean_up():
    """Take editors down, close the scene, empty views, and report what was collected.

    Raises:
        CollectedErrors: errors were collected, or answers were given to dialogs that never came.
    """
    app = slicer.app
    _leave_modules(app)
    app.processEvents()
    _reset_views(app)
    slicer.mrmlScene.Clear(0)
    slicer.mrmlScene.SetURL("")  # as Close Scene of the main window does
    _reset_views(app)
    app.processEvents()
    collected, unused, keys = list(app.errors), app.answers.unused(), left_over_keys()
    app.errors.clear()
    app.answers.clear()
    app.settings().clear()
    installing.answers.clear()
    if collected:
        raise CollectedErrors("; ".join(f"{type(e).__name__}: {e}" for e in collected)) from collected[0]
    if unused:
        raise CollectedErrors(f"no dialog came for these answers: {unused}")
    if keys:
        raise CollectedErrors(f"shortcuts are still installed after every effect and module was left: {keys}")


def left_over_keys():
    """Keys of the main window that are not its own; they are removed."""
    own = {key for keys in WINDOW_KEYS.values() for key in keys}
    found = {key: owners for key, owners in shortcuts().items() if key not in own}
    for owners in found.values():
        for owner in owners:
            owner.setParent(None)
    return sorted(found)


def _leave_modules(app):
    """The module that is shown is left; editors that tests made are destroyed, the Segment Editor module's is kept."""
    app.mainWindow().moduleSelector().selectModule("")
    kept = getattr(getattr(slicer.modules, "SegmentEditorWidget", None), "editor", None)
    for editor in widget.living():
        if editor is not kept:
            editor.take_down()
    for module in map(app.moduleManager().module, app.moduleManager().modulesNames()):
        if isinstance(module, qSlicerScriptedLoadableModule):
            module.restore_widget()  # createNewWidgetRepresentation() puts another in its place, as on the desktop


def _reset_views(app):
    manager = app.layoutManager()
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    node = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    if node:
        node.SetCurrentInteractionMode(node.ViewTransform)
    for name in manager.sliceViewNames():
        view = manager.sliceWidget(name).sliceView()
        view.leave()
        if view.renderWindow().GetSize() != SIZE_PX:
            view.resize_view(*SIZE_PX)
    manager.threeDWidget(0).threeDView().leave()
