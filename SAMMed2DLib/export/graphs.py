"""The parts of a network as ONNX needs them: tensors in, tensors out, one way through whatever the prompts are."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.onnx.operators import shape_as_tensor

from SAMMed2DLib.model.config.model_config import Preprocessing
from SAMMed2DLib.model.mask_decoder import select_best
from SAMMed2DLib.model.preprocessing import PIXEL_MEAN, PIXEL_STD, denormalised
from SAMMed2DLib.model.refiner import Refiner, prompt_maps
from SAMMed2DLib.model.sam import Sam, resize_bilinear

NOT_A_POINT, BOX_FIRST, BOX_SECOND = -1, 2, 3  # labels, beside 0 and 1


class PreprocessingGraph(nn.Module):
    """What `ResizeTransform.model_image` does with a stretched slice, of a size that is known only when it runs."""

    def __init__(self, preprocessing: Preprocessing, image_size: int) -> None:
        """Bring images to `image_size` px as the weights want it."""
        super().__init__()
        self.preprocessing = preprocessing
        self.image_size = image_size

    def forward(self, image_hwc: Tensor) -> Tensor:
        """Map (H, W, 3), 0..255, to (1, 3, S, S) float32."""
        height, width = shape_as_tensor(image_hwc)[:2]
        if self.preprocessing == "published":
            placed = image_hwc.index_select(0, self._nearest(height)).index_select(1, self._nearest(width)).float()
            return ((placed - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD)).permute(2, 0, 1)[None]
        rows, columns = (
            self._triangles(size, length)
            for size, length in ((height, image_hwc.shape[0]), (width, image_hwc.shape[1]))
        )
        small = rows @ (image_hwc.float().permute(2, 0, 1) @ columns.T)
        low, high = small.amin(), small.amax()
        return ((small - low) / (high - low).clamp(min=1e-8))[None]

    def _nearest(self, length: Tensor) -> Tensor:
        """The index that `preprocessing.nearest_index` gives each of S pixels, in double as there."""
        # Divisions of tensors of one shape: by a single number, onnxruntime multiplies with its inverse, which rounds
        # otherwise, and of 300 px one row is another.
        one = torch.ones(self.image_size, dtype=torch.float64)
        ratio = one / (self.image_size * one / (length.double() * one))
        index = (torch.arange(self.image_size, dtype=torch.float64) * ratio).floor()
        return torch.minimum(index, length.double() - 1).long()

    def _triangles(self, size: Tensor, length: int) -> Tensor:
        """Weights (S, length) of a bilinear resize with antialiasing, which ONNX has only from opset 18 on."""
        scale = size.double() / self.image_size
        centres = (torch.arange(self.image_size, dtype=torch.float64) + 0.5) * scale
        pixels = torch.arange(length).double() + 0.5
        weights = (1 - (pixels - centres[:, None]).abs() / scale.clamp(min=1)).clamp(min=0)
        return (weights / weights.sum(dim=1, keepdim=True)).float()


class EncoderGraph(nn.Module):
    """Images to embeddings."""

    def __init__(
        self,
        model: Sam,
        prepare: PreprocessingGraph | None = None,
        channels: int | None = None,
        is_normalised: bool = False,
    ) -> None:
        """Take over a network's image encoder.

        Args:
            model: the network, float32, not prepared for a CPU.
            prepare: makes what the encoder sees of the input; None: the input is that.
            channels: of the embedding; more than the network has are zeros. None: as many as it has.
            is_normalised: the input is (1, 3, F, F) with ImageNet's statistics, which is undone before `prepare`.
        """
        super().__init__()
        self.image_encoder = model.image_encoder
        self.prepare = prepare
        self.channels = channels
        self.is_normalised = is_normalised

    def forward(self, input_image: Tensor) -> Tensor:
        """Encode one image.

        Args:
            input_image: (1, 3, S, S) as the network sees it; with `prepare` (H, W, 3) of 0..255, or what
                `is_normalised` says.

        Returns:
            (1, channels, g, g).
        """
        if self.prepare is not None:
            image = denormalised(input_image)[0].permute(1, 2, 0) if self.is_normalised else input_image
            input_image = self.prepare(image)
        features = self.image_encoder(input_image)
        missing = 0 if self.channels is None else self.channels - features.shape[1]
        return functional.pad(features, (0, 0, 0, 0, 0, missing)) if missing else features


class DecoderGraph(nn.Module):
    """Embedding and prompts to masks, with the names and meanings of segment-anything's decoder in ONNX."""

    def __init__(self, model: Sam, channels: int, frame_px: int, multimask: bool = False) -> None:
        """Take over a network's prompt encoder and mask decoder.

        Args:
            model: the network, float32, not prepared for a CPU.
            channels: of the features; what an embedding has beyond is left out.
            frame_px: side of the frame that callers count points in, px.
            multimask: return all three masks, not the one with the largest predicted IoU.
        """
        super().__init__()
        self.model = model
        self.channels = channels
        self.prompts_per_px = model.prompt_encoder.image_size / frame_px
        self.multimask = multimask

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Find one object.

        Args:
            image_embeddings: (1, C, g, g).
            point_coords: (1, n, 2), x and y, px of the callers' frame.
            point_labels: (1, n): 1 inside, 0 outside, 2 and 3 the corners of a box, -1 not a point.
            mask_input: (1, 1, 4g, 4g), logits of an earlier call.
            has_mask_input: (1,), 1 where `mask_input` counts, else 0.
            orig_im_size: (2,), height and width of the image, px.

        Returns:
            masks (1, M, H, W), logits; iou_predictions (1, M); low_res_masks (1, M, 4g, 4g), logits.
        """
        prompts, decoder = self.model.prompt_encoder, self.model.mask_decoder
        sparse = self._tokens(point_coords * self.prompts_per_px, point_labels)
        is_given = has_mask_input.view(1, 1, 1, 1)
        no_mask = prompts.encode_masks(None)
        dense = is_given * prompts.encode_masks(mask_input.sigmoid()) + (1 - is_given) * no_mask
        features = image_embeddings[:, : self.channels]
        low_res, scores = decoder(features, prompts.dense_pe(), sparse, dense)
        if not self.multimask:
            low_res, scores = select_best(low_res, scores)
        return _at_size(self.model.upscale(low_res), orig_im_size), scores, low_res

    def _tokens(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Tokens of (1, n, 2) points; clicks without a box get the one that is not a point, if it is not there."""
        is_click = (labels == 0) | (labels == 1)
        is_other = (labels == NOT_A_POINT) | (labels == BOX_FIRST) | (labels == BOX_SECOND)
        missing = (is_click.any() & ~is_other.any()).long()
        coords = torch.cat([coords, coords.new_zeros(1, 1, 2)[:, :missing]], dim=1)
        labels = torch.cat([labels, labels.new_full((1, 1), NOT_A_POINT)[:, :missing]], dim=1)
        prompts = self.model.prompt_encoder
        weights = [cast("nn.Embedding", embedding).weight for embedding in prompts.point_embeddings]
        kinds = torch.cat([prompts.not_a_point_embed.weight, *weights])
        is_point = (labels != NOT_A_POINT)[..., None]
        position = prompts.pe_layer((coords + 0.5) / prompts.image_size) * is_point
        return position + functional.embedding(labels.long() + 1, kinds)


