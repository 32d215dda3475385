"""The network on PyTorch: on processors and graphics cards, in single or half precision."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from SAMMed2DLib.inference.devices import FallbackWarning, Precision, choose_device, choose_precision
from SAMMed2DLib.inference.engines.engine import EncodedPrompts, Engine
from SAMMed2DLib.model.refiner import prompt_maps
from SAMMed2DLib.model.sam import Sam
from SAMMed2DLib.model.tiny_vit import TinyVit
from SAMMed2DLib.model.transformer import SharedImage

_IMAGES_AT_ONCE = 8  # bounds the memory of one call; larger batches gain nothing more

T = TypeVar("T")


class TorchEngine(Engine):
    """A network of PyTorch on a device."""

    name = "torch"

    def __init__(self, model: Sam, model_name: str, device: str = "auto", precision: Precision = "auto") -> None:
        """Take over a model.

        Args:
            model: the network; it is moved and converted in place, and cannot be trained or saved afterwards.
            model_name: what to call the weights in messages.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            precision: of the image encoder; "auto" is fast where this computer gains by it.

        Raises:
            DeviceError: no such device or precision.
        """
        self.model = model.eval().requires_grad_(False)
        self._model_name = model_name
        self.image_size = model.image_size
        self.prompt_size = model.prompt_encoder.image_size
        self.mask_input_size = model.prompt_encoder.mask_input_size
        self.preprocessing = model.preprocessing
        self.embedding_bytes = model.image_encoder.feature_bytes
        if isinstance(model.image_encoder, TinyVit):
            model.image_encoder.prepare_for_inference()  # before the weights are rounded to half precision
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

    def warm_up(self) -> None:
        """Load the kernels of a graphics card in this thread, or the first click waits for them."""
        if self.device.type == "cpu":
            return
        side = self.image_size
        features = self.encode([np.zeros((3, side, side), np.float32)])
        middle = np.full((1, 1, 2), self.prompt_size / 2, np.float32)
        prompts = EncodedPrompts(points=(middle, np.ones((1, 1), np.int64)))
        low_res, _ = self.decode([features], prompts, best=True)
        if self.has_refiner:
            self.refine(np.zeros((3, 2 * low_res.shape[-1], 2 * low_res.shape[-1]), np.float32), low_res[0, 0], prompts)

    @property
    def has_refiner(self) -> bool:
        """Whether the network draws outlines at a higher resolution itself."""
        return self.model.refiner is not None

    @property
    def most_at_once(self) -> int:
        """Images that are encoded as one batch."""
        most = self.model.image_encoder.most_at_once if self.device.type == "cpu" else _IMAGES_AT_ONCE
        return min(most, _IMAGES_AT_ONCE)

    def working_bytes(self, images: int) -> int:
        """Forecast the main memory that encoding so many images at once takes while it lasts, bytes, about."""
        return self.model.image_encoder.working_bytes(images) if self.device.type == "cpu" else 0

    @torch.inference_mode()
    def encode(self, inputs: Sequence[np.ndarray]) -> Tensor:
        """Encode images (3, S, S) float32 of one size, normalised: features (B, C, g, g)."""
        step = self.most_at_once
        chunks = [inputs[i : i + step] for i in range(0, len(inputs), step)]
        encoded = [self._on_device(partial(self._encode, chunk)) for chunk in chunks]
        return torch.cat([part.to(self.device) for part in encoded])

    @torch.inference_mode()
    def decode(self, features: Sequence[Tensor], prompts: EncodedPrompts, best: bool) -> tuple[np.ndarray, np.ndarray]:
        """Decode prompts of one kind; see `Engine.decode`."""
        return self._on_device(partial(self._decode, features, prompts, best))

    @torch.inference_mode()
    def refine(self, image: np.ndarray, low_res: np.ndarray, prompts: EncodedPrompts) -> np.ndarray:
        """Draw an outline anew at twice its resolution; see `Engine.refine`."""
        refiner = self.model.refiner
        if refiner is None:
            raise ValueError(f"{self._model_name!r} has no refiner")
        points = None
        if prompts.points is not None:
            points = torch.from_numpy(prompts.points[0]), torch.from_numpy(prompts.points[1])
        boxes = None if prompts.boxes is None else torch.from_numpy(prompts.boxes)
        maps = prompt_maps(points, boxes, len(low_res), self.prompt_size, 1)
        seen = (torch.from_numpy(image)[None], torch.from_numpy(low_res)[None, None], maps)
        return refiner(*map(self._sent, seen))[0, 0].cpu().numpy()

    @contextmanager
    def checking(self, check: Callable[[], None]) -> Iterator[None]:
        """Call this before every block of the encoder, within the context."""
        blocks = self.model.image_encoder.blocks
        hooks = [block.register_forward_pre_hook(lambda *_: check()) for block in blocks]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _encode(self, inputs: Sequence[np.ndarray]) -> Tensor:
        batch = self._sent(torch.from_numpy(np.stack(inputs))).to(self.precision)
        features = self.model.image_encoder(batch).float()
        if self.precision != torch.float16 or features.isfinite().all():
            return features
        # NaN would pass for an empty mask.
        warning = f"{self._model_name!r} exceeds the range of float16: it goes on in float32."
        warnings.warn(warning, FallbackWarning, stacklevel=4)
        self._place(self.device, torch.float32)
        return self._encode(inputs)

    def _decode(self, features: Sequence[Tensor], prompts: EncodedPrompts, best: bool) -> tuple[np.ndarray, np.ndarray]:
        points = boxes = masks = None
        if prompts.points is not None:
            xy, labels = prompts.points
            points = self._sent(torch.from_numpy(xy)), self._sent(torch.from_numpy(labels))
        if prompts.boxes is not None:
            boxes = self._sent(torch.from_numpy(prompts.boxes))
        if prompts.logits is not None:
            masks = self._sent(torch.from_numpy(prompts.logits)[:, None]).sigmoid()
        if len(features) == 1:
            seen = features[0].to(self.device)
            shared: SharedImage | None = self._share(seen)
        else:
            seen, shared = torch.cat(list(features)).to(self.device), None
        low_res, scores = self.model.decode(seen, points, boxes, masks, shared=shared, best=best)
        return low_res.cpu().numpy(), scores.cpu().numpy()

    def _sent(self, tensor: Tensor) -> Tensor:
        """A tensor of main memory on the device; a card fetches it while this thread goes on."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

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
                f"The memory of {self.device} is full: {self._model_name!r} goes on with the CPU. Close other programs "
                "that use the graphics card, or choose a smaller model.",
                FallbackWarning,
                stacklevel=3,
            )
            self._place(torch.device("cpu"), torch.float32)
        torch.cuda.empty_cache()  # here, where the error no longer holds on to what was computed
        return compute()
