"""The demo runs from end to end on its real CT, here with a tiny untrained network."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK
import slicerio
import torch

from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import ModelConfig

DEMO = Path(__file__).resolve().parents[1] / "demo" / "run_demo.py"
CONFIG = ModelConfig(
    image_size=64,
    embed_dim=32,
    depth=1,
    num_heads=2,
    global_blocks=(),
    window_size=3,
    out_dim=32,
    decoder_heads=4,
    decoder_mlp_dim=64,
    iou_hidden_dim=32,
)


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_demo", DEMO)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_demo"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_demo_writes_segmentations_a_sheet_and_a_table(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "STRUCTURES", demo.STRUCTURES[1:3])
    monkeypatch.setattr(demo, "SHARES", (0.5,))
    torch.manual_seed(0)
    weights = save_inference_checkpoint(tmp_path / "tiny.pt", build_model(CONFIG).state_dict(), CONFIG.to_dict(), {})
    folder = tmp_path / "out"
    assert demo.main(["--output", str(folder), "--model", str(weights)]) == 0
    expected = ["chest-1-click", "chest-3-clicks", "chest-5-clicks", "chest-box"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{name}.seg.nrrd" for name in expected] + ["contact-sheet.png", "results.md"]
    )
    written = slicerio.read_segmentation(str(folder / "chest-box.seg.nrrd"))
    assert [segment["name"] for segment in written["segments"]] == list(demo.STRUCTURES)
    given = slicerio.read_segmentation(str(Path(slicerio.__file__).parent / "data" / "Segmentation.seg.nrrd"))
    np.testing.assert_allclose(written["ijkToLPS"], given["ijkToLPS"], atol=1e-9)
    assert written["voxels"].shape[-3:] == given["voxels"].shape
    table = (folder / "results.md").read_text()
    for structure in demo.STRUCTURES:
        assert table.count(f"| {structure} |") == len(demo.AXES)
    assert "embed a slice" in table and "mean of 6 slices" in table
    picture = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "contact-sheet.png")))
    assert picture.shape[1] > 2000 and picture.std() > 20


def test_the_cases_are_what_the_reference_shows(demo: ModuleType) -> None:
    volume, reference = demo.chest()
    cases = list(demo.chosen(volume, reference))
    assert {(case.structure, case.axis) for case in cases} == {(s, a) for s in demo.STRUCTURES for a in demo.AXES}
    for case in cases:
        whole = case.plane.extract(reference.mask(case.structure))
        assert case.reference.any() and not (case.reference & ~whole).any()
        assert case.image.shape[:2] == case.reference.shape


def test_the_rough_box_is_off_by_little_and_stays_on_the_slice(demo: ModuleType) -> None:
    reference = np.zeros((40, 60), bool)
    reference[0:30, 10:50] = True
    rng = np.random.default_rng(0)
    boxes = np.array([demo.rough_box(reference, rng) for _ in range(200)])
    assert np.abs(boxes - [10, 0, 50, 30]).max(axis=0).tolist() <= [2.4, 1.8, 2.4, 1.8]
    assert boxes.min() >= 0 and np.abs(boxes - [10, 0, 50, 30]).mean() > 0.5
