"""Which folder of the library may import what: the table, and the check that every file keeps to it.

A new folder needs an entry in `ROOMS`; without one its test fails. Imports of ours count wherever they stand, also
inside functions and under TYPE_CHECKING, because they say which way the library hangs together.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "SAMMed2DLib"
FILES = sorted(path.relative_to(ROOT / PACKAGE).as_posix() for path in (ROOT / PACKAGE).rglob("*.py"))

EVERY_ROOM = "*"
RUNTIME_PACKAGES = {"numpy", "torch", "SimpleITK", "requests", "urllib3"}  # urllib3 comes with requests
# In an extra of pyproject.toml; imported late only, but for the page of the demo.
OPTIONAL_PACKAGES = {"PIL", "distributed", "gradio", "matplotlib", "onnx", "onnxruntime", "pydicom"}
SLICER_PACKAGES = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "mrml", "PythonQt", "SAMMed2DSlicer"}


@dataclass(frozen=True)
class Room:
    """What a folder of the library, or one file of it, may import, besides numpy, the standard library and itself.

    Attributes:
        ours: rooms, separated by spaces; "model.preprocessing" is one file of a folder.
        outside: packages, wherever they are imported.
        late: packages that only functions may import (and annotations use).
        is_bare: whether the room opens with numpy alone.
        is_face: whether even what is ours, and numpy, is imported only when it is used.
    """

    ours: str = ""
    outside: str = ""
    late: str = ""
    is_bare: bool = True
    is_face: bool = False


TORCH = {"outside": "torch", "is_bare": False}
# It opens where torch is missing or broken, to say so.
COMMAND_LINE = Room(EVERY_ROOM, late="torch SimpleITK requests distributed")

# From the bottom to the top. The longest name that fits a file is its room.
ROOMS = {
    "__init__": Room(EVERY_ROOM, is_face=True),
    "former_names": Room(),
    "system": Room(),
    "imaging": Room(),
    "imaging.bilinear": Room("system.blas"),
    "io": Room("imaging system", late="SimpleITK pydicom"),
    # the network and its weights
    "model": Room(**TORCH),
    "model.config": Room(),
    "model.preprocessing": Room("model.config imaging.bilinear", late="torch"),
    "checkpoints": Room("system", late="torch"),
    "registry": Room("checkpoints system", late="requests urllib3"),
    "registry.store": Room("registry checkpoints system inference.predictor model"),
    # from prompts to masks, and to the other slices
    "inference": Room("imaging"),
    "inference.devices": Room(late="torch"),
    "inference.engines": Room("model.config", late="torch"),
    "inference.engines.loading": Room("inference checkpoints model", late="torch"),
    "inference.engines.torch_engine": Room("inference model", **TORCH),
    "inference.numpy_engine": Room("imaging inference.engines.engine model.config system.blas"),
    "inference.prediction": Room("model.preprocessing"),
    "inference.predictor": Room(
        "inference imaging.bilinear model checkpoints registry.built_in registry.known_models", late="torch"
    ),
    "inference.sam_predictor": Room("inference"),
    "inference.session": Room("inference imaging.image_keys proposals.everything proposals.ranking"),
    "propagation": Room("imaging inference system"),
    "proposals": Room("imaging inference"),
    # data, training, evaluation
    "plots": Room("imaging inference.prompts io system", late="SimpleITK matplotlib"),
    "data": Room("imaging inference.prompts io system", late="SimpleITK"),
    "data.dataset": Room("data imaging inference.prompts model.preprocessing", late="torch", is_bare=False),
    "data.synthetic": Room("data imaging", is_bare=False),
    "data.curation": Room("data.sa_med2d imaging io plots system", late="SimpleITK"),
    "training": Room(
        "checkpoints data evaluation imaging inference model plots registry.known_models system", **TORCH
    ),
    "evaluation": Room("data imaging inference model plots propagation system", **TORCH),
    # files for other programs
    "export": Room(
        "checkpoints inference.predictor inference.engines model registry system", late="torch onnx onnxruntime"
    ),
    "export.graphs": Room("model", **TORCH),
    # many cases, and the command line
    "batch_run": Room("system"),
    "doctor": Room(
        "checkpoints registry system inference.devices inference.predictor inference.prompts model",
        late="torch SimpleITK requests",
    ),
    "cli": COMMAND_LINE,
    "demo_page": Room(EVERY_ROOM, late="PIL torch", is_bare=False),
    "demo_page.handlers": Room(EVERY_ROOM, outside="gradio", is_bare=False),
    "demo_page.page": Room(EVERY_ROOM, outside="gradio", is_bare=False),
    "__main__": COMMAND_LINE,
}


@dataclass(frozen=True)
class Import:
    """One imported name: dotted, for ours from the package on; late inside functions and for type checkers."""

    line: int
    name: str
    is_ours: bool
    is_late: bool
    is_for_types: bool


class ImportReader(ast.NodeVisitor):
    """Collects the imports of one file."""

    def __init__(self, file: str) -> None:
        """Prepare for a file, named by its path below the package."""
        self.found: list[Import] = []
        self._folder = file.split("/")[:-1]
        self._late_depth = self._types_depth = 0

    def visit(self, node: ast.AST) -> None:
        """Read one node and, below functions, remember that nothing is imported at once."""
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        self._late_depth += is_function
        super().visit(node)
        self._late_depth -= is_function

    def visit_Import(self, node: ast.Import) -> None:
        """Read `import a.b`."""
        for alias in node.names:
            self._add(node.lineno, alias.name.split("."))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Read `from a import b`, relative or not."""
        module = node.module.split(".") if node.module else []
        if node.level:
            module = [PACKAGE, *self._folder[: len(self._folder) + 1 - node.level], *module]
        for alias in node.names:
            self._add(node.lineno, [*module, alias.name])

    def visit_Call(self, node: ast.Call) -> None:
        """Read `importlib.import_module("a")` and `__import__("a")`."""
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
            self._add(node.lineno, str(node.args[0].value).split("."))
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        """Read `if TYPE_CHECKING:`, whose imports never run."""
        if getattr(node.test, "attr", getattr(node.test, "id", "")) == "TYPE_CHECKING":
            self._late_depth += 1
            self._types_depth += 1
            for child in node.body:
                self.visit(child)
            self._late_depth -= 1
            self._types_depth -= 1
            for child in node.orelse:
                self.visit(child)
        else:
            self.generic_visit(node)

    def _add(self, line: int, parts: list[str]) -> None:
        is_ours = parts[0] == PACKAGE
        name = ".".join(parts[is_ours:])
        self.found.append(Import(line, name, is_ours, self._late_depth > 0, self._types_depth > 0))