class RefinerGraph(nn.Module):
    """A mask of the decoder, drawn anew at twice its resolution from pixels and prompts; see `Predictor.refine`."""

    def __init__(self, model: Sam, frame_px: int, prepare: PreprocessingGraph | None = None) -> None:
        """Take over a network's refiner.

        Args:
            model: the network, which has one.
            frame_px: side of the frame that callers count points in, px.
            prepare: makes what the refiner sees of the input; None: the input is that.
        """
        super().__init__()
        self.refiner = cast(Refiner, model.refiner)
        self.prompt_size = model.prompt_encoder.image_size
        self.side = model.prompt_encoder.mask_input_size
        self.prompts_per_px = self.prompt_size / frame_px
        self.prepare = prepare

    def forward(
        self,
        input_image: Tensor,
        low_res_masks: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        orig_im_size: Tensor,
    ) -> Tensor:
        """Draw one mask.

        Args:
            input_image: (1, 3, 8g, 8g) in 0..1; with `prepare` (H, W, 3) of 0..255.
            low_res_masks: (1, 1, 4g, 4g), logits of the decoder.
            point_coords: as the decoder had them, with one box at most.
            point_labels: as the decoder had them.
            orig_im_size: (2,), height and width of the image, px.

        Returns:
            masks (1, 1, H, W), logits.
        """
        image = input_image if self.prepare is None else self.prepare(input_image)
        coords = point_coords * self.prompts_per_px
        corners = [(coords * (point_labels == label)[..., None]).sum(dim=1) for label in (BOX_FIRST, BOX_SECOND)]
        # A point that is none, so that there is one at least; a box of zeros holds nothing.
        coords = torch.cat([coords, coords.new_zeros(1, 1, 2)], dim=1)
        labels = torch.cat([point_labels, point_labels.new_full((1, 1), NOT_A_POINT)], dim=1)
        maps = prompt_maps((coords, labels), torch.stack(corners, dim=1), self.side, self.prompt_size, 1)
        return _at_size(self.refiner(image, low_res_masks, maps), orig_im_size)


def _at_size(logits: Tensor, orig_im_size: Tensor) -> Tensor:
    """Logits at a size that is known only when the graph runs."""
    height, width = orig_im_size.long()
    return resize_bilinear(logits, (cast(int, height), cast(int, width)))
