"""In double precision nothing is left of rounding: what then differs from the published code differs in what it does.

`Testing/data/golden/tiny_float64.npz` holds what the published code computed in double precision, on weights of
which none is trivial, for the prompts that bring everything together: many points, mask prompts, points with a box.
"""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
import pytest
import torch
from golden_cases import TESTING, CasePrompts, GoldenFile, formula_image, golden_state
from torch import Tensor

from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import ModelConfig
from SAMMed2DLib.model.mask_decoder import select_best
from SAMMed2DLib.model.preprocessing import ResizeTransform

sys.path.append(str(TESTING / "benchmarks"))

from reference_encoder import Sizes
from reference_model import ReferenceSam

EXACT = 1e-12  # largest difference; the logits are about 1
ROUNDED = 1e-4
GOLDEN = GoldenFile("tiny_float64")
IMAGE = formula_image((150, 100))
POINTS, LABELS, BOX, MASK = (GOLDEN.arrays[key] for key in ("points_xy", "labels", "box_xyxy", "mask_logits"))
CASES = {
    "points2_mask": CasePrompts(POINTS[:2], LABELS[:2], low_res_logits=MASK),
    "points20": CasePrompts(POINTS, LABELS),
    "points20_mask": CasePrompts(POINTS, LABELS, low_res_logits=MASK),
    "points5_box_mask": CasePrompts(POINTS[:5], LABELS[:5], BOX, MASK),
}
CONFIG = ModelConfig.from_dict(GOLDEN.config)
FRAME = ResizeTransform((150, 100), CONFIG.image_size)


@cache
def network(kind: str) -> torch.nn.Module:
    """A network in double precision with the recorded weights."""
    sizes = {**GOLDEN.config, "global_blocks": tuple(GOLDEN.config["global_blocks"])}
    model = ReferenceSam(Sizes(**sizes)) if kind == "reference" else build_model(CONFIG)
    model.load_state_dict(golden_state({name: tuple(value.shape) for name, value in model.state_dict().items()}))
    model = model.double().requires_grad_(False)
    if kind == "ours for CPUs":
        model.image_encoder.prepare_for_cpu()
        model.mask_decoder.prepare_for_cpu()
    return model


def model_prompts(case: CasePrompts) -> tuple[tuple[Tensor, Tensor], Tensor | None, Tensor | None]:
    """Points, box and mask in double precision; coordinates are rounded to float32, as published."""
    assert case.points_xy is not None and case.labels is not None
    points = torch.from_numpy(FRAME.model_from_xy(case.points_xy))[None].double()
    box = None if case.box_xyxy is None else torch.from_numpy(FRAME.model_from_xy(case.box_xyxy.reshape(2, 2)))
    mask = None if case.low_res_logits is None else torch.from_numpy(case.low_res_logits)[None, None].sigmoid()
    return (points, torch.from_numpy(case.labels)[None]), None if box is None else box.reshape(1, 4).double(), mask


@pytest.mark.parametrize("kind", ["ours", "ours for CPUs", "reference"])
@pytest.mark.parametrize("case", CASES)
def test_in_double_precision_nothing_differs_from_the_published_code(kind: str, case: str) -> None:
    model = network(kind)
    features = model.image_encoder(torch.from_numpy(FRAME.model_image(IMAGE))[None].double())
    assert np.abs(features[0].numpy() - GOLDEN.arrays["features"]).max() < EXACT
    given = {"shared": model.share(features)} if kind == "ours for CPUs" else {}
    logits, scores = model.decode(features, *model_prompts(CASES[case]), **given)
    skipped = 1 if kind == "reference" else 0  # it returns mask 0, too
    assert np.abs(logits[0, skipped:].numpy() - GOLDEN.arrays[f"{case}.logits"]).max() < EXACT
    assert np.abs(scores[0, skipped:].numpy() - GOLDEN.arrays[f"{case}.scores"]).max() < EXACT


