"""With a segment for each object, each click begins one, and the user goes on while they are answered."""

from __future__ import annotations

import numpy as np
import pytest
from editor_fixture import SIZE, BrightSession, EditorFixture, let_answer
from host import keys

K = 10
CENTRES = [(x, y) for y in (8, 20, 32, 44) for x in (8, 20, 32, 44)]  # i, j of discs
RADIUS = 3.5


class OneObject(BrightSession):
    """A model that finds the bright disc under the first point, or within the box; other points change what is near."""

    def answer(self, image, prompts, *, mask=None, candidates=False, **options):
        from SAMMed2DLib.imaging.components import parts_touching

        if candidates or mask is not None:
            return super().answer(image, prompts, mask=mask, candidates=candidates, **options)
        found = super().answer(image, prompts, **options)
        if len(prompts.labels):
            x, y = np.round(prompts.points_xy[0]).astype(int)
            seed = np.zeros_like(found.mask)
            seed[y, x] = True
            found.mask[...] = parts_touching(found.mask, seed)
            rows, columns = np.mgrid[tuple(slice(0, n) for n in seed.shape)]
            for (x, y), label in list(zip(prompts.points_xy, prompts.labels, strict=True))[1:]:
                found.mask[(columns - x) ** 2 + (rows - y) ** 2 < 1.5**2] = bool(label)
        return found


def discs_kji(centres=CENTRES) -> np.ndarray:
    j, i = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    flat = np.zeros((SIZE[1], SIZE[0]), bool)
    for x, y in centres:
        flat |= (i - x) ** 2 + (j - y) ** 2 < RADIUS**2
    return np.repeat(flat[None], SIZE[2], axis=0)


@pytest.fixture
def model(model, monkeypatch) -> OneObject:
    return let_answer(monkeypatch, OneObject())


@pytest.fixture
def fixture(model) -> EditorFixture:
    fixture = EditorFixture(model, volume_kji=np.where(discs_kji(), 160, 40).astype(np.int16))
    fixture.set(NewSegments=1)
    yield fixture
    fixture.editor.setActiveEffect(None)


def press_at(fixture, centre) -> None:
    """Click without waiting for anything."""
    fixture.view.click(*fixture.xy((*centre, K)))


def names(fixture) -> list[str]:
    segmentation = fixture.segmentation.GetSegmentation()
    return [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]


def disc(centre) -> np.ndarray:
    found = discs_kji([centre])
    found[np.arange(SIZE[2]) != K] = False
    return found


def written(fixture) -> list[np.ndarray]:
    return [fixture.segment(segment_id) for segment_id in fixture.segmentation.GetSegmentation().GetSegmentIDs()]


def idle(fixture) -> None:
    fixture.wait(lambda: not fixture.effect._service.worker.is_pending)


def test_clicks_do_not_wait_and_enter_accepts_all_in_one_undo_step(fixture, model):
    model.delay_s = 0.03
    for centre in CENTRES:
        press_at(fixture, centre)
    assert len(model.answered) < len(CENTRES)  # most were clicked before their answers
    keys.press("Return")
    fixture.wait()
    assert names(fixture) == ["A"] + [f"A #{n}" for n in range(2, len(CENTRES) + 1)]
    for found, centre in zip(written(fixture), CENTRES, strict=True):
        np.testing.assert_array_equal(found, disc(centre))
    assert len(model.asked) == len(CENTRES)  # none was interrupted, none was asked twice
    segmentation = fixture.segmentation.GetSegmentation()
    assert len({segmentation.GetNthSegment(n).GetColor() for n in range(4)}) == 4
    assert "16 objects" in fixture.status.text
    fixture.editor.undo()
    fixture.wait()
    assert not any(found.any() for found in written(fixture))


def test_each_mask_is_shown_in_its_own_colour_until_all_are_accepted(fixture):
    for centre in CENTRES[:3]:
        press_at(fixture, centre)
    fixture.wait(lambda: len(fixture.shown) == 3)
    shown = fixture.controller.display._pending()
    segmentation = fixture.segmentation.GetSegmentation()
    assert [mask.color for mask in shown] == [segmentation.GetNthSegment(n).GetColor() for n in range(3)]
    assert "3 masks" in fixture.status.text and not any(found.any() for found in written(fixture))


def test_a_click_on_a_mask_that_is_shown_corrects_it(fixture, model):
    for centre in CENTRES[:2]:
        fixture.click((*centre, K))
    x, y = CENTRES[0]
    fixture.click((x + 2, y, K), control=True)
    assert model.asked[-1][0].labels.tolist() == [1, 0] and len(names(fixture)) == 2
    fixture.click((x - 1, y + 4, K))  # just beside it
    assert model.asked[-1][0].labels.tolist() == [1, 0, 1]
    fixture.accept()
    first, second = written(fixture)
    assert not first[K, y, x + 2] and first[K, y + 4, x - 1]
    np.testing.assert_array_equal(second, disc(CENTRES[1]))


