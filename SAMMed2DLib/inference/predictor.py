"""The predictor: slices to embeddings, embeddings and prompts to masks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from SAMMed2DLib.checkpoints.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from SAMMed2DLib.checkpoints.fit import fit_state_dict
from SAMMed2DLib.inference.devices import FallbackWarning, Precision, choose_device, choose_precision
from SAMMed2DLib.inference.prediction import Embedding, Prediction
from SAMMed2DLib.inference.prompts import PromptError, Prompts
from SAMMed2DLib.inference.scoring.calibration import ScoreCalibration
from SAMMed2DLib.inference.zoom import click_scales_of, coarse_size_of
from SAMMed2DLib.model.build import ConfigError, ModelConfig, build_empty
from SAMMed2DLib.model.preprocessing import Fit, ResizeTransform, stretched
from SAMMed2DLib.model.refiner import prompt_maps
from SAMMed2DLib.model.sam import Sam, resize_bilinear
from SAMMed2DLib.model.shapes import config_of
from SAMMed2DLib.model.transformer import SharedImage
from SAMMed2DLib.registry.built_in import BUILT_IN, current_name
from SAMMed2DLib.registry.known_models import weights_path

CHANNEL_ORDERS = ("rgb", "bgr")
# Bounds the memory of one call; larger batches gain nothing more.
_IMAGES_AT_ONCE = 8
_PROMPTS_AT_ONCE = 32

T = TypeVar("T")


class Predictor:
    """A network with its weights on a device; safe to use from one thread at a time."""

    def __init__(
        self,
        model: Sam,
        name: str = "unnamed",
        *,
        device: str = "auto",
        precision: Precision = "auto",
        fit: Fit = "stretch",
        channel_order: str = "rgb",
        prefers_zoom: bool = False,
        click_scales: Sequence[float] = (1.0,),
        coarse_size: int | None = None,
        score_calibration: ScoreCalibration | None = None,
    ) -> None:
        """Take over a model.

        Args:
            model: the network; it is moved and converted in place, and cannot be trained or saved afterwards.
            name: what to call the weights, in embeddings and messages.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            precision: of the image encoder; "auto" is fast where this computer gains by it.
            fit: how slices are brought into the model frame, see `ResizeTransform`.
            channel_order: "rgb" feeds channels as they are given, as the published predictor does; "bgr"
                reverses them, which agrees with the colour images of the published training.
            prefers_zoom: the weights were trained for crops around the prompts (see `zoom`); what the user does
                not decide follows this.
            click_scales: a first click is answered on crops of so many times the slice's longer side, and the best mask
                is taken; for weights that were trained on views of all scales.
            coarse_size: side of the model frame in which those crops are seen, px; the mask is then drawn on one more
                crop around it, in the full frame. None: they are seen in the full frame.
            score_calibration: makes scores of evidence; without one they are the IoU that the network predicts.

        Raises:
            DeviceError: no such device or precision.
            ValueError: an unknown channel order.
        """
        if channel_order not in CHANNEL_ORDERS:
            raise ValueError(f"unknown channel order {channel_order!r}: choose one of {', '.join(CHANNEL_ORDERS)}")
        self.name = name
        self.fit: Fit = fit
        self.channel_order = channel_order
        self.prefers_zoom = prefers_zoom
        self.click_scales = tuple(click_scales)
        self.coarse_size = coarse_size
        self.score_calibration = score_calibration
        self.model = model.eval().requires_grad_(False)
        chosen = choose_device(device)
        self._place(chosen, choose_precision(precision, chosen, model.image_encoder.width))

    def _place(self, device: torch.device, precision: torch.dtype) -> None:
        """Move the model; `precision` is that of the image encoder."""
        self.device, self.precision = device, precision
        self.model.to(device).image_encoder.to(precision)
        self._shared: tuple[Tensor, SharedImage] | None = None
        if device.type == "cpu":
            self.model.image_encoder.prepare_for_cpu()
            self.model.mask_decoder.prepare_for_cpu()

    @torch.inference_mode()
    def embed(self, images: Sequence[np.ndarray], *, coarse: bool = False) -> Embedding:
        """Encode slices; the costly step, to be done once for each slice.

        Args:
            images: (H, W, 3) uint8 each, of any sizes (`image.rgb_from_slice` makes them).
            coarse: see them in the frame of `coarse_size`, where there is one.

        Raises:
            ValueError: no image, or one of another type or shape.
        """
        if not len(images):
            raise ValueError("no image to embed: pass at least one (H, W, 3) uint8 slice")
        side = self.coarse_size if coarse else None
        frames = tuple(self._frame_of(self._size_of(image), side) for image in images)
        inputs = [
            frame.model_image(image if self.channel_order == "rgb" else image[..., ::-1])
            for frame, image in zip(frames, images, strict=True)
        ]
        step = self._most_at_once
        chunks = [inputs[i : i + step] for i in range(0, len(inputs), step)]
        encoded = [self._on_device(partial(self._encode, chunk)) for chunk in chunks]
        return Embedding(torch.cat([part.to(self.device) for part in encoded]), frames, self.name)

    @property
    def embedding_bytes(self) -> int:
        """Memory of the embedding of one slice."""
        return self.model.image_encoder.feature_bytes

    def working_bytes(self, slices: int) -> int:
        """Forecast the main memory that encoding so many slices takes while it lasts, bytes, about."""
        if self.device.type != "cpu":
            return 0
        return self.model.image_encoder.working_bytes(min(slices, self._most_at_once))

    @property
    def _most_at_once(self) -> int:
        """Images that are encoded as one batch."""
        most = self.model.image_encoder.most_at_once if self.device.type == "cpu" else _IMAGES_AT_ONCE
        return min(most, _IMAGES_AT_ONCE)

    def predict(self, embedding: Embedding, prompts: Prompts) -> Prediction:
        """Segment one object on an embedded slice.

        Args:
            embedding: of one slice.
            prompts: points and a box in slice px, earlier logits; any of them, alone or together.

        Raises:
            PromptError: the prompts do not fit the slice or contradict each other.
            ValueError: the embedding is of several slices or of other weights.
        """
        return self.predict_many(embedding, [prompts])[0]

    @torch.inference_mode()
    def predict_many(self, embedding: Embedding, prompts: Sequence[Prompts]) -> list[Prediction]:
        """Segment several objects on one slice, each by itself, decoded as few batches.

        Arguments and errors as in `predict`; the results are in the order of the prompts.
        """
        return self.decode_pairs([(embedding, prompt) for prompt in prompts])

    @torch.inference_mode()
    def decode_pairs(self, pairs: Sequence[tuple[Embedding, Prompts]]) -> list[Prediction]:
        """Find objects on several slices, each by itself, decoded as few batches.

        Args:
            pairs: for each object the embedding of its slice, and its prompts.

        Raises:
            PromptError: the prompts do not fit the slice or contradict each other.
            ValueError: an embedding is of several slices or of other weights.
        """
        checked = [(embedding, self._checked(embedding, prompts)) for embedding, prompts in pairs]
        found: dict[int, Prediction] = {}
        for indices in _alike(checked):
            group = [checked[i] for i in indices]
            decoded = self._on_device(partial(self._decode, group))
            found.update(zip(indices, decoded, strict=True))
        return [found[i] for i in range(len(checked))]

    @torch.inference_mode()
    def predict_all(self, embedding: Embedding, prompts: Prompts) -> list[Prediction]:
        """All three masks that the network draws of one object, in its order; `predict` returns the best of them.

        Arguments and errors as in `predict`.
        """
        pair = (embedding, self._checked(embedding, prompts))
        return self._on_device(partial(self._decode, [pair], best=False))

    def mask_prompt(self, logits_hw: np.ndarray) -> np.ndarray:
        """Turn logits of a slice, (H, W), into `Prompts.low_res_logits`: (L, L) float32."""
        frame = self._frame_of((logits_hw.shape[0], logits_hw.shape[1]))
        logits = torch.from_numpy(np.ascontiguousarray(logits_hw, np.float32))[None, None]
        return frame.low_res_logits(logits, self.model.prompt_encoder.mask_input_size)[0, 0].numpy()

    @property
    def has_refiner(self) -> bool:
        """Whether the network draws outlines at a higher resolution itself, see `refine`."""
        return self.model.refiner is not None

    @torch.inference_mode()
    def refine(self, prediction: Prediction, image: np.ndarray, prompts: Prompts) -> np.ndarray:
        """Draw the outline of a prediction anew at twice its resolution, by the network's refiner.

        Args:
            prediction: of the image.
            image: (H, W, 3) uint8, what was embedded.
            prompts: those of the prediction, image px.

        Returns:
            (H, W) float32 logits, positive inside the mask.

        Raises:
            ValueError: the network has no refiner.
        """
        refiner, frame = self.model.refiner, prediction.frame
        if refiner is None:
            raise ValueError(f"{self.name!r} has no refiner: use the prediction's logits")
        low_res = torch.from_numpy(prediction.low_res_logits)[None, None]
        side = low_res.shape[-1]
        points = boxes = None
        if len(prompts.labels):
            placed = torch.from_numpy(frame.model_from_xy(prompts.points_xy))
            points = (placed[None], torch.tensor(prompts.labels)[None])
        if prompts.box_xyxy is not None:
            boxes = torch.from_numpy(frame.model_from_xy(prompts.box_xyxy.reshape(2, 2)))[None]
        maps = prompt_maps(points, boxes, side, frame.prompt_size or frame.image_size, 1)
        seen = (stretched(image, 2 * side)[None], low_res, maps)
        fine = refiner(*(part.to(self.device) for part in seen)).cpu()
        return resize_bilinear(fine, frame.size_hw)[0, 0].numpy()

    def _frame_of(self, size_hw: tuple[int, int], side: int | None = None) -> ResizeTransform:
        model, side = self.model, side or self.model.image_size
        prompt_size = model.prompt_encoder.image_size
        apart = None if prompt_size == side else prompt_size
        return ResizeTransform(size_hw, side, self.fit, model.preprocessing, apart)

    @staticmethod
    def _size_of(image: np.ndarray) -> tuple[int, int]:
        if not isinstance(image, np.ndarray) or image.ndim != 3:
            raise ValueError(f"expected a list of (H, W, 3) uint8 slices, one of them has shape {np.shape(image)}")
        return (image.shape[0], image.shape[1])

    def _encode(self, inputs: list[Tensor]) -> Tensor:
        batch = torch.stack(inputs).to(self.device, self.precision)
        features = self.model.image_encoder(batch).float()
        if self.precision != torch.float16 or features.isfinite().all():
            return features
        # NaN would pass for an empty mask.
        warning = f"{self.name!r} exceeds the range of float16: it goes on in float32."
        warnings.warn(warning, FallbackWarning, stacklevel=4)
        self._place(self.device, torch.float32)
        return self._encode(inputs)

    def _checked(self, embedding: Embedding, prompts: Prompts) -> Prompts:
        if len(embedding) != 1:
            raise ValueError(f"the embedding holds {len(embedding)} slices: choose one, embedding[i]")
        if embedding.model_name != self.name:
            raise ValueError(
                f"the embedding was made by {embedding.model_name!r}, this is {self.name!r}: embed the slice again"
            )
        checked = prompts.checked(embedding.size_hw)
        side = 4 * embedding.features.shape[-1]
        logits = checked.low_res_logits
        if logits is not None and logits.shape != (side, side):
            raise PromptError(
                f"the earlier logits are {logits.shape[0]} x {logits.shape[1]}, {self.name!r} takes {side} x {side}: "
                "use the low_res_logits of a prediction by the same model"
            )
        return checked

    def _decode(self, group: Sequence[tuple[Embedding, Prompts]], best: bool = True) -> list[Prediction]:
        """Decode prompts of one kind (see `_alike`) as one batch: the best mask of each, or all three."""
        embeddings, prompts = zip(*group, strict=True)
        frame = embeddings[0].frames[0]
        points = boxes = masks = None
        if len(prompts[0].labels):
            placed = np.stack([frame.model_from_xy(prompt.points_xy) for prompt in prompts])
            labels = np.stack([prompt.labels for prompt in prompts])
            points = (torch.from_numpy(placed).to(self.device), torch.from_numpy(labels).to(self.device))
        corners = [prompt.box_xyxy.reshape(2, 2) for prompt in prompts if prompt.box_xyxy is not None]
        if corners:
            boxes = torch.from_numpy(frame.model_from_xy(np.stack(corners))).to(self.device)
        logits = [prompt.low_res_logits for prompt in prompts if prompt.low_res_logits is not None]
        if logits:
            masks = torch.from_numpy(np.stack(logits))[:, None].to(self.device).sigmoid()
        if all(embedding is embeddings[0] for embedding in embeddings):
            features = embeddings[0].features.to(self.device)
            shared: SharedImage | None = self._share(features)
        else:
            features, shared = torch.cat([embedding.features for embedding in embeddings]).to(self.device), None
        low_res, scores = self.model.decode(features, points, boxes, masks, shared=shared, best=best)
        found = zip(scores.flatten().tolist(), low_res.flatten(0, 1).cpu().numpy(), strict=True)
        return [Prediction(score, logits, frame) for score, logits in found]

    def _share(self, features: Tensor) -> SharedImage:
        """What the prompts on one slice share; kept until the prompts are on another slice."""
        held = self._shared
        if held is None or held[0].data_ptr() != features.data_ptr():  # what is held cannot be another's memory
            earlier = held[1] if held and held[0].shape == features.shape else None
            self._shared = held = features, self.model.share(features, earlier)
        return held[1]

    def _on_device(self, compute: Callable[[], T]) -> T:
        """Run on the device; once its memory is full, go on with the CPU."""
        try:
            return compute()
        except RuntimeError as error:  # CUDA has a class of its own for it, MPS only words
            if not isinstance(error, torch.cuda.OutOfMemoryError) and "MPS backend out of memory" not in str(error):
                raise
            warnings.warn(
                f"The memory of {self.device} is full: {self.name!r} goes on with the CPU. Close other programs that "
                "use the graphics card, or choose a smaller model.",
                FallbackWarning,
                stacklevel=3,
            )
            self._place(torch.device("cpu"), torch.float32)
        torch.cuda.empty_cache()  # here, where the error no longer holds on to what was computed
        return compute()


def _alike(pairs: Sequence[tuple[Embedding, Prompts]]) -> Iterator[list[int]]:
    """Indices of what fits in one decoder batch: slices of one size and frame, as many points, boxes and masks."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, (embedding, prompts) in enumerate(pairs):
        has = (prompts.box_xyxy is not None, prompts.low_res_logits is not None)
        kind = (embedding.frames[0], len(prompts.labels), *has)
        groups.setdefault(kind, []).append(i)
    for indices in groups.values():
        for start in range(0, len(indices), _PROMPTS_AT_ONCE):
            yield indices[start : start + _PROMPTS_AT_ONCE]