def dotted(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def is_within(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


def room_of(file: str) -> str:
    """The room of a file, named by its path below the package; "" for none."""
    return max((room for room in ROOMS if is_within(dotted(file), room)), key=len, default="")


def complaints(file: str, source: str) -> list[str]:
    """Tell what is wrong with the imports of a file, named by its path below the package."""
    name = room_of(file)
    if not name:
        return [f"{file} is in no room: add {dotted(file).split('.')[0]!r} to ROOMS, with what it may import"]
    reader = ImportReader(file)
    reader.visit(ast.parse(source))
    return [
        f"{file}:{found.line} imports {found.name}: {complaint}"
        for found in reader.found
        if (complaint := _complaint_of_ours(name, found) if found.is_ours else _complaint_of_others(name, found))
    ]


def _complaint_of_ours(name: str, found: Import) -> str | None:
    if ROOMS[name].is_face and not found.is_late and not is_within(found.name, "former_names"):
        return "the package itself opens without importing anything: name it for types, and load it when it is used"
    allowed = ROOMS[name].ours.split()
    is_in_package_itself = found.name.split(".")[0] not in ROOMS
    if is_in_package_itself or EVERY_ROOM in allowed or any(is_within(found.name, room) for room in (name, *allowed)):
        return None
    return f"the room {name!r} may import only {', '.join(allowed) or 'nothing'} of ours"


def _complaint_of_others(name: str, found: Import) -> str | None:
    package, room = found.name.split(".")[0], ROOMS[name]
    if package in SLICER_PACKAGES:
        return "the library never imports Slicer"
    if package in sys.stdlib_module_names or package in room.outside.split():
        return None
    if package == "numpy":
        return "the package itself opens without numpy" if room.is_face and not found.is_late else None
    if package not in room.late.split():
        return f"the room {name!r} may not use this package"
    return None if found.is_late else "this package may be imported inside functions only"


# The library


@pytest.mark.parametrize("file", FILES)
def test_every_file_imports_only_what_its_room_may(file):
    assert complaints(file, (ROOT / PACKAGE / file).read_text(encoding="utf-8")) == []


def test_the_files_are_found():
    assert {"__init__.py", "imaging/geometry.py", "inference/prompts.py", "registry/download/transfer.py"} <= set(FILES)


def test_no_files_import_each_other_in_a_circle():
    imported = {}
    for file in FILES:
        reader = ImportReader(file)
        reader.visit(ast.parse((ROOT / PACKAGE / file).read_text(encoding="utf-8")))
        modules = {dotted(other): other for other in FILES}
        names = {found.name for found in reader.found if found.is_ours and not found.is_for_types}
        owners = {modules.get(name) or modules.get(name.rpartition(".")[0]) for name in names}
        imported[file] = owners - {None, file, "__init__.py"}
    done = set()

    def follow(file, path):
        assert file not in path, f"a circle: {' -> '.join([*path, file])}"
        if file not in done:
            for other in sorted(imported[file]):
                follow(other, (*path, file))
            done.add(file)

    for file in FILES:
        follow(file, ())


# The table


def test_the_table_allows_runtime_packages_only():
    packages = {package for room in ROOMS.values() for package in (room.outside + " " + room.late).split()}
    assert packages <= RUNTIME_PACKAGES | OPTIONAL_PACKAGES


def test_the_table_names_only_what_there_is():
    named = {target for room in ROOMS.values() for target in room.ours.split()} - {EVERY_ROOM}
    modules = {dotted(file) for file in FILES} | {dotted(str(Path(file).parent)) for file in FILES}
    assert named | set(ROOMS) <= modules | {"__init__"}


def test_a_bare_room_uses_no_package_at_once():
    assert [name for name, room in ROOMS.items() if room.is_bare and room.outside] == []


# The check itself


GOOD = [
    ("__init__.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .inference.session import Session"),
    ("__init__.py", "def f():\n    from SAMMed2DLib.imaging.intensity import rgb_from_slice"),
    ("imaging/intensity.py", "import math\nimport numpy as np\nfrom collections.abc import Sequence"),
    ("imaging/intensity.py", "from .. import __version__"),
    ("imaging/intensity.py", "from SAMMed2DLib import __version__"),
    ("imaging/intensity.py", "from .geometry import SlicePlane\nfrom SAMMed2DLib.imaging import planes"),
    ("inference/engines/torch_engine.py", "import torch\nfrom ...model.sam import Sam\nfrom ..prompts import Prompts"),
    ("inference/predictor.py", "import SAMMed2DLib.inference.prompts\nfrom SAMMed2DLib import checkpoints"),
    ("model/sam.py", "from torch import nn\nfrom .layers import Mlp\nfrom . import preprocessing"),
    ("model/sam.py", "from SAMMed2DLib.model.layers import Mlp\nfrom ..model import build"),
    ("data/dataset.py", "from SAMMed2DLib.model import preprocessing\ndef f():\n    import torch"),
    ("checkpoints/fit.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
    ("checkpoints/fit.py", "import typing\nif typing.TYPE_CHECKING:\n    from torch import Tensor"),
    ("checkpoints/fit.py", "class Reader:\n    def read(self):\n        import torch.nn"),
    ("checkpoints/fit.py", "load = lambda: __import__('torch')"),
    ("registry/download/transfer.py", "def f():\n    import requests"),
    ("__main__.py", "from .imaging import intensity\ndef main():\n    from .training import train\n    import torch"),
]


@pytest.mark.parametrize(("file", "source"), GOOD)
def test_good_imports_pass(file, source):
    assert complaints(file, source) == []


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("helpers.py", "", "add 'helpers' to ROOMS"),
        ("viewer/panel.py", "", "add 'viewer' to ROOMS"),
        ("__init__.py", "import numpy", "opens without numpy"),
        ("__init__.py", "from .imaging.intensity import rgb_from_slice", "opens without importing anything"),
        ("__init__.py", "def f():\n    import torch", "may not use this package"),
        ("imaging/intensity.py", "import torch", "may not use this package"),
        ("imaging/intensity.py", "def f():\n    import torch", "2 imports torch: the room 'imaging' may not"),
        ("imaging/intensity.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", "may not"),
        ("imaging/intensity.py", "from scipy import ndimage", "may not use this package"),
        ("inference/predictor.py", "from PIL import Image", "may not use this package"),
        ("imaging/intensity.py", "from ..io.volume import Volume", "only nothing of ours"),
        ("imaging/intensity.py", "def f():\n    from SAMMed2DLib.io import volume", "only nothing of ours"),
        ("imaging/intensity.py", "import SAMMed2DLib.io.volume", "only nothing of ours"),
        ("imaging/intensity.py", "import importlib\nimportlib.import_module('SAMMed2DLib.io.volume')", "only nothing"),
        ("model/sam.py", "from ..inference.prompts import Prompts", "only nothing of ours"),
        ("model/sam.py", "from SAMMed2DLib.inference import prompts", "only nothing of ours"),
        ("model/sam.py", "import numpy\nimport requests", "model/sam.py:2 imports requests"),
        ("data/dataset.py", "from SAMMed2DLib.model.sam import Sam", "may import only data, imaging"),
        ("data/sa_med2d.py", "import SimpleITK", "inside functions only"),
        ("checkpoints/fit.py", "import torch", "inside functions only"),
        ("checkpoints/fit.py", "try:\n    import torch\nexcept ImportError:\n    pass", "inside functions only"),
        ("checkpoints/fit.py", "class Reader:\n    import torch", "inside functions only"),
        ("checkpoints/fit.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import torch", "inside functions only"),
        ("checkpoints/fit.py", "from ..inference.predictor import Predictor", "may import only"),
        ("inference/predictor.py", "from ..training import train", "may import only"),
        ("inference/predictor.py", "def f():\n    import slicer", "never imports Slicer"),
        ("__main__.py", "import qt", "never imports Slicer"),
        ("__main__.py", "from vtk.util import numpy_support", "never imports Slicer"),
        ("__main__.py", "def f():\n    return __import__('ctk')", "never imports Slicer"),
        ("__main__.py", "import torch", "inside functions only"),
    ],
)
def test_bad_imports_are_named(file, source, complaint):
    (found,) = complaints(file, source)
    assert complaint in found


# Opening the library where nothing but numpy is installed

BARE = """
import json, sys

class OnlyTheStandardLibrary:
    allowed = {"SAMMed2DLib", *PACKAGES}

    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in self.allowed and root not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, OnlyTheStandardLibrary())
"""


def run_bare(script: str, packages: str = "'numpy'") -> str:
    """Run a script that can import nothing but the library, the standard library and these packages."""
    bare = BARE.replace("*PACKAGES", packages)
    done = subprocess.run(
        [sys.executable, "-c", bare + script], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_opens_without_numpy():
    assert run_bare("import SAMMed2DLib; print(SAMMed2DLib.__version__)", packages="") == "0.1.0\n"


@pytest.mark.parametrize("package", ["torch", "SimpleITK", "requests", "scipy", "slicer"])
def test_packages_are_really_missing_in_the_bare_process(package):
    script = f"""
try:
    import {package}
except ModuleNotFoundError:
    print("missing")
"""
    assert run_bare(script) == "missing\n"


def test_the_numpy_rooms_work_with_numpy_alone():
    script = """
import numpy as np
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Percentiles, rgb_from_slice
from SAMMed2DLib.imaging.metrics import dice, iou
from SAMMed2DLib.inference.prompts import Prompts, box_of_mask

volume = np.zeros((5, 6, 7), np.int16)
volume[2, 1:3, 2:6] = 100
plane = SlicePlane.of_axis((7, 6, 5), "axial", 2)
image = rgb_from_slice(plane.extract(volume), Percentiles())
mask = image[..., 0] > 127
prompts = Prompts.of(positive=plane.xy_from_ijk([[3, 2, 2]]), box=box_of_mask(mask)).checked(plane.size_hw)
plane.insert(volume, mask, 1)
print(json.dumps([prompts.box_xyxy.tolist(), int((volume == 1).sum()), dice(mask, mask), iou(mask, mask)]))
"""
    assert json.loads(run_bare(script)) == [[2, 1, 6, 3], 8, 1, 1]


def test_every_file_of_the_bare_rooms_opens_with_numpy_alone():
    modules = [dotted(file) for file in FILES if file != "__init__.py" and ROOMS[room_of(file)].is_bare]
    assert {"imaging.geometry", "data.curation.curation_run", "cli.batch", "checkpoints", "__main__"} <= set(modules)
    script = f"""
import importlib

failed = {{}}
for name in {modules!r}:
    try:
        importlib.import_module("SAMMed2DLib." + name)
    except ImportError as error:
        failed[name] = str(error)
print(json.dumps(failed))
"""
    assert json.loads(run_bare(script)) == {}


def test_the_options_of_every_command_are_built_with_numpy_alone():
    script = """
from SAMMed2DLib.__main__ import COMMANDS, make_parser

for name in COMMANDS:
    make_parser([name])
print(json.dumps(list(COMMANDS)))
"""
    assert {"segment", "batch", "train", "evaluate", "models", "doctor"} <= set(json.loads(run_bare(script)))
