"""Train the heads of Route L on features that route_features.py kept, or the student of Route D on the same views.

    python Testing/training/route_train.py --features FEATURES --weights lite_medsam.pth --output RUN --route L

A run goes on from its checkpoint. Shards that are written meanwhile are taken in.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from route_features import SEEN_PX, VIEW_PX
from route_model import REFINER_DIM, Heads, Student

from SAMMed2DLib.model.mask_decoder import select_best
from SAMMed2DLib.model.refiner import Refiner, prompt_maps
from SAMMed2DLib.training import AccumulatedClicks
from SAMMed2DLib.training.losses import hard_iou, object_loss

ROUNDS = (1, 2, 3, 4)
ROUND_SHARES = (0.3, 0.3, 0.2, 0.2)
FEATURE_WEIGHT = 4.0  # of the student's distance to the teacher's features


class Kept:
    """The views that are on disk so far."""

    def __init__(self, folder: Path) -> None:
        """Read what is there."""
        self._folder = folder
        self._shards: dict[str, dict[str, np.ndarray]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read shards that are new."""
        for path in sorted(self._folder.glob("shard_*.npz")):
            if path.name not in self._shards:
                with np.load(path) as archive:
                    self._shards[path.name] = {name: archive[name] for name in archive.files}
        self._index = [(name, i) for name, shard in self._shards.items() for i in range(len(shard["tokens"]))]

    def __len__(self) -> int:
        """Number of views."""
        return len(self._index)

    def draw(self, rng: np.random.Generator, count: int, per_view: int) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (B, 320, g, g), views (B, 3, V, V) in 0..255, and masks (B * per_view, 1, V, V), view by view."""
        tokens, views, masks = [], [], []
        for number in rng.integers(len(self._index), size=count):
            name, i = self._index[number]
            shard = self._shards[name]
            unpacked = np.unpackbits(shard["masks"][i], axis=1).reshape(-1, 1, VIEW_PX, VIEW_PX)
            chosen = rng.permutation(len(unpacked))[:per_view]
            tokens.append(torch.from_numpy(shard["tokens"][i]).float().permute(2, 0, 1))
            views.append(torch.from_numpy(shard["views"][i]).float().permute(2, 0, 1))
            masks.append(torch.from_numpy(unpacked[chosen]).float())
        return torch.stack(tokens), torch.stack(views), torch.cat(masks)


def main() -> None:
    """Train or resume."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, required=True, help="folder of route_features.py")
    parser.add_argument("--weights", type=Path, required=True, help="LiteMedSAM's checkpoint")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--route", choices=("L", "D"), default="L")
    parser.add_argument("--refine", action="store_true", help="train the refiner as well")
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so many minutes")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--masks", type=int, default=2, help="of each view")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--ema", type=float, default=0.995)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=float, default=180, help="seconds between checkpoints")
    options = parser.parse_args()
    torch.set_num_threads(1)
    Run(options).go()


class Run:
    """A run in a folder: weights, averages, optimiser, and the number of steps taken."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Begin, or go on."""
        self._options = options
        options.output.mkdir(parents=True, exist_ok=True)
        state = torch.load(options.weights, map_location="cpu", weights_only=True)
        self.parts = nn.ModuleDict({"heads": Heads.from_lite(state, SEEN_PX, spread=True, prompt_px=VIEW_PX)})
        self._teacher = Heads.from_lite(state, SEEN_PX, spread=False).neck.requires_grad_(False)
        torch.manual_seed(options.seed)
        if options.route == "D":
            self.parts["student"] = Student()
            self.parts["student"].out[-1].load_state_dict(self._teacher[-1].state_dict())  # the scale of its features
        if options.refine:
            self.parts["refiner"] = Refiner(REFINER_DIM)
        self._optimiser = self._make_optimiser()
        self.step = 0
        self._path = options.output / "checkpoint.pt"
        if self._path.is_file():
            self._resume()
        else:
            self._ema = {name: value.clone() for name, value in self.parts.state_dict().items()}

    def _make_optimiser(self) -> torch.optim.Optimizer:
        lr = self._options.lr
        prompts = [p for name, p in self.parts.named_parameters() if "prompt_encoder" in name and p.requires_grad]
        student = [p for name, p in self.parts.named_parameters() if name.startswith("student")]
        others = [
            p for n, p in self.parts.named_parameters() if "prompt_encoder" not in n and not n.startswith("student")
        ]
        groups = [{"params": prompts, "lr": 4 * lr}, {"params": others, "lr": lr}]
        if student:
            groups.append({"params": student, "lr": 5 * lr})
        for group in groups:
            group["full"] = group["lr"]
        return torch.optim.AdamW(groups, weight_decay=0.01)

    def _resume(self) -> None:
        kept = torch.load(self._path, map_location="cpu", weights_only=True)
        known = {f"{part}.{name}": v for part, state in kept["ema"].items() for name, v in state.items()}
        if set(known) == set(self.parts.state_dict()):
            self.parts.load_state_dict(kept["weights"])
            self._optimiser.load_state_dict(kept["optimiser"])
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
        kept, saved, losses = Kept(options.features), began, []
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
        tokens, views, masks = kept.draw(rng, options.views, options.masks)
        for group in self._optimiser.param_groups:
            group["lr"] = group["full"] * min(1.0, (self.step + 1) / 50)
        loss = self._loss(tokens, views, masks, AccumulatedClicks(rng, box_share=0.35, both_share=0.1), rng)
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

    def _loss(
        self, tokens: Tensor, views: Tensor, masks: Tensor, prompts: AccumulatedClicks, rng: np.random.Generator
    ) -> Tensor:
        heads = self.parts["heads"]
        extra = torch.zeros(())
        if "student" in self.parts:
            low, high = views.amin(dim=(1, 2, 3), keepdim=True), views.amax(dim=(1, 2, 3), keepdim=True)
            features = self.parts["student"].tokens((views - low) / (high - low).clamp(min=1e-8))
            wanted = self._teacher(tokens)
            extra = FEATURE_WEIGHT * functional.mse_loss(features, wanted) / wanted.var()
        else:
            features = heads.neck(tokens)
        features = features.repeat_interleave(len(masks) // len(views), dim=0)
        low_res: Tensor | None = None
        losses, target = [], functional.adaptive_avg_pool2d(masks, SEEN_PX)
        for _ in range(int(rng.choice(ROUNDS, p=ROUND_SHARES))):
            current = prompts.first(masks) if low_res is None else prompts.following(low_res, masks)
            earlier = low_res.sigmoid() if low_res is not None and current.use_mask else None
            sparse, dense = heads.prompt_encoder(current.points, current.boxes, earlier)
            logits, iou = heads.mask_decoder(features, heads.prompt_encoder.dense_pe(), sparse, dense)
            losses.append(object_loss(logits, target, iou))
            low_res = select_best(logits, iou)[0].detach()
        if "refiner" in self.parts and low_res is not None:
            low, high = views.amin(dim=(1, 2, 3), keepdim=True), views.amax(dim=(1, 2, 3), keepdim=True)
            stretched = ((views - low) / (high - low).clamp(min=1e-8)).repeat_interleave(
                len(masks) // len(views), dim=0
            )
            maps = prompt_maps(current.points, current.boxes, SEEN_PX, VIEW_PX, len(masks))
            fine = self.parts["refiner"](stretched, low_res, maps)
            extra = extra + object_loss(fine, masks, torch.zeros(len(masks), 1)) - hard_iou(fine, masks).square().mean()
        return torch.stack(losses).mean() + extra


if __name__ == "__main__":
    main()
