"""`import SAMMed2DLib as sammed2d`: one list of names, loaded when they are used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import SAMMed2DLib as sammed2d  # noqa: N813  (as users do)

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(set(sammed2d.__all__) - {"__version__"})
# What a user must be able to do before torch is installed.
WITHOUT_TORCH = {
    "FullRange", "GeometryError", "MaskPrediction", "Percentiles", "PromptError", "Prompts", "SamPredictor", "Segment",
    "Session", "SlicePlane", "Volume", "VolumeError", "Window", "read_segmentation", "read_volume", "rgb_from_slice",
    "write_segmentation",
}  # fmt: skip


def in_new_process(script: str) -> object:
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def names_for_type_checkers() -> dict[str, tuple[str, str]]:
    """File and name there of each name, as type checkers see them."""
    tree = ast.parse((ROOT / "SAMMed2DLib" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {
        alias.asname or alias.name: (str(node.module), alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_and_python_see_the_same():
    seen = names_for_type_checkers()
    assert sorted(seen) == NAMES
    for name, (module, name_there) in seen.items():
        assert getattr(sammed2d, name) is getattr(import_module(module), name_there), name


def test_all_names_are_listed_before_they_are_loaded():
    script = "import json, SAMMed2DLib; print(json.dumps(dir(SAMMed2DLib)))"
    assert set(sammed2d.__all__) <= set(in_new_process(script))


def test_the_package_opens_without_numpy_and_loads_what_is_used():
    script = """
import json, sys
import SAMMed2DLib as sammed2d  # noqa: N813  (as users do)

def loaded():
    return sorted({"numpy", "torch", "SimpleITK", "SAMMed2DLib.imaging.intensity"} & set(sys.modules))

first = loaded()
window = sammed2d.Window(level=40, width=400)
print(json.dumps([first, loaded(), vars(sammed2d)["Window"] is type(window)]))
"""
    assert in_new_process(script) == [[], ["SAMMed2DLib.imaging.intensity", "numpy"], True]


def test_torch_comes_only_with_what_computes():
    script = """
import json, sys
import SAMMed2DLib as sammed2d  # noqa: N813  (as users do)

early = []
for name in sorted(sammed2d.__all__, key=lambda name: name not in WITHOUT):
    getattr(sammed2d, name)
    if "torch" not in sys.modules:
        early.append(name)
print(json.dumps(early))
""".replace("WITHOUT", repr({*WITHOUT_TORCH, "__version__"}))
    assert set(in_new_process(script)) >= WITHOUT_TORCH


def test_a_name_that_is_not_there_is_told_where_to_look():
    with pytest.raises(AttributeError, match=r"no 'predict_everything': .* own file"):
        sammed2d.predict_everything  # noqa: B018
    with pytest.raises(ImportError):
        exec("from SAMMed2DLib import predict_everything")
    assert not hasattr(sammed2d, "__wrapped__")


def test_folders_are_still_imported_by_their_names():
    script = "import json; from SAMMed2DLib import imaging, inference; print(json.dumps(imaging.__name__))"
    assert in_new_process(script) == "SAMMed2DLib.imaging"


def test_a_mask_goes_from_a_file_to_a_file_by_the_face_alone(tmp_path):
    volume_kji = np.full((4, 40, 50), -100, np.int16)
    volume_kji[:, 10:25, 15:35] = 120
    volume = sammed2d.Volume(volume_kji, np.eye(4), False, "ct")
    plane = sammed2d.SlicePlane.of_axis(volume.size_ijk, "axial", 2, volume.ijk_to_ras)
    image = sammed2d.rgb_from_slice(plane.extract(volume.array), sammed2d.Window(level=40, width=400))
    session = sammed2d.Session(sammed2d.load_predictor(device="cpu"))

    found = session.answer(image, sammed2d.Prompts.of(box=(14, 9, 36, 26)))
    mask_kji = np.zeros(volume_kji.shape, bool)
    plane.insert(mask_kji, found.mask, True)
    sammed2d.write_segmentation(tmp_path / "organ.seg.nrrd", [mask_kji], volume, [sammed2d.Segment("organ")])

    read = sammed2d.read_segmentation(tmp_path / "organ.seg.nrrd")
    assert found.mask[12:23, 18:32].mean() > 0.5
    np.testing.assert_array_equal(read.mask("organ"), mask_kji)
