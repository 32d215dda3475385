"""The predictor: slices to embeddings, embeddings and prompts to masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint
from SAMMed2DLib.imaging.bilinear import resized
from SAMMed2DLib.inference.devices import Precision
from SAMMed2DLib.inference.engines.engine import (
    EncodedPrompts,
    Engine,
    EngineError,
    EngineName,
    trouble_with_torch,
)
from SAMMed2DLib.inference.engines.loading import config_of_checkpoint, load_engine, torch_engine
from SAMMed2DLib.inference.prediction import Embedding, Prediction
from SAMMed2DLib.inference.prompts import PromptError, Prompts
from SAMMed2DLib.inference.scoring.calibration import ScoreCalibration
from SAMMed2DLib.inference.zoom import click_scales_of, coarse_size_of
from SAMMed2DLib.model.preprocessing import Fit, ResizeTransform, stretched
from SAMMed2DLib.registry.built_in import BUILT_IN, current_name
from SAMMed2DLib.registry.known_models import weights_path

if TYPE_CHECKING:
    from SAMMed2DLib.model.sam import Sam

CHANNEL_ORDERS = ("rgb", "bgr")
# Bounds the memory of one call; larger batches gain nothing more.
_PROMPTS_AT_ONCE = 32


class Predictor:
    """A network with its weights on a device; safe to use from one thread at a time."""

    def __init__(
        self,
        model: Sam | Engine,
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
            model: the network of PyTorch, which is moved and converted in place, and cannot be trained or saved
                afterwards; or an engine that has one.
            name: what to call the weights, in embeddings and messages.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps"; an engine has its own.
            precision: of the image encoder; "auto" is fast where this computer gains by it; an engine has its own.
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
        self.engine = model if isinstance(model, Engine) else torch_engine(model, name, device, precision)

    @property
    def model(self) -> Sam:
        """The network of PyTorch.

        Raises:
            EngineError: it is computed by NumPy.
        """
        model = getattr(self.engine, "model", None)
        if model is None:
            raise EngineError(
                f"{self.name!r} is computed by NumPy, and this needs PyTorch: "
                "choose the engine torch, or install it (pip install torch)"
            )
        return model

    @property
    def device(self) -> Any:
        """Where the network is: a device of PyTorch, or "cpu"."""
        return self.engine.device

    @property
    def precision(self) -> Any:
        """Type of the image encoder's numbers."""
        return self.engine.precision

    def checking(self, check: Callable[[], None]) -> AbstractContextManager[None]:
        """Call this before every block of the image encoder, within the context; it raises to end the work."""
        return self.engine.checking(check)

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
        return Embedding(self.engine.encode(inputs), frames, self.name)

    @property
    def embedding_bytes(self) -> int:
        """Memory of the embedding of one slice."""
        return self.engine.embedding_bytes

    def working_bytes(self, slices: int) -> int:
        """Forecast the main memory that encoding so many slices takes while it lasts, bytes, about."""
        return self.engine.working_bytes(min(slices, self.engine.most_at_once))

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

    def predict_many(self, embedding: Embedding, prompts: Sequence[Prompts]) -> list[Prediction]:
        """Segment several objects on one slice, each by itself, decoded as few batches.

        Arguments and errors as in `predict`; the results are in the order of the prompts.
        """
        return self.decode_pairs([(embedding, prompt) for prompt in prompts])

    def decode_pairs(self, pairs: Sequence[tuple[Embedding, Prompts]]) -> list[Prediction]:
        """Find objects on several slices, each by itself, decoded as few batches.

        Args:
            pairs: for each object the embedding of its slice, and its prompts.

        Raises:
            PromptError: the prompts do not fit the slice or contradict each other.
            ValueError: an embedding is of several slices or of other weights.
        """
        return [best for (best,) in self._decoded(pairs, best=True)]

    def predict_all(self, embedding: Embedding, prompts: Prompts) -> list[Prediction]:
        """All three masks that the network draws of one object, in its order; `predict` returns the best of them.

        Arguments and errors as in `predict`.
        """
        return self.predict_all_many(embedding, [prompts])[0]

    def predict_all_many(self, embedding: Embedding, prompts: Sequence[Prompts]) -> list[list[Prediction]]:
        """The same of several objects on one slice, each by itself, decoded as few batches."""
        return self._decoded([(embedding, prompt) for prompt in prompts], best=False)

    def _decoded(self, pairs: Sequence[tuple[Embedding, Prompts]], best: bool) -> list[list[Prediction]]:
        """The best mask of each object, or all three."""
        checked = [(embedding, self._checked(embedding, prompts)) for embedding, prompts in pairs]
        found: dict[int, list[Prediction]] = {}
        for indices in _alike(checked):
            drawn = self._decode([checked[i] for i in indices], best)
            each = len(drawn) // len(indices)
            found.update((i, drawn[n * each : (n + 1) * each]) for n, i in enumerate(indices))
        return [found[i] for i in range(len(checked))]

    def mask_prompt(self, logits_hw: np.ndarray) -> np.ndarray:
        """Turn logits of a slice, (H, W), into `Prompts.low_res_logits`: (L, L) float32."""
        frame = self._frame_of((logits_hw.shape[0], logits_hw.shape[1]))
        logits = np.ascontiguousarray(logits_hw, np.float32)[None, None]
        return frame.low_res_logits(logits, self.engine.mask_input_size)[0, 0]

    @property
    def has_refiner(self) -> bool:
        """Whether the network draws outlines at a higher resolution itself, see `refine`."""
        return self.engine.has_refiner

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
        if not self.has_refiner:
            raise ValueError(f"{self.name!r} has no refiner: use the prediction's logits")
        frame, low_res = prediction.frame, prediction.low_res_logits
        fine = self.engine.refine(stretched(image, 2 * len(low_res)), low_res, _encoded([prompts], frame))
        return resized(fine, frame.size_hw)

    def _frame_of(self, size_hw: tuple[int, int], side: int | None = None) -> ResizeTransform:
        engine, side = self.engine, side or self.engine.image_size
        apart = None if engine.prompt_size == side else engine.prompt_size
        return ResizeTransform(size_hw, side, self.fit, engine.preprocessing, apart)

    @staticmethod
    def _size_of(image: np.ndarray) -> tuple[int, int]:
        if not isinstance(image, np.ndarray) or image.ndim != 3:
            raise ValueError(f"expected a list of (H, W, 3) uint8 slices, one of them has shape {np.shape(image)}")
        return (image.shape[0], image.shape[1])

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

    def _decode(self, group: Sequence[tuple[Embedding, Prompts]], best: bool) -> list[Prediction]:
        """Decode prompts of one kind (see `_alike`) as one batch: the best mask of each, or all three."""
        embeddings, prompts = zip(*group, strict=True)
        frame = embeddings[0].frames[0]
        is_one = all(embedding is embeddings[0] for embedding in embeddings)
        features = [embedding.features for embedding in (embeddings[:1] if is_one else embeddings)]
        low_res, scores = self.engine.decode(features, _encoded(prompts, frame), best)
        found = zip(scores.reshape(-1).tolist(), low_res.reshape(-1, *low_res.shape[2:]), strict=True)
        return [Prediction(score, logits, frame) for score, logits in found]


