"""The engine of the built-in model's network on NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from SAMMed2DLib.inference.engines.engine import EncodedPrompts, Engine
from SAMMed2DLib.inference.numpy_engine.image_encoder import NumpyImageEncoder
from SAMMed2DLib.inference.numpy_engine.mask_decoder import NumpyMaskDecoder
from SAMMed2DLib.inference.numpy_engine.prompt_encoder import NumpyPromptEncoder
from SAMMed2DLib.inference.numpy_engine.refiner import NumpyRefiner, prompt_maps
from SAMMed2DLib.inference.numpy_engine.weights import NamedWeights
from SAMMed2DLib.model.config.model_config import ModelConfig
from SAMMed2DLib.system.blas import one_blas_thread


class NumpyEngine(Engine):
    """A network of the built-in model's kind, a TinyViT with SAM's decoder, on the CPU in float32."""

    name = "numpy"
    device = "cpu"
    precision = "float32"

    def __init__(self, state: Mapping[str, np.ndarray], config: ModelConfig) -> None:
        """Lay out the weights.

        Args:
            state: name to array of any floating type, as in the published state dict.
            config: sizes of the network, with those of a TinyViT.

        Raises:
            KeyError: a weight is missing.
            ValueError: the sizes are not of a TinyViT, or a weight has another shape.
        """
        sizes = config.tiny_vit
        if sizes is None:
            raise ValueError("only networks with a TinyViT can be computed by NumPy")
        self.image_size = config.image_size
        self.prompt_size = config.prompt_size or config.image_size
        self.preprocessing = config.preprocessing
        self.mask_input_size = 4 * config.grid
        self.embedding_bytes = 4 * config.grid**2 * config.out_dim
        # A pass takes most for the widened maps of the first stage.
        self._working_bytes = 4 * config.image_size**2 * 18 * sizes.dims[0]
        weights = NamedWeights(state)
        self._encoder = NumpyImageEncoder(weights.part("image_encoder"), sizes.depths, sizes.windows, sizes.strides)
        self._prompts = NumpyPromptEncoder(weights.part("prompt_encoder"), self.prompt_size)
        self._decoder = NumpyMaskDecoder(weights.part("mask_decoder"), config.decoder_depth, config.decoder_heads)
        self._refiner = None if config.refiner_dim is None else NumpyRefiner(weights.part("refiner"))
        self._positions: dict[int, np.ndarray] = {}
        self._check: Callable[[], None] = _go_on

    @property
    def has_refiner(self) -> bool:
        """Whether the network draws outlines at a higher resolution itself."""
        return self._refiner is not None

    @property
    def most_at_once(self) -> int:
        """Images are encoded one by one: their maps then fit a processor's cache."""
        return 1

    def working_bytes(self, images: int) -> int:
        """Forecast the main memory that encoding so many images takes while it lasts, bytes, about."""
        return self._working_bytes

    @one_blas_thread()
    def encode(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Encode images (3, S, S) float32 of one size, normalised: features (B, C, g, g), channels last in memory."""
        return np.stack([self._encoder(image, self._check) for image in inputs]).transpose(0, 3, 1, 2)

    @one_blas_thread()
    def decode(
        self, features: Sequence[np.ndarray], prompts: EncodedPrompts, best: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode prompts of one kind; see `Engine.decode`."""
        seen = np.concatenate(features) if len(features) > 1 else features[0]
        grid = seen.shape[-1]
        if grid not in self._positions:
            self._positions[grid] = self._prompts.grid_positions(grid)
        image = seen.transpose(0, 2, 3, 1).reshape(len(seen), grid * grid, -1)
        if prompts.logits is None:
            image = image + self._prompts.no_mask
        else:
            with np.errstate(over="ignore"):
                image = image + self._prompts.masks(1 / (1 + np.exp(-prompts.logits)))
        tokens = self._prompts.tokens(prompts.points, prompts.boxes, len(image))
        return self._decoder(image, self._positions[grid], tokens, best)

    @one_blas_thread()
    def refine(self, image: np.ndarray, low_res: np.ndarray, prompts: EncodedPrompts) -> np.ndarray:
        """Draw an outline anew at twice its resolution; see `Engine.refine`."""
        if self._refiner is None:
            raise ValueError("this network has no refiner")
        maps = prompt_maps(prompts.points, prompts.boxes, len(low_res), self.prompt_size)
        return self._refiner(image, low_res, maps)

    @contextmanager
    def checking(self, check: Callable[[], None]) -> Iterator[None]:
        """Call this before every block of the encoder, within the context."""
        self._check = check
        try:
            yield
        finally:
            self._check = _go_on


def _go_on() -> None:
    pass
