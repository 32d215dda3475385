"""Which folder of the Slicer layer may import which, and what of the library; and that no files import each other.

What only type checkers read (`if TYPE_CHECKING:`) does not count: it never runs. `Testing/lib/test_imports.py` has the
rules of the library.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYER, LIBRARY = "SAMMed2DSlicer", "SAMMed2DLib"
# Files by dotted name; Slicer itself loads the first two.
FILES = {
    "SAMMed2D": ROOT / "SAMMed2D" / "SAMMed2D.py",
    "SegmentEditorSAMMed2DLib.SegmentEditorEffect": ROOT / "SAMMed2D/SegmentEditorSAMMed2DLib/SegmentEditorEffect.py",
    **{
        ".".join(path.relative_to(ROOT / "SAMMed2D").with_suffix("").parts): path
        for path in sorted((ROOT / "SAMMed2D" / LAYER).rglob("*.py"))
        if path.name != "__init__.py"
    },
}

# For each folder, or file beside the folders: what of the layer it may import, from the ground up, and of the library.
MAY_IMPORT = {
    "resources": ("", ""),
    "scene": ("", "imaging"),
    "setup": ("resources", "inference registry system"),
    "widgets": ("resources scene setup", ""),
    "prompts": ("scene", "imaging inference io"),
    "inference": ("prompts scene setup widgets", "imaging inference registry"),
    "effect": ("inference prompts resources scene setup widgets", "imaging inference proposals"),
    "propagation": ("inference prompts recovery resources scene widgets", "imaging inference io propagation"),
    "module": ("inference prompts resources scene setup widgets", "doctor inference registry system"),
    "recovery": ("inference prompts scene widgets", "imaging io system"),
    "logic": ("inference propagation resources scene setup", "registry"),
    "SAMMed2D": ("inference logic module propagation recovery resources scene setup widgets", ""),
    "SegmentEditorSAMMed2DLib": ("effect inference prompts propagation recovery resources scene setup widgets", ""),
}


def imports(source: str) -> list[tuple[int, str]]:
    """Line and dotted name of what a file imports, at once or in functions; of `from a import b` it is `a.b`."""
    tree = ast.parse(source)
    unread = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        if node in unread:
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def room_of(module: str) -> str:
    """The folder, or file beside the folders, that a dotted name of ours lies in."""
    parts = module.split(".")
    return parts[1] if parts[0] == LAYER and len(parts) > 1 else parts[0]


def complaints(module: str, source: str) -> list[str]:
    """Tell what is wrong with the imports of a file, named by its dotted name."""
    room = room_of(module)
    if room not in MAY_IMPORT:
        return [f"{module} is in no folder: add {room!r} to MAY_IMPORT, with what it may import"]
    of_layer, of_library = (names.split() for names in MAY_IMPORT[room])
    found = []
    for line, name in imports(source):
        package, *rest = name.split(".")
        if package == LAYER and rest[0] not in (room, *of_layer):
            found.append(f"{module}:{line} imports {name}: {room!r} may import only {' '.join(of_layer) or 'nothing'}")
        elif package == LIBRARY and rest[0] not in of_library:
            found.append(f"{module}:{line} imports {name}: {room!r} may use {' '.join(of_library) or 'nothing'} of it")
        elif package in ("SAMMed2D", "SegmentEditorSAMMed2DLib"):
            found.append(f"{module}:{line} imports {name}: Slicer loads it, nothing of ours does")
    return found


def circle(imported: dict[str, set[str]]) -> list[str]:
    """Names that import each other in a circle, the first one again at the end; none if there is no circle."""
    done: set[str] = set()

    def follow(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        found: list[str] = []
        if name not in done:
            for other in sorted(imported.get(name, ())):
                found = found or follow(other, [*path, name])
            done.add(name)
        return found

    return next(filter(None, (follow(name, []) for name in sorted(imported))), [])


@pytest.mark.parametrize("module", FILES)
def test_every_file_imports_only_what_its_folder_may(module: str) -> None:
    assert complaints(module, FILES[module].read_text(encoding="utf-8")) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    imported = {}
    for module, path in FILES.items():
        names = {name for _line, name in imports(path.read_text(encoding="utf-8"))}
        owners = {name if name in FILES else name.rpartition(".")[0] for name in names}
        imported[module] = owners & set(FILES)
    assert circle(imported) == []
    assert imported["SAMMed2DSlicer.scene.segment_writer"] >= {"SAMMed2DSlicer.scene.segment_reader"}


# The table


def test_folders_import_each_other_in_no_circle() -> None:
    assert circle({name: set(of_layer.split()) for name, (of_layer, _of_library) in MAY_IMPORT.items()}) == []


def test_the_table_names_only_what_there_is() -> None:
    rooms = {room_of(module) for module in FILES}
    assert rooms == set(MAY_IMPORT)
    named = {name for _of_layer, of_library in MAY_IMPORT.values() for name in of_library.split()}
    assert named <= {path.stem for path in (ROOT / LIBRARY).iterdir()}
    for _of_layer, of_library in MAY_IMPORT.values():
        assert not set(of_library.split()) & {"cli", "data", "evaluation", "training"}


# The check itself


GOOD = [
    ("SAMMed2DSlicer.scene.a", "from SAMMed2DSlicer.scene import b\nfrom SAMMed2DLib.imaging.planes import is_on_grid"),
    ("SAMMed2DSlicer.scene.a", "if TYPE_CHECKING:\n    from SAMMed2DSlicer.effect.controller import Controller"),
    ("SAMMed2DSlicer.widgets.a", "import qt\nfrom SAMMed2DSlicer import resources"),
    ("SAMMed2D", "def f():\n    from SAMMed2DSlicer.module.prompt_panel import PromptPanel"),
]
BAD = [
    ("SAMMed2DSlicer.scene.a", "from SAMMed2DSlicer.effect.preview import SliceViews", "only nothing"),
    ("SAMMed2DSlicer.scene.a", "def f():\n    import SAMMed2DSlicer.effect.preview", ":2 imports"),
    ("SAMMed2DSlicer.scene.a", "from SAMMed2DSlicer import effect", "only nothing"),
    ("SAMMed2DSlicer.scene.a", "from SAMMed2DLib.inference.session import Session", "may use imaging of it"),
    ("SAMMed2DSlicer.widgets.a", "from SAMMed2DSlicer.inference import service", "only resources scene setup"),
    ("SAMMed2DSlicer.module.a", "from SAMMed2DSlicer.propagation import task", "may import only"),
    ("SAMMed2DSlicer.logic", "from SAMMed2D import SAMMed2DWidget", "nothing of ours does"),
    ("SAMMed2DSlicer.viewer.a", "", "add 'viewer' to MAY_IMPORT"),
]


@pytest.mark.parametrize(("module", "source"), GOOD)
def test_good_imports_pass(module: str, source: str) -> None:
    assert complaints(module, source) == []


@pytest.mark.parametrize(("module", "source", "complaint"), BAD)
def test_bad_imports_are_named(module: str, source: str, complaint: str) -> None:
    (found,) = complaints(module, source)
    assert complaint in found


def test_circles_are_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