def _encoded(prompts: Sequence[Prompts], frame: ResizeTransform) -> EncodedPrompts:
    """Prompts of one kind (see `_alike`) as a decoder takes them."""
    points = boxes = None
    if len(prompts[0].labels):
        placed = np.stack([frame.model_from_xy(prompt.points_xy) for prompt in prompts])
        points = placed, np.stack([prompt.labels for prompt in prompts])
    corners = [prompt.box_xyxy.reshape(2, 2) for prompt in prompts if prompt.box_xyxy is not None]
    if corners:
        boxes = frame.model_from_xy(np.stack(corners))
    logits = [prompt.low_res_logits for prompt in prompts if prompt.low_res_logits is not None]
    return EncodedPrompts(points, boxes, np.stack(logits) if logits else None)


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
    engine: EngineName = "auto",
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
        engine: "torch" or "numpy"; "auto" is PyTorch where it works, else NumPy. NumPy computes the built-in model and
            others of its kind, on the CPU.
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
        EngineError: no such engine, or one that cannot compute this model on this device; or PyTorch is needed.
    """
    path = weights_path(model)
    checkpoint = read_checkpoint(path, as_arrays=engine == "numpy" or trouble_with_torch() is not None)
    full = config_of_checkpoint(checkpoint, path.name)
    config = replace(full, image_size=image_size or full.image_size, adapter=full.adapter and adapters)
    name = f"{current_name(model) if isinstance(model, str) else model.name}@{config.image_size}"
    name += "*" if full.adapter and not adapters else ""
    return Predictor(
        load_engine(engine, checkpoint, config, name, device, precision),
        name,
        fit=fit,
        channel_order=channel_order,
        prefers_zoom=bool(checkpoint.provenance.get("prefers_zoom")),
        click_scales=click_scales_of(checkpoint.provenance),
        coarse_size=coarse_size_of(checkpoint.provenance, config.takes_size),
        score_calibration=ScoreCalibration.of_record(checkpoint.provenance.get("score_calibration")),
    )