def test_a_box_begins_an_object_and_one_around_a_mask_that_is_shown_corrects_it(fixture, model):
    (x, y), (u, v) = CENTRES[:2]
    fixture.drag((x - 5, y - 5, K), (x + 5, y + 5, K))
    fixture.drag((u - 5, v - 5, K), (u + 5, v + 5, K))
    assert names(fixture) == ["A", "A #2"]
    fixture.drag((x - 2, y - 2, K), (x + 3, y + 3, K))
    assert names(fixture) == ["A", "A #2"] and len(fixture.shown) == 2
    assert model.asked[-1][0].box_xyxy is not None and model.asked[-1][0].box_xyxy[0] >= x - 3


def test_backspace_takes_the_last_prompt_back_and_with_it_its_segment(fixture, model):
    for centre in CENTRES[:3]:
        fixture.click((*centre, K))
    x, y = CENTRES[1]
    fixture.click((x + 2, y, K), control=True)
    keys.press("Backspace", fixture.view)
    fixture.wait()
    assert model.asked[-1][0].labels.tolist() == [1] and len(fixture.shown) == 3  # only the correction is gone
    keys.press("Backspace", fixture.view)
    fixture.wait()
    assert names(fixture) == ["A", "A #2"] and len(fixture.shown) == 2
    for _ in range(2):
        keys.press("Backspace", fixture.view)
        fixture.wait()
    assert names(fixture) == ["A"] and not fixture.controller.groups
    keys.press("Backspace", fixture.view)
    assert "no prompt to take back" in fixture.status.text
    fixture.click((*CENTRES[5], K))
    fixture.accept()
    assert names(fixture) == ["A"]  # it is empty, and needs no other one
    np.testing.assert_array_equal(fixture.segment(), disc(CENTRES[5]))


def test_backspace_while_it_is_asked_about_goes_on_with_the_others(fixture, model):
    model.delay_s = 0.05
    for centre in CENTRES[:4]:
        press_at(fixture, centre)
    keys.press("Backspace", fixture.view)
    fixture.wait(lambda: len(fixture.shown) == 3)
    idle(fixture)
    assert len(fixture.controller.groups) == 3 and not fixture.controller.is_waiting


def test_escape_takes_all_of_them_away_with_their_segments(fixture):
    for centre in CENTRES[:3]:
        fixture.click((*centre, K))
    keys.press("Escape")
    fixture.wait()
    assert names(fixture) == ["A"] and not fixture.controller.groups and not fixture.shown


def test_a_segment_that_has_voxels_stays_when_its_prompts_go(fixture):
    for centre in CENTRES[:2]:
        fixture.click((*centre, K))
    fixture.accept()
    for group in list(fixture.controller.groups):
        fixture.controller.remove(group)
    assert names(fixture) == ["A", "A #2"]


def test_accepted_at_once_each_goes_into_its_own_segment(fixture):
    fixture.set(AcceptAtOnce=1)
    for centre in CENTRES[:4]:
        press_at(fixture, centre)
    fixture.wait(lambda: len(names(fixture)) == 4 and all(found.any() for found in written(fixture)))
    for found, centre in zip(written(fixture), CENTRES[:4], strict=True):
        np.testing.assert_array_equal(found, disc(centre))


def test_without_the_option_clicks_are_about_one_object(fixture, model):
    fixture.set(NewSegments=0)
    for centre in CENTRES[:2]:
        fixture.click((*centre, K))
    assert names(fixture) == ["A"] and model.asked[-1][0].labels.tolist() == [1, 1]
    keys.press("Backspace", fixture.view)
    fixture.wait()
    assert model.asked[-1][0].labels.tolist() == [1]


def test_masks_that_are_shown_already_are_not_computed_again_for_each_click(fixture, monkeypatch):
    from SAMMed2DSlicer.effect import dry_run, preview

    for centre in CENTRES[:5]:
        fixture.click((*centre, K))
    idle(fixture)
    fixture.pump(1.5)  # marks of what was added are gone
    drawn, tried, draw, attempt = [], [], preview.mask_actor, dry_run.dry_run
    monkeypatch.setattr(preview, "mask_actor", lambda mask, widget: drawn.append(mask.group) or draw(mask, widget))
    monkeypatch.setattr(dry_run, "dry_run", lambda *args: tried.append(args) or attempt(*args))
    fixture.click((*CENTRES[5], K))
    fixture.wait(lambda: len(fixture.shown) == 6)
    newest = fixture.controller.pending[-1]
    assert newest in drawn and len(set(drawn)) <= 2  # the one before has got its candidates meanwhile
    assert len(tried) == 1
    fixture.editor_node.SetSourceVolumeIntensityMask(True)
    fixture.editor_node.SetSourceVolumeIntensityMaskRange(100, 200)
    fixture.wait(lambda: len(tried) >= 7)  # masking counts for all of them
