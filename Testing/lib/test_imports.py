"""Which room of the library may import what: the table, and the check that every file keeps to it.

A new file needs an entry in `ROOMS`; without one its test fails. Imports of ours count wherever they stand,
also inside functions and under TYPE_CHECKING, because they say which way the library hangs together.
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
OPTIONAL_PACKAGES = {"distributed", "pydicom"}  # in an extra of pyproject.toml; imported late only
SLICER_PACKAGES = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "mrml", "PythonQt", "SAMMed2DSlicer"}


@dataclass(frozen=True)
class Room:
    """What one file or folder of the library may import, besides numpy and the standard library.

    Attributes:
        ours: rooms, separated by spaces; "model.frame" is one file of a folder.
        outside: packages, wherever they are imported.
        late: packages that only functions may import (and annotations use).
        is_bare: whether the room opens with numpy alone.
    """

    ours: str = ""
    outside: str = ""
    late: str = ""
    is_bare: bool = False


# It opens where torch is missing or broken, to say so.
COMMAND_LINE = Room(EVERY_ROOM, late="torch SimpleITK requests distributed", is_bare=True)

ROOMS = {
    "__init__": Room(is_bare=True),
    # numpy, next to nothing of ours
    "geometry": Room(is_bare=True),
    "planes": Room("geometry", is_bare=True),
    "parallel_planes": Room("geometry planes", is_bare=True),
    "image": Room(is_bare=True),
    "prompts": Room("components", is_bare=True),
    "metrics": Room(is_bare=True),
    "components": Room(is_bare=True),
    "files": Room(is_bare=True),
    "locks": Room(is_bare=True),
    "memory": Room(is_bare=True),
    "formatting": Room(is_bare=True),
    # the network
    "model": Room(outside="torch"),
    # weights
    "checkpoints": Room("files", late="torch", is_bare=True),
    "download": Room("locks checkpoints", late="requests urllib3", is_bare=True),
    "catalogue": Room("download checkpoints files", is_bare=True),
    "model_store": Room("catalogue checkpoints files predictor model", is_bare=True),
    # from prompts to masks
    "devices": Room(outside="torch"),
    "predictor": Room("model prompts checkpoints catalogue devices", outside="torch"),
    "point_constraints": Room("prompts components", is_bare=True),
    "mask_correction": Room("prompts components point_constraints", is_bare=True),
    "outline": Room("image components", is_bare=True),
    "zoom": Room("predictor prompts outline point_constraints"),
    "propagation": Room("image prompts metrics components", is_bare=True),
    "stack": Room("propagation geometry planes memory formatting prompts zoom predictor session"),
    "time_series": Room("propagation stack session formatting", is_bare=True),
    "session": Room("prompts point_constraints mask_correction predictor zoom", late="torch"),
    # files of images and prompts
    "volume": Room(is_bare=True),
    "packed": Room("volume", is_bare=True),
    "png_jpeg": Room("packed", is_bare=True),
    "itk_write": Room(late="SimpleITK", is_bare=True),
    "image_header": Room("volume", is_bare=True),
    "itk_file": Room("volume packed png_jpeg image_header", late="SimpleITK", is_bare=True),
    "nifti": Room("volume packed files", is_bare=True),
    "dicom": Room("volume itk_file packed slicer_nrrd memory", late="SimpleITK pydicom", is_bare=True),
    "volume_io": Room("volume dicom itk_file nifti files memory", is_bare=True),
    "grids": Room(is_bare=True),
    "slicer_nrrd": Room("volume", is_bare=True),
    "segmentation_io": Room(
        "volume_io slicer_nrrd dicom nifti grids files formatting itk_write", late="SimpleITK", is_bare=True
    ),
    "markups": Room("geometry files formatting", is_bare=True),
    "pictures": Room("geometry image prompts files itk_write", late="SimpleITK", is_bare=True),
    # training
    "augmentation": Room("components", is_bare=True),
    "synthetic": Room("augmentation components dataset"),
    "listed_paths": Room(is_bare=True),
    "published_layout": Room("files image itk_file listed_paths png_jpeg volume", late="SimpleITK", is_bare=True),
    "dataset": Room("image prompts model.frame geometry components augmentation published_layout", late="torch"),
    "curation": Room(
        "published_layout image volume_io segmentation_io dicom grids components pictures files locks",
        late="SimpleITK",
        is_bare=True,
    ),
    "simulation": Room("prompts metrics components", is_bare=True),
    "losses": Room(outside="torch"),
    "training": Room(
        "model dataset metrics losses prompts simulation synthetic checkpoints devices augmentation components "
        "published_layout catalogue files locks pictures predictor evaluation image",
        outside="torch",
    ),
    "evaluation": Room(
        "model predictor session zoom dataset published_layout metrics prompts simulation components pictures files "
        "formatting locks",
        outside="torch",
    ),
    "volume_evaluation": Room("propagation stack session predictor zoom metrics prompts simulation image"),
    "doctor": Room(
        "catalogue checkpoints devices memory model predictor prompts",
        late="torch SimpleITK requests",
        is_bare=True,
    ),
    # many cases
    "batch": Room("files locks", is_bare=True),
    # the command line
    "cli": COMMAND_LINE,
    "__main__": COMMAND_LINE,
}


@dataclass(frozen=True)
class Import:
    """One imported name: `name` is dotted, for ours from the package on; `is_late` inside functions."""

    line: int
    name: str
    is_ours: bool
    is_late: bool


class ImportReader(ast.NodeVisitor):
    """Collects the imports of one file."""

    def __init__(self, file: str) -> None:
        """Prepare for a file, named by its path below the package."""
        self.found: list[Import] = []
        self._folder = file.split("/")[:-1]
        self._late_depth = 0

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
            for child in node.body:
                self.visit(child)
            self._late_depth -= 1
            for child in node.orelse:
                self.visit(child)
        else:
            self.generic_visit(node)

    def _add(self, line: int, parts: list[str]) -> None:
        is_ours = parts[0] == PACKAGE
        self.found.append(Import(line, ".".join(parts[is_ours:]), is_ours, self._late_depth > 0))


def room_of(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


def complaints(file: str, source: str) -> list[str]:
    """Tell what is wrong with the imports of a file, named by its path below the package."""
    name = room_of(file)
    if name not in ROOMS:
        return [f"{file} is in no room: add {name!r} to ROOMS, with what it may import"]
    reader = ImportReader(file)
    reader.visit(ast.parse(source))
    return [
        f"{file}:{one.line} imports {one.name}: {complaint}"
        for one in reader.found
        if (complaint := _complaint_of_ours(name, one) if one.is_ours else _complaint_of_others(name, one))
    ]


def _complaint_of_ours(name: str, one: Import) -> str | None:
    target = one.name.split(".")[0]
    is_in_package_itself = target not in ROOMS
    allowed = ROOMS[name].ours.split()
    if is_in_package_itself or target == name or EVERY_ROOM in allowed:
        return None
    if any(one.name == room or one.name.startswith(room + ".") for room in allowed):
        return None
    return f"the room {name!r} may import only {', '.join(allowed) or 'nothing'} of ours"


def _complaint_of_others(name: str, one: Import) -> str | None:
    package, room = one.name.split(".")[0], ROOMS[name]
    if package in SLICER_PACKAGES:
        return "the library never imports Slicer"
    if package in sys.stdlib_module_names or package in room.outside.split():
        return None
    if package == "numpy":
        return "the package itself opens without numpy" if name == "__init__" else None
    if package not in room.late.split():
        return f"the room {name!r} may not use this package"
    return None if one.is_late else "this package may be imported inside functions only"


# The library


@pytest.mark.parametrize("file", FILES)
def test_every_file_imports_only_what_its_room_may(file):
    assert complaints(file, (ROOT / PACKAGE / file).read_text(encoding="utf-8")) == []


def test_the_files_are_found():
    assert {"__init__.py", "geometry.py", "image.py", "prompts.py", "metrics.py"} <= set(FILES)


# The table


def test_the_table_allows_runtime_packages_only():
    packages = {package for room in ROOMS.values() for package in (room.outside + " " + room.late).split()}
    assert packages <= RUNTIME_PACKAGES | OPTIONAL_PACKAGES


def test_the_table_names_only_rooms_that_it_has():
    named = {target.split(".")[0] for room in ROOMS.values() for target in room.ours.split()}
    assert named - {EVERY_ROOM} <= set(ROOMS)


def test_the_table_has_no_circles():
    def follow(name, path=()):
        assert name not in path, f"a circle: {' -> '.join([*path, name])}"
        for target in ROOMS[name].ours.replace(EVERY_ROOM, "").split():
            follow(target.split(".")[0], (*path, name))

    for name in ROOMS:
        follow(name)


def test_a_bare_room_uses_no_package_at_once():
    assert [name for name, room in ROOMS.items() if room.is_bare and room.outside] == []


# The check itself


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("image.py", "import math\nimport numpy as np\nfrom collections.abc import Sequence"),
        ("image.py", "from . import __version__"),
        ("image.py", "from SAMMed2DLib import __version__"),
        ("predictor.py", "import torch\nfrom .model.sam import Sam\nfrom .prompts import Prompts"),
        ("predictor.py", "import SAMMed2DLib.prompts\nfrom SAMMed2DLib import checkpoints"),
        ("model/sam.py", "from torch import nn\nfrom .layers import Mlp\nfrom . import frame"),
        ("model/sam.py", "from SAMMed2DLib.model.layers import Mlp\nfrom ..model import build"),
        (
            "dataset.py",
            "from .model.frame import ModelFrame\nfrom .model import frame\ndef f():\n    import torch",
        ),
        ("checkpoints.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("checkpoints.py", "import typing\nif typing.TYPE_CHECKING:\n    from torch import Tensor"),
        ("checkpoints.py", "class Reader:\n    def read(self):\n        import torch.nn"),
        ("checkpoints.py", "load = lambda: __import__('torch')"),
        ("download.py", "def f():\n    import requests"),
        (
            "__main__.py",
            "from . import image, prompts\ndef main():\n    from .training import train\n    import torch",
        ),
    ],
)
def test_good_imports_pass(file, source):
    assert complaints(file, source) == []


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("helpers.py", "", "add 'helpers' to ROOMS"),
        ("viewer/panel.py", "", "add 'viewer' to ROOMS"),
        ("__init__.py", "import numpy", "opens without numpy"),
        ("__init__.py", "from .image import rgb_from_slice", "only nothing of ours"),
        ("image.py", "import torch", "may not use this package"),
        ("image.py", "def f():\n    import torch", "image.py:2 imports torch: the room 'image' may not"),
        ("image.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", "may not use"),
        ("image.py", "from scipy import ndimage", "may not use this package"),
        ("predictor.py", "from PIL import Image", "may not use this package"),
        ("image.py", "from .geometry import SlicePlane", "only nothing of ours"),
        ("image.py", "from . import geometry", "only nothing of ours"),
        ("image.py", "def f():\n    from .geometry import SlicePlane", "only nothing of ours"),
        ("image.py", "import SAMMed2DLib.geometry", "only nothing of ours"),
        (
            "image.py",
            "import importlib\nimportlib.import_module('SAMMed2DLib.geometry')",
            "only nothing of ours",
        ),
        ("model/sam.py", "from ..prompts import Prompts", "only nothing of ours"),
        ("model/sam.py", "from SAMMed2DLib import prompts", "only nothing of ours"),
        ("model/sam.py", "import numpy\nimport requests", "model/sam.py:2 imports requests"),
        ("dataset.py", "from .model.sam import Sam", "may import only image, prompts, model.frame"),
        ("dataset.py", "from .model import sam", "may import only image, prompts, model.frame"),
        ("published_layout.py", "import SimpleITK", "inside functions only"),
        ("checkpoints.py", "import torch", "inside functions only"),
        ("checkpoints.py", "try:\n    import torch\nexcept ImportError:\n    pass", "inside functions only"),
        ("checkpoints.py", "class Reader:\n    import torch", "inside functions only"),
        ("checkpoints.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import torch", "inside functions only"),
        ("checkpoints.py", "from .predictor import Predictor", "may import only"),
        ("predictor.py", "from .training import train", "may import only"),
        ("predictor.py", "def f():\n    import slicer", "never imports Slicer"),
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
        [sys.executable, "-c", bare + script], cwd=ROOT, capture_output=True, text=True, timeout=60
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
from SAMMed2DLib.geometry import SlicePlane
from SAMMed2DLib.image import Percentiles, rgb_from_slice
from SAMMed2DLib.metrics import dice, iou
from SAMMed2DLib.prompts import Prompts, box_of_mask

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
    modules = [file.removesuffix(".py").removesuffix("/__init__") for file in FILES if ROOMS[room_of(file)].is_bare]
    assert {"geometry", "curation/run", "cli/in_time", "checkpoints", "__main__"} <= set(modules)
    script = f"""
import importlib

failed = {{}}
for name in {modules!r}:
    try:
        importlib.import_module("SAMMed2DLib." + name.replace("/", "."))
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
