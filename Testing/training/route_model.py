"""The candidates of the comparison of routes: a network on crops, as it is trained and as a user meets it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from SAMMed2DLib.inference.point_constraints import constrained_logits
from SAMMed2DLib.inference.prompts import Prompts, box_of_mask
from SAMMed2DLib.inference.refinement import refine_logits
from SAMMed2DLib.inference.zoom import Crop, touches_border, without_flecks
from SAMMed2DLib.model.layers import LayerNorm2d
from SAMMed2DLib.model.mask_decoder import MaskDecoder
from SAMMed2DLib.model.preprocessing import stretched
from SAMMed2DLib.model.prompt_encoder import PromptEncoder
from SAMMed2DLib.model.refiner import Refiner, prompt_maps
from SAMMed2DLib.model.tiny_vit import TinyVit, TinyVitSizes

MASK_LOGIT = 5.0  # of a mask that is handed on to another crop
SMALLEST_SHARE = 0.3  # of the crop's side; of a smaller object a new crop is cut
REFINER_DIM = 16
CLICK_SHARES = (1.0, 0.25)  # sides of the crops that a first click is answered at, of the image's longer side


class CropModel:
    """A frozen encoder of crops and a decoder of prompts."""

    refiner: Refiner | None = None

    def __init__(self, encoder: nn.Module, heads: Heads, size: int, multimask: bool) -> None:
        """Join the parts."""
        self.encoder, self.heads, self.size, self.multimask = encoder, heads.eval(), size, multimask
        self._seen: dict[str, Tensor] = {}

    def remember(self, path: Path) -> None:
        """Take over what was encoded in earlier evaluations of the same frozen encoder."""
        if path.is_file():
            self._seen = torch.load(path, map_location="cpu", weights_only=True)

    def keep(self, path: Path) -> None:
        """Leave what was encoded to later evaluations."""
        torch.save(self._seen, path)

    @classmethod
    def lite(cls, path: Path, size: int) -> CropModel:
        """LiteMedSAM as it is, fed at `size` px."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        return cls(tiny_encoder(state, size), Heads.from_lite(state, size, spread=False), size, multimask=False)

    @classmethod
    def trained(cls, path: Path) -> CropModel:
        """A checkpoint of route_train.py."""
        kept = torch.load(path, map_location="cpu", weights_only=True)
        size = kept["size"]
        heads = Heads(size, 2 * size)
        heads.load_state_dict(kept["ema"]["heads"])
        if "student" in kept["ema"]:
            student = Student()
            student.load_state_dict(kept["ema"]["student"])
            return cls(student.eval(), heads, size, multimask=True)
        state = torch.load(kept["lite"], map_location="cpu", weights_only=True)
        encoder = tiny_encoder({**state, **tuned_weights(kept["ema"])}, size)
        model = cls(encoder, heads, size, multimask=True)
        if "refiner" in kept["ema"]:
            model.refiner = Refiner(REFINER_DIM).eval()
            model.refiner.load_state_dict(kept["ema"]["refiner"])
        return model

    @torch.inference_mode()
    def see(self, images: list[np.ndarray]) -> Tensor:
        """Encode crops, (h, w, 3) uint8 of any sizes, to (B, 256, g, g); those seen before are not encoded."""
        keys = [f"{zlib.crc32(np.ascontiguousarray(image).data)} {image.shape}" for image in images]
        missing = [i for i, key in enumerate(keys) if key not in self._seen]
        if missing:
            frame = self.size * (2 if isinstance(self.encoder, Student) else 1)
            tokens = self.encoder.tokens(torch.stack([stretched(images[i], frame) for i in missing]))
            for i, one in zip(missing, tokens, strict=True):
                self._seen[keys[i]] = one.half()
        tokens = torch.stack([self._seen[key] for key in keys]).float()
        return tokens if isinstance(self.encoder, Student) else self.heads.neck(tokens)

    @torch.inference_mode()
    def decode(self, features: Tensor, prompts: Prompts, view: Crop, logits: Tensor | None) -> tuple[Tensor, Tensor]:
        """Masks (M, S, S) of prompts in slice px on one crop, and their predicted IoU (M,)."""
        points, boxes = self._placed(prompts, view)
        mask = None if logits is None else logits[None, None].sigmoid()
        sparse, dense = self.heads.prompt_encoder(points, boxes, mask)
        pe = self.heads.prompt_encoder.dense_pe()
        found, iou = self.heads.mask_decoder(features, pe, sparse, dense, self.multimask)
        return found[0], iou[0]

    @torch.inference_mode()
    def refine(self, image: np.ndarray, logits: Tensor, prompts: Prompts, view: Crop) -> Tensor:
        """Logits (S, S) of a crop as they are to be shown: (2S, 2S) where there is a refiner."""
        if self.refiner is None:
            return logits
        points, boxes = self._placed(prompts, view)
        frame = self.heads.prompt_encoder.image_size
        maps = prompt_maps(points, boxes, self.size, frame, 1)
        return self.refiner(stretched(image, 2 * self.size)[None], logits[None, None], maps)[0, 0]

    def _placed(self, prompts: Prompts, view: Crop) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
        """Points and box of slice px in the frame of the prompt encoder."""
        scale = self.heads.prompt_encoder.image_size / np.array([view.x1 - view.x0, view.y1 - view.y0])
        offset = np.array([view.x0, view.y0])
        points = boxes = None
        if len(prompts.labels):
            placed = ((prompts.points_xy - offset) * scale).astype(np.float32)
            points = (torch.from_numpy(placed)[None], torch.from_numpy(prompts.labels.astype(np.int64))[None])
        if prompts.box_xyxy is not None:
            corners = (prompts.box_xyxy.reshape(2, 2) - offset) * scale
            boxes = torch.from_numpy(corners.astype(np.float32))[None]
        return points, boxes


