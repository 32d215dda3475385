"""Where Slicer's Python files come from.

Without SLICER_SOURCE: the stand-ins in ``python/``. With it (a folder with Slicer's sources): Slicer's own files, so
that the same tests run on the real ones. ``slicer.util`` is Slicer's own in both cases: it is in slicer-core.
"""

import os
import sys
import types
from pathlib import Path

from . import installing

STAND_INS = Path(__file__).parent / "python"

# Folders of Slicer's source tree that hold packages and modules of ours to load.
PYTHON_FOLDERS = [
    "Base/Python",
    "Modules/Loadable/Segmentations/EditorEffects/Python",
    "Modules/Scripted/SampleData",
]
SEGMENT_EDITOR = "Modules/Scripted/SegmentEditor/SegmentEditor.py"


def upstream():
    """The folder with Slicer's sources, or None.

    Raises:
        FileNotFoundError: SLICER_SOURCE is set and is no such folder.
    """
    folder = os.environ.get("SLICER_SOURCE")
    if not folder:
        return None
    if not (Path(folder) / "Base/Python/slicer/ScriptedLoadableModule.py").is_file():
        raise FileNotFoundError(f"SLICER_SOURCE={folder} holds no Base/Python/slicer/ScriptedLoadableModule.py")
    return Path(folder)


def install():
    """Make Slicer's Python files, or the stand-ins, importable."""
    import slicer

    source = upstream()
    folders = [source / folder for folder in PYTHON_FOLDERS] if source else [STAND_INS]
    sys.path.extend(str(folder) for folder in folders)
    slicer.__path__.append(str(folders[0] / "slicer"))
    if source:
        _gather_plugins(source)


def _gather_plugins(source):
    """The package that the desktop's build gathers from many folders: Slicer's SegmentEditor.py asks for one file."""
    plugins = sys.modules["SubjectHierarchyPlugins"] = types.ModuleType("SubjectHierarchyPlugins")
    path = (source / SEGMENT_EDITOR).parent / "SubjectHierarchyPlugins" / "SegmentEditorSubjectHierarchyPlugin.py"
    plugins.SegmentEditorSubjectHierarchyPlugin = types.SimpleNamespace(filePath=str(path))


def guard_installing():
    """Keep Slicer's own slicer.packaging from installing anything."""
    if upstream():
        import slicer.packaging

        installing.guard(slicer.packaging)


def segment_editor():
    """The Segment Editor module's file: Slicer's own, or the stand-in."""
    source = upstream()
    return str(source / SEGMENT_EDITOR if source else STAND_INS / "SegmentEditor" / "SegmentEditor.py")
