"""What was packaged is whole: runs inside Slicer by ctest, and by pytest on an installation of the stub SDK."""

import importlib
import importlib.util
import unittest
from pathlib import Path

ICONS = (
    "Resources/Icons/SAMMed2D.png",
    "SegmentEditorSAMMed2DLib/SegmentEditorEffect.png",
)


def module_folder() -> Path:
    """The folder that SAMMed2D.py is loaded from."""
    found = importlib.util.find_spec("SAMMed2D")
    if found is None or found.origin is None:
        raise AssertionError("SAMMed2D.py is not on the path")
    return Path(found.origin).resolve().parent


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


class SAMMed2DPackageTest(unittest.TestCase):
    def test_the_library_comes_from_beside_the_module(self) -> None:
        library = importlib.import_module("SAMMed2DLib")
        self.assertEqual(Path(library.__file__).resolve().parents[1], module_folder())

    def test_the_numpy_part_of_the_library_opens(self) -> None:
        for name in ("imaging.geometry", "inference.prompts", "registry.known_models", "checkpoints.torch_file"):
            importlib.import_module(f"SAMMed2DLib.{name}")

    def test_icons_lie_where_the_module_and_the_effect_look(self) -> None:
        for icon in ICONS:
            self.assertTrue((module_folder() / icon).is_file(), icon)

    def test_the_built_in_model_loads_and_predicts(self) -> None:
        if not has("torch"):
            self.skipTest("PyTorch is not installed")
        import numpy as np

        from SAMMed2DLib.inference.predictor import load_predictor
        from SAMMed2DLib.inference.prompts import Prompts

        predictor = load_predictor(device="cpu")
        embedding = predictor.embed([np.zeros((64, 64, 3), dtype=np.uint8)])
        found = predictor.predict_many(embedding, [Prompts.of(box=(16, 16, 47, 47))])
        self.assertEqual(np.asarray(found[0].mask).shape, (64, 64))


if __name__ == "__main__":
    unittest.main()