def load_predictor(
    model: str | Path = BUILT_IN,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    fit: Fit = "stretch",
    channel_order: str = "rgb",
    image_size: int | None = None,
    adapters: bool = True,
) -> Predictor:
    """Load weights by the name of a known or added model, or from a file.

    Args:
        model: the name of a known or added model, or a checkpoint of SAM, FT-SAM or SAM-Med2D.
        device: as in `Predictor`.
        precision: as in `Predictor`.
        fit: as in `Predictor`.
        channel_order: as in `Predictor`.
        image_size: side of the model frame; None takes the file's own. Position tables are resized to it.
        adapters: False leaves adapters out, which makes SAM-Med2D* of SAM-Med2D.

    Raises:
        RegistryError: no model of this name here.
        CheckpointError: no such file, no weights in it, or weights of another network.
        DeviceError: no such device or precision.
    """
    path = weights_path(model)
    checkpoint = read_checkpoint(path)
    try:
        full = config_of(checkpoint.config, {key: tuple(value.shape) for key, value in checkpoint.state.items()})
    except ConfigError as error:
        raise CheckpointError(f"{path.name}: {error}") from error
    config = replace(full, image_size=image_size or full.image_size, adapter=full.adapter and adapters)
    name = f"{current_name(model) if isinstance(model, str) else model.name}@{config.image_size}"
    name += "*" if full.adapter and not adapters else ""
    return Predictor(
        load_model(checkpoint, config),
        name,
        device=device,
        precision=precision,
        fit=fit,
        channel_order=channel_order,
        prefers_zoom=bool(checkpoint.provenance.get("prefers_zoom")),
        click_scales=click_scales_of(checkpoint.provenance),
        coarse_size=coarse_size_of(checkpoint.provenance, config.takes_size),
        score_calibration=ScoreCalibration.of_record(checkpoint.provenance.get("score_calibration")),
    )


def load_model(checkpoint: Checkpoint, config: ModelConfig) -> Sam:
    """Build a network and fill it strictly from a checkpoint.

    Raises:
        CheckpointError: the weights are of another network, or some are missing.
    """
    network = build_empty(config)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    fitted = fit_state_dict(checkpoint.state, shapes)
    if fitted.missing:
        raise CheckpointError(
            f"{len(fitted.missing)} weights are missing, the first is {fitted.missing[0]!r}: the file is incomplete. "
            "Download it again."
        )
    state = {name: value.float() for name, value in fitted.state.items()}
    network.load_state_dict(state, strict=True, assign=True)
    return network