def tuned_weights(ema: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """The encoder's stages that were tuned, under the names of LiteMedSAM's checkpoint; none of a frozen encoder."""
    return {f"image_encoder.layers.{name}": value for name, value in ema.get("stages", {}).items()}


def tiny_encoder(state: dict[str, Tensor], size: int) -> TinyVit:
    """The image encoder of a checkpoint, made for fast prediction."""
    encoder = TinyVit(size, TinyVitSizes(), 256).eval().requires_grad_(False)
    prefix = "image_encoder."
    encoder.load_state_dict({name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)})
    encoder.prepare_for_cpu()
    return encoder


class Heads(nn.Module):
    """What is trained: neck, prompt encoder and mask decoder."""

    def __init__(self, size: int, prompt_px: int | None = None) -> None:
        """Create them for crops of `size` px; prompts count in px of a frame of `prompt_px`."""
        super().__init__()
        self.neck = TinyVit(size, TinyVitSizes(), 256).neck
        self.prompt_encoder = PromptEncoder(prompt_px or size, size // 4, 256, 16)
        self.mask_decoder = MaskDecoder(256, 2, 8, 2048, 256)

    @classmethod
    def from_lite(cls, state: dict[str, Tensor], size: int, spread: bool, prompt_px: int | None = None) -> Heads:
        """The heads of LiteMedSAM; `spread` gives its one trained mask to the three others, with a little noise."""
        heads = cls(size, prompt_px)
        prefix = "image_encoder."
        wanted = heads.state_dict()
        heads.load_state_dict({name: v for key, v in state.items() if (name := key.removeprefix(prefix)) in wanted})
        if spread:
            heads._spread_first_mask()
        return heads

    @torch.no_grad()
    def _spread_first_mask(self) -> None:
        generator = torch.Generator().manual_seed(0)
        decoder = self.mask_decoder
        tokens = decoder.mask_tokens.weight
        noise = 0.1 * float(tokens.std())
        tokens[1:] = tokens[:1] + noise * torch.randn(3, tokens.shape[1], generator=generator)
        for mlp in decoder.output_hypernetworks_mlps[1:]:
            mlp.load_state_dict(decoder.output_hypernetworks_mlps[0].state_dict())
        last = decoder.iou_prediction_head.layers[-1]
        last.weight[1:], last.bias[1:] = last.weight[:1], last.bias[:1]


class Student(nn.Module):
    """Route D: a convolutional encoder of 224 px, whose maps of 56, 28 and 14 px meet at 28."""

    def __init__(self, dims: tuple[int, ...] = (64, 160, 320), depths: tuple[int, ...] = (2, 4, 4)) -> None:
        """Create stem, three stages and the paths that join them."""
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, dims[0] // 2, 3, 2, 1, bias=False),
            nn.BatchNorm2d(dims[0] // 2),
            nn.GELU(),
            nn.Conv2d(dims[0] // 2, dims[0], 3, 2, 1, bias=False),
            nn.BatchNorm2d(dims[0]),
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(StudentBlock(dim) for _ in range(depth))) for dim, depth in zip(dims, depths, strict=True)
        )
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in pairwise(dims))
        self.joins = nn.ModuleList(
            [nn.Conv2d(dims[0], 256, 2, 2), nn.Conv2d(dims[1], 256, 1), nn.Conv2d(dims[2], 256, 1)]
        )
        self.out = nn.Sequential(StudentBlock(256), nn.Conv2d(256, 256, 3, padding=1, bias=False), LayerNorm2d(256))

    def tokens(self, images: Tensor) -> Tensor:
        """Map (B, 3, 224, 224) in 0..1 to (B, 256, 28, 28)."""
        fine = self.stages[0](self.stem(images.contiguous(memory_format=torch.channels_last)))
        middle = self.stages[1](self.down[0](fine))
        coarse = self.stages[2](self.down[1](middle))
        up = functional.interpolate(self.joins[2](coarse), scale_factor=2, mode="bilinear", align_corners=False)
        return self.out(self.joins[0](fine) + self.joins[1](middle) + up)


