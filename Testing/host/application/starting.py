"""The order in which the host starts."""

import importlib
import sys
import types

# Names under which desktop scripts import the wrapped C++ libraries, and what slicer-core calls them.
ALIASES = {
    "vtkITK": "vtkITK",
    "vtkTeem": "vtkTeem",
    "vtkSegmentationCore": "vtkSegmentationCore",
    "vtkSegmentationCorePython": "vtkSegmentationCore",
    "vtkMRMLCorePython": "MRMLCore",
    "MRMLCorePython": "MRMLCore",
    "MRMLLogicPython": "MRMLLogic",
    "SlicerBaseLogicPython": "vtkSlicerBaseLogic",
    "vtkAddon": "vtkAddonPython",
    "vtkSlicerSegmentationsModuleLogicPython": "vtkSlicerSegmentationsModuleLogic",
    "vtkSlicerMarkupsModuleMRMLPython": "vtkSlicerMarkupsModuleMRML",
}


def start():
    """Make qt, ctk, the application and its scene, and put every stand-in where desktop scripts find it."""
    import slicer

    from .. import ctk_widgets, pythonqt, sources

    qt = pythonqt.make_qt()
    ctk_widgets.make_ctk()
    _alias()
    sources.install()
    for name in ("modules", "moduleNames"):
        module = types.ModuleType(f"slicer.{name}")
        module.__dict__.clear()
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
    from . import app as application
    from . import dialogs, uiloader

    dialogs.install()
    slicer.app = application.qSlicerApplication()
    slicer.app.start()
    _export(pythonqt.patch_properties)
    uiloader.QUiLoader.stand_ins = _stand_ins()
    qt.QUiLoader = uiloader.QUiLoader
    slicer.app.layoutManager()
    sources.guard_installing()
    _load_segment_editor()


def _alias():
    for name, target in ALIASES.items():
        sys.modules.setdefault(name, importlib.import_module(f"slicer_core.{target}"))


def _export(patch):
    """slicer.qMRML…, slicer.qSlicer… and the modules from which the desktop imports them."""
    import slicer
    from PySide6.QtCore import QObject

    from .. import editor, mrml, views
    from . import app, io, manager, scripted, window

    found = {}
    for source in (mrml, views, editor):
        found.update(source.exported())
    for source in (app, io, manager, scripted, window):
        found.update({n: v for n, v in vars(source).items() if n.startswith("qSlicer")})
    for name, cls in found.items():
        if isinstance(cls, type) and issubclass(cls, QObject):
            patch(cls)
        setattr(slicer, name, cls)
    effects = {n: v for n, v in found.items() if "Effect" in n}
    widgets = {n: v for n, v in found.items() if n.startswith("qMRMLSegment")}
    _module("qSlicerSegmentationsEditorEffectsPythonQt", effects)
    _module("qSlicerSegmentationsModuleWidgetsPythonQt", widgets)
    _module("qMRMLWidgetsPythonQt", {n: v for n, v in found.items() if n.startswith("qMRML") and n not in widgets})


def _module(name, contents):
    module = sys.modules[name] = types.ModuleType(name)
    vars(module).update(contents)


def _stand_ins():
    import slicer

    named = {**vars(sys.modules["ctk"]), **vars(slicer)}
    return {n: v for n, v in named.items() if n.startswith(("ctk", "qMRML", "qSlicer")) and isinstance(v, type)}


def _load_segment_editor():
    import slicer

    from .. import sources

    slicer.qSlicerScriptedLoadableModule(sources.segment_editor()).load()
