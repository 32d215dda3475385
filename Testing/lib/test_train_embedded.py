"""Training of the embedded model draws what was kept, and takes no step too many."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
import train_embedded
from cut_views import MASKS, VIEW_PX

VIEWS, TOKENS = 3, 2  # of a shard, and along the side of a map


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Views of one grey value each, a mask as high as that value, and tokens of it."""
    levels = np.arange(1, VIEWS + 1, dtype=np.uint8)
    views = np.broadcast_to(levels[:, None, None, None], (VIEWS, VIEW_PX, VIEW_PX, 3))
    masks = np.arange(VIEW_PX) < levels[:, None, None]
    packed = np.packbits(np.broadcast_to(masks[:, None], (VIEWS, MASKS, VIEW_PX, VIEW_PX)).reshape(VIEWS, MASKS, -1), 2)
    tokens = np.broadcast_to(levels[:, None, None, None].astype(np.float16), (VIEWS, TOKENS, TOKENS, 320))
    np.savez(tmp_path / "crops_0_0000.npz", views=views, masks=packed, tokens=tokens)
    return tmp_path


def test_kept_tokens_come_with_the_view_and_the_masks_that_they_are_of(shards):
    kept = train_embedded.Kept(shards, with_tokens=True)
    tokens, views, masks = kept.draw(np.random.default_rng(0), ["crops"] * 100, 2)
    assert tokens is not None and torch.equal(tokens[:, 0, 0, 0], views[:, 0, 0, 0])
    assert torch.equal(masks.sum(dim=(1, 2, 3)) / VIEW_PX, views[:, 0, 0, 0].repeat_interleave(2))


def test_views_are_drawn_of_the_kinds_that_are_wanted(shards):
    with np.load(shards / "crops_0_0000.npz") as crops:
        np.savez(shards / "framed_2_0000.npz", views=crops["views"] + 100, masks=crops["masks"])
    kept = train_embedded.Kept(shards, with_tokens=False)
    _, views, _ = kept.draw(np.random.default_rng(4), ["crops", "framed"] * 20, 1)
    plain = views.std(dim=(1, 2, 3)) == 0  # no ring
    assert len(kept) == 2 * VIEWS
    assert bool(((views[:, 0, 0, 0] > 100) == torch.tensor([False, True] * 20))[plain].all())


def test_a_kind_of_which_nothing_was_cut_is_named(shards):
    with pytest.raises(SystemExit, match=r"no wide views: cut them with cut_views\.py --kind wide"):
        train_embedded.Kept(shards, with_tokens=True).draw(np.random.default_rng(0), ["crops", "wide"], 2)


def test_some_views_get_a_ring_where_the_encoder_sees_them_anew(shards):
    kept = train_embedded.Kept(shards, with_tokens=False)
    tokens, views, masks = kept.draw(np.random.default_rng(0), ["crops"] * 100, 2)
    ringed = views.std(dim=(1, 2, 3)) > 0
    assert tokens is None and len(masks) == 200
    assert 1 <= int(ringed.sum()) <= 20


def test_a_phase_that_is_done_is_not_begun_again(tmp_path, monkeypatch, capsys):
    torch.save({"step": 12}, tmp_path / train_embedded.CHECKPOINT)
    options = {"--views": tmp_path, "--weights": tmp_path / "no weights", "--output": tmp_path, "--steps": 12}
    words = ["train_embedded.py", *(str(word) for pair in options.items() for word in pair)]
    monkeypatch.setattr(sys, "argv", words)
    train_embedded.main()
    assert "has 12 steps already" in capsys.readouterr().out
