"""The plain reference of the benchmarks computes what the published code did, so the comparison is fair."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from golden_cases import TESTING, GoldenFile, golden_state

from SAMMed2DLib.model.preprocessing import ResizeTransform

sys.path.append(str(TESTING / "benchmarks"))

from reference_encoder import Sizes
from reference_model import ReferenceSam

TOLERANCE = 1e-4


def reference_of(golden: GoldenFile) -> tuple[ReferenceSam, ResizeTransform]:
    """The reference with a golden file's weights, and the frame of its image."""
    sizes = {**golden.config, "global_blocks": tuple(golden.config["global_blocks"])}
    model = ReferenceSam(Sizes(**sizes))
    model.load_state_dict(golden_state({name: tuple(v.shape) for name, v in model.state_dict().items()}))
    return model, ResizeTransform(golden.image.shape[:2], golden.config["image_size"])


@pytest.mark.parametrize("size", ["tiny_adapter", "tiny_plain", "small_adapter", "small_plain"])
def test_the_reference_gives_the_recorded_features_logits_and_scores(size: str) -> None:
    golden = GoldenFile(size)
    model, frame = reference_of(golden)
    corners = torch.from_numpy(frame.model_from_xy(golden.arrays["box"].reshape(2, 2)))
    with torch.no_grad():
        features = model.image_encoder(torch.from_numpy(frame.model_image(golden.image))[None])
        ((logits, score),) = model.best_of_boxes(features, [corners.flatten()])

    step = 1 if "features" in golden.arrays else 4
    recorded = golden.arrays["features" if step == 1 else "features_every4"]
    assert np.abs(features[0, ::step].numpy() - recorded).max() < TOLERANCE
    assert max(golden.differences("box.multi.low_res", logits[None].numpy()).values()) < TOLERANCE
    assert abs(score - golden.arrays["box.multi.iou"][0]) < TOLERANCE


def test_one_prompt_set_may_hold_points_and_a_mask() -> None:
    golden = GoldenFile("tiny_adapter")
    model, frame = reference_of(golden)
    case = golden.cases["refine_points_mask"]
    assert case.points_xy is not None and case.labels is not None and case.low_res_logits is not None
    points = (
        torch.from_numpy(frame.model_from_xy(case.points_xy))[None],
        torch.from_numpy(case.labels)[None],
    )
    with torch.no_grad():
        features = model.image_encoder(torch.from_numpy(frame.model_image(golden.image))[None])
        mask = torch.from_numpy(case.low_res_logits)[None, None].sigmoid()
        logits, scores = model.decode(features, points, masks=mask)

    best = 1 + int(scores[0, 1:].argmax())
    recorded = golden.differences("refine_points_mask.multi.low_res", logits[:, best].numpy())
    assert max(recorded.values()) < TOLERANCE