class StudentBlock(nn.Module):
    """Depthwise 5 x 5, then an MLP for each pixel, added to what came in."""

    def __init__(self, dim: int) -> None:
        """Create a block of `dim` channels."""
        super().__init__()
        self.spatial = nn.Conv2d(dim, dim, 5, padding=2, groups=dim, bias=False)
        self.norm = nn.BatchNorm2d(dim)
        self.lin1, self.lin2 = nn.Conv2d(dim, 4 * dim, 1), nn.Conv2d(4 * dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, H, W) to the same shape."""
        return x + self.lin2(functional.gelu(self.lin1(self.norm(self.spatial(x)))))


@dataclass(frozen=True, eq=False)
class Found:
    """A mask (H, W) bool of the slice, in the crop where it was found; logits (S, S) of that crop."""

    mask: np.ndarray
    logits: Tensor
    view: Crop
    score: float


class RouteUser:
    """One object, predicted again with each prompt that is added; a first click is answered at several scales."""

    def __init__(self, model: CropModel, image: np.ndarray, *, view: Crop | None = None, fit: bool = False) -> None:
        """Begin without prompts.

        Args:
            model: encodes and decodes.
            image: (H, W, 3) uint8, the slice.
            view: the crop to stay in; None finds it.
            fit: fit the outline to the grey values.
        """
        self._model, self._image, self._view, self._fit = model, image, view, fit
        self._size_hw = (image.shape[0], image.shape[1])
        self._last: Found | None = None

    def predict(self, prompts: Prompts) -> Found:
        """Segment from all prompts so far."""
        last = self._last
        if self._view is not None:
            self._last = self._in(self._view, prompts, last)
        elif last is not None and last.view.holds(prompts) and not touches_border(last) and not self._is_small(last):
            self._last = self._in(last.view, prompts, last)
        else:
            if last is None and prompts.box_xyxy is None:
                last = self._first_click(prompts)
            view = Crop.around(region_of(last, prompts), self._size_hw)
            self._last = self._in(view, prompts, None if last is None else self._moved(last, view))
        return self._last

    def _is_small(self, found: Found) -> bool:
        """Whether a crop around the mask would show it much larger."""
        if not found.mask.any():
            return False
        box, view = box_of_mask(found.mask), found.view
        return max(box[2:] - box[:2]) < SMALLEST_SHARE * max(view.x1 - view.x0, view.y1 - view.y0)

    def _moved(self, found: Found, view: Crop) -> Found | None:
        """What was found, as it lies in another crop; None where nothing of it is there."""
        inside = view.cut(found.mask)
        if not inside.any():
            return None
        share = torch.from_numpy(inside.astype(np.float32))[None, None]
        size = (self._model.size, self._model.size)
        small = functional.interpolate(share, size, mode="bilinear", align_corners=False, antialias=True)[0, 0]
        return Found(found.mask, MASK_LOGIT * (2 * small - 1), view, found.score)

    def _first_click(self, prompts: Prompts) -> Found:
        """The mask of the highest predicted IoU at all scales, cut-off ones behind all others."""
        click = prompts.points_xy[0]
        views = [Crop.centred(click, share, self._size_hw) for share in CLICK_SHARES]
        features = self._model.see([view.cut(self._image) for view in views])
        found = [
            self._found(view, logits, float(score), prompts)
            for view, one in zip(views, features, strict=True)
            for logits, score in zip(*self._model.decode(one[None], prompts, view, None), strict=True)
        ]
        return max(found, key=lambda one: one.score - touches_border(one) - (not one.mask.any()))

    def _in(self, view: Crop, prompts: Prompts, last: Found | None) -> Found:
        features = self._model.see([view.cut(self._image)])
        logits, scores = self._model.decode(features, prompts, view, None if last is None else last.logits)
        best = int(scores.argmax())
        return self._found(view, logits[best], float(scores[best]), prompts)

    def _found(self, view: Crop, logits: Tensor, score: float, prompts: Prompts) -> Found:
        size_hw = (view.y1 - view.y0, view.x1 - view.x0)
        shown = logits if self._fit else self._model.refine(view.cut(self._image), logits, prompts, view)
        full = functional.interpolate(shown[None, None], size_hw, mode="bilinear", align_corners=False)[0, 0].numpy()
        if self._fit:
            full = refine_logits(full, view.cut(self._image))
        inside = view.prompts(prompts)
        mask = full > 0
        if mask.any():
            mask = without_flecks(constrained_logits(full, inside) > 0, inside)
        return Found(view.whole_mask(mask), logits, view, score)


def region_of(found: Found | None, prompts: Prompts) -> np.ndarray:
    """The smallest half-open box around the mask, all points, and the box."""
    boxes = [np.concatenate([point, point + 1]) for point in prompts.points_xy]
    if prompts.box_xyxy is not None:
        boxes.append(prompts.box_xyxy)
    if found is not None and found.mask.any():
        boxes.append(box_of_mask(found.mask))
    stacked = np.stack(boxes)
    return np.concatenate([stacked[:, :2].min(axis=0), stacked[:, 2:].max(axis=0)])