@pytest.mark.parametrize("case", CASES)
def test_the_predictor_gives_the_same_up_to_rounding(case: str) -> None:
    model = build_model(CONFIG)
    model.load_state_dict(golden_state({name: tuple(value.shape) for name, value in model.state_dict().items()}))
    predictor = Predictor(model, device="cpu", precision="float32")
    asked = CASES[case]
    prompts = Prompts(asked.points_xy, asked.labels).with_box(asked.box_xyxy).with_low_res_logits(asked.low_res_logits)
    prediction = predictor.predict(predictor.embed([IMAGE]), prompts)
    best = int(GOLDEN.arrays[f"{case}.scores"].argmax())
    assert np.abs(prediction.low_res_logits - GOLDEN.arrays[f"{case}.logits"][best]).max() < ROUNDED
    assert abs(prediction.score - GOLDEN.arrays[f"{case}.scores"][best]) < ROUNDED


def test_the_order_of_points_is_of_no_consequence() -> None:
    """Prompts may come in any order: the network has none."""
    model = network("ours")
    features = torch.from_numpy(GOLDEN.arrays["features"])[None]
    (points, labels), _, mask = model_prompts(CASES["points20_mask"])
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    logits, scores = model.decode(features, (points[:, order], labels[:, order]), None, mask)
    assert np.abs(logits[0].numpy() - GOLDEN.arrays["points20_mask.logits"]).max() < EXACT
    assert np.abs(scores[0].numpy() - GOLDEN.arrays["points20_mask.scores"]).max() < EXACT


def test_what_prompts_on_one_image_share_changes_nothing() -> None:
    """Alone and in batches, with what was shared for another image before, and for the best mask alone."""
    model = network("ours")
    features = torch.from_numpy(GOLDEN.arrays["features"])[None]
    shared = model.share(features, model.share(features.flip(2)))
    point, label = torch.tensor([[[9.0, 31.0]], [[40.0, 20.0]], [[50.0, 60.0]]]).double(), torch.tensor([[1], [1], [0]])
    boxes = torch.tensor([[5.0, 6.0, 40.0, 50.0], [1.0, 2.0, 60.0, 30.0], [30.0, 30.0, 50.0, 60.0]]).double()
    mask = torch.from_numpy(MASK)[None, None].sigmoid().expand(3, -1, -1, -1)
    for count in (1, 3):
        points = point[:count], label[:count]
        for prompts in ((points, None, None), (None, boxes[:count], None), (points, boxes[:count], mask[:count])):
            expected = model.decode(features, *prompts)
            for ours, theirs in zip(model.decode(features, *prompts, shared=shared), expected, strict=True):
                assert (ours - theirs).abs().max() < EXACT
            best = model.decode(features, *prompts, shared=shared, best=True)
            for ours, theirs in zip(best, select_best(*expected), strict=True):
                assert (ours - theirs).abs().max() < EXACT


def test_a_predictor_shares_once_for_each_slice_and_its_answers_do_not_depend_on_what_was_asked_before() -> None:
    model = build_model(CONFIG)
    predictor = Predictor(model, device="cpu", precision="float32")
    calls: list[int] = []
    share = model.share
    model.share = lambda *args: calls.append(1) or share(*args)
    first, second = (predictor.embed([formula_image(size)]) for size in ((150, 100), (90, 120)))
    prompts = [Prompts.of([(30, 40)]), Prompts.of(box=(10, 10, 60, 70)), Prompts.of([(50, 30), (20, 20)])]
    alone = [predictor.predict(first, one).low_res_logits for one in prompts]
    assert len(calls) == 1
    for one, expected in zip(prompts, alone, strict=True):
        predictor.predict(second, one)
        assert np.array_equal(predictor.predict(first, one).low_res_logits, expected)
        assert np.array_equal(predictor.predict(first[0], one).low_res_logits, expected)
    assert len(calls) == 1 + 2 * len(prompts)
