"""Train the embedded model on views that cut_views.py kept: its heads, and the last stages of its encoder.

    python Testing/training/train_embedded.py --views VIEWS --weights lite_medsam.pth --output RUN

The heads learn from kept features of a frozen encoder. With `--tune-stages 2` the last stages of the encoder learn
too, and views are encoded in every step: mostly framed ones, as the product asks for masks, others of all scales in the
coarse frame in which a first click is looked at, and some with a ring drawn into them. A run goes on from its
checkpoint. Shards that are written meanwhile are taken in.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cut_views import COARSE_PX, KINDS, SEEN_PX, VIEW_PX, seen_by_encoder
from drawn_rings import ring_view
from heads import REFINER_DIM, Heads, tiny_encoder

from SAMMed2DLib.model.config.tiny_vit_sizes import TinyVitSizes
from SAMMed2DLib.model.mask_decoder import select_best
from SAMMed2DLib.model.refiner import Refiner, prompt_maps
from SAMMed2DLib.model.tiny_vit import TinyVit
from SAMMed2DLib.training import AccumulatedClicks
from SAMMed2DLib.training.losses import hard_iou, object_loss

CHECKPOINT = "checkpoint.pt"
ROUNDS = (1, 2, 3, 4)
ROUND_SHARES = (0.3, 0.3, 0.2, 0.2)
COARSE_ROUND_SHARES = (0.7, 0.3, 0.0, 0.0)
# With stages of the encoder: what steps and views are. A coarse view costs a quarter, such a step has twice as many.
COARSE_SHARE = 0.25  # of the steps
FRAMED_SHARE = 0.7  # of the views of other steps; the rest are crops around objects of many sizes
RING_SHARE = 0.08  # of the views
# Steps that begin with a box alone, and with a box and a click; coarse ones begin with a click.
BOX_SHARES = (0.35, 0.1)
TUNED_BOX_SHARES = (0.55, 0.08)
COARSE_BOX_SHARES = (0.0, 0.0)
STAGE_RATES = (0.5, 0.75)  # learning rates of the tuned stages, over that of the heads


class Kept:
    """The views that are on disk so far."""

    def __init__(self, folder: Path, with_tokens: bool) -> None:
        """Read what is there."""
        self._folder = folder
        self._names = ("views", "masks", "tokens") if with_tokens else ("views", "masks")
        self._shards: dict[str, dict[str, np.ndarray]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read shards that are new."""
        for path in sorted(path for kind in KINDS for path in self._folder.glob(f"{kind}_*.npz")):
            if path.name not in self._shards:
                with np.load(path) as archive:
                    self._shards[path.name] = {name: archive[name] for name in self._names if name in archive}
        self._index: dict[str, list[tuple[str, int]]] = {}
        for name, shard in self._shards.items():
            self._index.setdefault(name.partition("_")[0], []).extend((name, i) for i in range(len(shard["views"])))

    def __len__(self) -> int:
        """Number of views."""
        return sum(len(views) for views in self._index.values())

    def draw(
        self, rng: np.random.Generator, kinds: Sequence[str], per_view: int
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """A view of each of these kinds (see cut_views.py), with its masks.

        Without tokens, views and masks are mirrored and turned by chance, and some views get a ring.

        Returns:
            tokens (B, 320, g, g), views (B, 3, V, V) in 0..255, and masks (B * per_view, 1, V, V), view by view.

        Raises:
            SystemExit: there is no view of a kind.
        """
        if lacking := sorted(set(kinds) - set(self._index)):
            kind = lacking[0]
            raise SystemExit(f"{self._folder} has no {kind} views: cut them with cut_views.py --kind {kind}")
        tokens, views, masks = [], [], []
        for kind in kinds:
            name, i = self._index[kind][rng.integers(len(self._index[kind]))]
            shard = self._shards[name]
            unpacked = np.unpackbits(shard["masks"][i], axis=1).reshape(-1, 1, VIEW_PX, VIEW_PX)
            chosen = rng.permutation(len(unpacked))[:per_view]
            view = torch.from_numpy(shard["views"][i]).float().permute(2, 0, 1)
            mask = torch.from_numpy(unpacked[chosen]).float()
            if "tokens" in self._names:  # they are of the view as it was kept
                tokens.append(torch.from_numpy(shard["tokens"][i]).float().permute(2, 0, 1))
            else:
                if rng.random() < RING_SHARE:
                    view, mask = ring_view(view, rng, per_view)
                flips = [axis for axis in (-1, -2) if rng.random() < 0.5]
                turns = int(rng.integers(2))
                view, mask = (torch.rot90(x.flip(flips), turns, (-2, -1)) for x in (view, mask))
            views.append(view)
            masks.append(mask)
        return torch.stack(tokens) if tokens else None, torch.stack(views), torch.cat(masks)


def main() -> None:
    """Train or resume."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--views", type=Path, required=True, help="folder of cut_views.py")
    parser.add_argument("--weights", type=Path, required=True, help="LiteMedSAM's checkpoint")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so many minutes")
    parser.add_argument("--views-per-step", type=int, default=4)
    parser.add_argument("--masks", type=int, default=2, help="of each view")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--tune-stages", type=int, default=0, choices=(0, 1, 2), help="last stages of the encoder")
    parser.add_argument("--fall-from", type=int, default=0, help="step at which this phase begins, with a warm-up")
    parser.add_argument("--fall-steps", type=int, default=0, help="steps until the learning rate is zero; 0: it stays")
    parser.add_argument("--ema", type=float, default=0.995)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=float, default=180, help="seconds between checkpoints")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = options.output / CHECKPOINT
    if path.is_file() and (taken := torch.load(path, map_location="cpu", weights_only=True)["step"]) >= options.steps:
        print(f"{path} has {taken} steps already")
        return
    Run(options).go()


class Run:
    """A run in a folder: weights, averages, optimiser, and the number of steps taken."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Begin, or go on."""
        self._options = options
        options.output.mkdir(parents=True, exist_ok=True)
        state = torch.load(options.weights, map_location="cpu", weights_only=True)
        self.parts = nn.ModuleDict({"heads": Heads.from_lite(state, SEEN_PX, noise=0.1, prompt_px=VIEW_PX)})
        torch.manual_seed(options.seed)
        self.parts["refiner"] = Refiner(REFINER_DIM)
        self._front: nn.Module | None = None
        if options.tune_stages:
            self._front = tiny_encoder(state, SEEN_PX)
            self.parts["stages"] = _tuned_stages(state, options.tune_stages)
        self._optimiser = self._make_optimiser()
        self.step = 0
        self._path = options.output / CHECKPOINT
        if self._path.is_file():
            self._resume()
        else:
            self._ema = {name: value.clone() for name, value in self.parts.state_dict().items()}

    def _make_optimiser(self) -> torch.optim.Optimizer:
        lr = self._options.lr
        prompts = [p for name, p in self.parts.named_parameters() if "prompt_encoder" in name and p.requires_grad]
        special = ("heads.prompt_encoder", "stages")
        others = [p for name, p in self.parts.named_parameters() if not name.startswith(special)]
        groups = [{"params": prompts, "lr": 4 * lr}, {"params": others, "lr": lr}]
        if "stages" in self.parts:
            stages = self.parts["stages"].values()
            rates = STAGE_RATES[-len(stages) :]
            groups += [{"params": list(s.parameters()), "lr": r * lr} for s, r in zip(stages, rates, strict=True)]
        for group in groups:
            group["full"] = group["lr"]
        return torch.optim.AdamW(groups, weight_decay=0.01)

    def _resume(self) -> None:
        kept = torch.load(self._path, map_location="cpu", weights_only=True)
        known = {f"{part}.{name}": v for part, state in kept["ema"].items() for name, v in state.items()}
        if set(known) == set(self.parts.state_dict()):
            self.parts.load_state_dict(kept["weights"])
            full = [group["full"] for group in self._optimiser.param_groups]
            self._optimiser.load_state_dict(kept["optimiser"])
            for group, rate in zip(self._optimiser.param_groups, full, strict=True):
                group["full"] = rate
            self._ema = known
        else:  # a part is new
            self.parts.load_state_dict({**self.parts.state_dict(), **kept["weights"]})
            self._ema = {**{name: v.clone() for name, v in self.parts.state_dict().items()}, **known}
        self.step = kept["step"]

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        ema: dict[str, dict[str, Tensor]] = {}
        for name, value in self._ema.items():
            part, _, rest = name.partition(".")
            ema.setdefault(part, {})[rest] = value
        partial = self._path.with_suffix(".part")
        kept = {
            "weights": self.parts.state_dict(),
            "ema": ema,
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
        }
        torch.save({**kept, "size": SEEN_PX, "lite": str(self._options.weights.resolve())}, partial)
        partial.replace(self._path)

    def go(self) -> None:
        """Take steps until the number or the time is reached."""
        options, began = self._options, time.monotonic()
        kept, saved, losses = Kept(options.views, self._front is None), began, []
        while self.step < options.steps and time.monotonic() - began < 60 * options.minutes:
            losses.append(self.take_step(kept))
            if self.step % 20 == 0:
                line = (
                    f"step {self.step}  loss {np.mean(losses):.4f}  views {len(kept)}  {time.monotonic() - began:.0f} s"
                )
                print(f"{line}  cpu {time.process_time():.0f} s", flush=True)
                losses.clear()
            if time.monotonic() - saved > options.save_every:
                self.save()
                kept.refresh()
                saved = time.monotonic()
        self.save()

    def take_step(self, kept: Kept) -> float:
        """One optimiser step on the mean over some rounds of prompting."""
        options = self._options
        rng = np.random.default_rng([options.seed, 7, self.step])
        count, size, shares = options.views_per_step, SEEN_PX, BOX_SHARES
        kinds = rng.choice(["crops", "wide"], size=count)
        if self._front is not None and rng.random() < COARSE_SHARE:
            size, shares, kinds = COARSE_PX, COARSE_BOX_SHARES, ["wide"] * (2 * count)
        elif self._front is not None:
            shares, kinds = TUNED_BOX_SHARES, np.where(rng.random(count) < FRAMED_SHARE, "framed", "crops")
        tokens, views, masks = kept.draw(rng, list(kinds), options.masks)
        for group in self._optimiser.param_groups:
            group["lr"] = group["full"] * self._rate()
        loss = self._loss(tokens, views, masks, AccumulatedClicks(rng, *shares), rng, size)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parts.parameters(), 1.0)
        self._optimiser.step()
        self.step += 1
        decay = min(options.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, value in self.parts.state_dict().items():
                if value.is_floating_point():
                    self._ema[name].lerp_(value, 1 - decay)
        return float(loss.detach())

    def _rate(self) -> float:
        """Share of the learning rate at this step."""
        taken = self.step - self._options.fall_from
        rate = min(1.0, (taken + 1) / 50)
        if self._options.fall_steps:
            done = taken / self._options.fall_steps
            rate *= 0.5 + 0.5 * math.cos(math.pi * min(max(done, 0.0), 1.0))
        return rate

    def _encoded(self, views: Tensor, size: int) -> Tensor:
        """Tokens of views, from a front that is frozen and stages that learn."""
        assert isinstance(self._front, TinyVit)
        stages = self.parts["stages"].values()
        with torch.no_grad():
            x = self._front.patch_embed(seen_by_encoder(views, size).contiguous(memory_format=torch.channels_last))
            for stage in self._front.layers[: -len(stages)]:
                x = stage(x)
        for stage in stages:
            x = stage(x)
        return x

    def _loss(
        self,
        tokens: Tensor | None,
        views: Tensor,
        masks: Tensor,
        prompts: AccumulatedClicks,
        rng: np.random.Generator,
        size: int,
    ) -> Tensor:
        heads = self.parts["heads"]
        features = heads.neck(self._encoded(views, size) if tokens is None else tokens)
        features = features.repeat_interleave(len(masks) // len(views), dim=0)
        grid = features.shape[-1]
        low_res: Tensor | None = None
        losses, target = [], functional.adaptive_avg_pool2d(masks, size)
        shares = ROUND_SHARES if size == SEEN_PX else COARSE_ROUND_SHARES
        for _ in range(int(rng.choice(ROUNDS, p=shares))):
            current = prompts.first(masks) if low_res is None else prompts.following(low_res, masks)
            earlier = low_res.sigmoid() if low_res is not None and current.use_mask else None
            sparse, dense = heads.prompt_encoder(current.points, current.boxes, earlier, grid)
            logits, iou = heads.mask_decoder(features, heads.prompt_encoder.dense_pe(grid), sparse, dense)
            losses.append(object_loss(logits, target, iou))
            low_res = select_best(logits, iou)[0].detach()
        assert low_res is not None
        fine_views, fine_masks = (functional.adaptive_avg_pool2d(each, 2 * size) for each in (views, masks))
        low, high = fine_views.amin(dim=(1, 2, 3), keepdim=True), fine_views.amax(dim=(1, 2, 3), keepdim=True)
        stretched = (fine_views - low) / (high - low).clamp(min=1e-8)
        stretched = stretched.repeat_interleave(len(masks) // len(views), dim=0)
        maps = prompt_maps(current.points, current.boxes, size, VIEW_PX, len(masks))
        fine = self.parts["refiner"](stretched, low_res, maps)
        # The loss of predicted IoU, which a refiner does not have, is taken off again.
        extra = object_loss(fine, fine_masks, torch.zeros(len(masks), 1)) - hard_iou(fine, fine_masks).square().mean()
        return torch.stack(losses).mean() + extra


def _tuned_stages(state: dict[str, Tensor], count: int) -> nn.ModuleDict:
    """The last stages of LiteMedSAM's encoder by their number; batch norms keep their statistics."""
    encoder = TinyVit(SEEN_PX, TinyVitSizes(), 256)
    prefix = "image_encoder."
    encoder.load_state_dict({name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)})
    numbers = range(len(encoder.layers) - count, len(encoder.layers))
    return nn.ModuleDict({str(i): encoder.layers[i].eval() for i in numbers})


if __name__ == "__main__":
    main()
