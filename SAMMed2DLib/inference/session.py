"""Interactive work with one model: slices are encoded once, and prompts are answered step by step.

The answer depends on the slice and the prompts alone, not on the way there: prompts are taken in their order, a
box first, and each step refines the last one, as in the training. So prompts that were saved give the same mask
again, one that is moved or removed leaves no trace, and one that is added costs a single step.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DLib.imaging.image_keys import ImageKeys
from SAMMed2DLib.inference.interaction import Step, fixed_mask, model_request, prompt_steps, says_where, taken_over
from SAMMed2DLib.inference.prompts import PromptError, Prompts
from SAMMed2DLib.inference.scoring.mask_prediction import MaskPrediction, prediction_of

if TYPE_CHECKING:
    from SAMMed2DLib.inference.prediction import Embedding, Prediction
    from SAMMed2DLib.inference.predictor import Predictor
    from SAMMed2DLib.inference.zoom import ViewPrediction
    from SAMMed2DLib.proposals.ranking import Proposal

DEFAULT_CACHE_BYTES = 512 * 1024**2
# Slices whose prompts were answered last; each keeps a mask and logits for every step.
_KEPT_CHAINS = 32

ShouldStop = Callable[[], bool]


class Stopped(Exception):
    """The caller asked to stop; nothing was changed, and what was computed before is kept."""


class Session:
    """A model and what it has seen lately; to be used from one thread at a time."""

    def __init__(self, predictor: Predictor, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        """Begin with an empty cache.

        Args:
            predictor: the model.
            cache_bytes: the most that kept embeddings may take; the oldest go first.
        """
        self.predictor = predictor
        self.cache_bytes = cache_bytes
        self.encoded = 0
        self._embeddings: OrderedDict[bytes, Embedding] = OrderedDict()
        self._kept_bytes = 0
        self._chains: OrderedDict[tuple[bytes, bytes, bool], list[Step]] = OrderedDict()
        self._should_stop: ShouldStop | None = None
        self._on_coarse: Callable[[np.ndarray], None] | None = None
        self._keys = ImageKeys()

    @property
    def kept_bytes(self) -> int:
        """Memory of the embeddings that are kept."""
        return self._kept_bytes

    def is_encoded(self, image: np.ndarray) -> bool:
        """Whether this image, (H, W, 3) uint8, needs no encoding any more before a first click."""
        return _key_in_frame(self._keys.of(image), self._has_coarse) in self._embeddings

    def encode(self, image: np.ndarray, should_stop: ShouldStop | None = None, *, coarse: bool = True) -> None:
        """Encode an image ahead of its prompts.

        Args:
            image: (H, W, 3) uint8.
            should_stop: ends the work early; it is asked within every block of the network.
            coarse: as a first click needs it; else in the full frame.

        Raises:
            Stopped: `should_stop` said so.
        """
        with self._stopping(should_stop):
            self.embed([image], coarse=coarse)

    def answer(
        self,
        image: np.ndarray,
        prompts: Prompts,
        *,
        mask: np.ndarray | None = None,
        zoom: bool | None = None,
        candidates: bool = False,
        should_stop: ShouldStop | None = None,
        on_coarse: Callable[[np.ndarray], None] | None = None,
    ) -> MaskPrediction:
        """Segment one object, or correct its mask: the one way from prompts to a mask that all of the product uses.

        Positive points are inside the mask that comes out, negative ones outside, unless nothing at all was found. A
        negative point takes away and never adds; a positive one adds what is connected with it, and takes nothing away.
        What a scribble runs over is inside, or outside, also where nothing else was found; so is all that a lasso
        outside goes around. A lasso inside is a box with a mask in it, and nothing beyond it is found.
        Where a candidate was chosen (`Prompts.with_candidate`), the next prompt goes on from that mask and its logits.

        Args:
            image: (H, W, 3) uint8, the slice.
            prompts: in slice px, in the order in which they were given; without logits.
            mask: (H, W) bool, slice px: a mask that is there already, of whatever origin, to be corrected. It is given
                to the model with the first prompt; each point changes only what is connected with it, a box only what
                is in it, so all else stays as it was. Negative points alone are prompts enough then. An empty one
                counts as None.
            zoom: predict on crops around the prompts; None does what the weights were trained for.
            candidates: also draw the other masks that the prompts may mean; nothing is encoded for them.
            should_stop: ends the work early.
            on_coarse: is given the coarse mask of a first click, (H, W) bool, slice px, to be shown until the answer is
                there; not called where there is no such look, nothing was found, or more prompts came since.

        Returns:
            the mask of the object; with `mask`, all of the corrected mask.

        Raises:
            CandidateError: there is no candidate of a number that was chosen.
            PromptError: the prompts do not fit the slice or contradict each other, there is none, or none says where
                the object is; the mask has another size than the slice.
            Stopped: `should_stop` said so.
        """
        size_hw = (image.shape[0], image.shape[1])
        prompts = replace(prompts, low_res_logits=None).checked(size_hw)
        known = None if mask is None else _known_mask(mask, size_hw)
        zoomed = self.predictor.prefers_zoom if zoom is None else zoom
        before = self.encoded
        steps = list(prompt_steps(prompts, known is not None))
        with self._stopping(should_stop, on_coarse if len(steps) == 1 else None):
            step = self._refined(image, steps, known, zoomed, candidates)
        # A mask of another origin is not what calibrations are fitted on, however it is corrected.
        calibration = self.predictor.score_calibration if known is None else None
        return prediction_of(step, self.encoded - before, candidates, calibration)

    def answer_many(
        self,
        image: np.ndarray,
        prompts: Sequence[Prompts],
        *,
        zoom: bool | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[MaskPrediction]:
        """Segment several objects of one slice, each by itself as by `answer`; arguments and errors as there.

        Args:
            image: (H, W, 3) uint8, the slice.
            prompts: one for each object, px of the slice.
            zoom: look at crops; None does what the weights were trained for.
            should_stop: ends the work early.

        Returns:
            in the order of the prompts.
        """
        return [self.answer(image, prompt, zoom=zoom, should_stop=should_stop) for prompt in prompts]

    def answer_pairs(
        self,
        pairs: Sequence[tuple[np.ndarray, Prompts]],
        *,
        ahead: Sequence[np.ndarray] = (),
        should_stop: ShouldStop | None = None,
    ) -> list[Prediction]:
        """Find objects on several images, each in one step and on the whole image.

        Args:
            pairs: an image, (H, W, 3) uint8, and prompts in its px; logits count.
            ahead: images that are needed soon; they are encoded in the same batch, once there is one to encode.
            should_stop: ends the work early.

        Raises:
            PromptError: the prompts do not fit the image or contradict each other.
            Stopped: `should_stop` said so.
        """
        with self._stopping(should_stop):
            embeddings = self._embedded([image for image, _ in pairs], ahead)
            return self.decode_pairs([(each, prompts) for each, (_, prompts) in zip(embeddings, pairs, strict=True)])

    def draw_all(
        self,
        image: np.ndarray,
        prompts: Sequence[Prompts],
        *,
        coarse: bool = False,
        should_stop: ShouldStop | None = None,
    ) -> list[list[Prediction]]:
        """All masks that the network draws of many objects on one image, each in one step, decoded in batches.

        Args:
            image: (H, W, 3) uint8.
            prompts: one for each object, px of the image.
            coarse: see the image as a first click does; else in the full frame.
            should_stop: ends the work early.

        Raises:
            PromptError: the prompts do not fit the image or contradict each other.
            Stopped: `should_stop` said so.
        """
        with self._stopping(should_stop):
            (embedding,) = self.embed([image], coarse=coarse)
            self._check_stop()
            return self.predictor.predict_all_many(embedding, prompts)

    def everything(self, image: np.ndarray, **options: Any) -> list[Proposal]:
        """Propose all objects of an image, (H, W, 3) uint8, the surest first; options as of `propose_objects`."""
        from SAMMed2DLib.proposals.everything import propose_objects

        return propose_objects(self, image, **options)

    def forget(self) -> None:
        """Free the memory of all embeddings and answers."""
        self._embeddings.clear()
        self._chains.clear()
        self._kept_bytes = 0

    # What `zoom` asks of a model

    def embed(self, images: Sequence[np.ndarray], *, coarse: bool = False) -> list[Embedding]:
        """An embedding of each image, of the cache or encoded as one batch; see `Predictor.embed`."""
        return self._embedded(images, coarse=coarse and self._has_coarse)

    def predict(self, embedding: Embedding, prompts: Prompts) -> Prediction:
        """Decode one object."""
        self._check_stop()
        return self.predictor.predict(embedding, prompts)

    def decode_pairs(self, pairs: Sequence[tuple[Embedding, Prompts]]) -> list[Prediction]:
        """Decode one object on each of several embeddings, in as few batches as may be."""
        self._check_stop()
        return self.predictor.decode_pairs(pairs)

    def predict_all(self, embedding: Embedding, prompts: Prompts) -> list[Prediction]:
        """Decode all masks of one object."""
        self._check_stop()
        return self.predictor.predict_all(embedding, prompts)

    @property
    def has_refiner(self) -> bool:
        """Whether the network draws outlines itself."""
        return self.predictor.has_refiner

    @property
    def click_scales(self) -> tuple[float, ...]:
        """Sides of the crops on which a first click is answered, of the slice's longer side."""
        return self.predictor.click_scales

    @property
    def coarse_size(self) -> int | None:
        """Side of the frame in which those crops are seen, px; None: the full frame."""
        return self.predictor.coarse_size

    def refine(self, prediction: Prediction, image: np.ndarray, prompts: Prompts) -> np.ndarray:
        """Draw an outline by the network's refiner: (H, W) logits.

        Args:
            prediction: the coarse one, of this image and these prompts.
            image: (H, W, 3) uint8.
            prompts: px of the image.
        """
        return self.predictor.refine(prediction, image, prompts)

    def mask_prompt(self, logits_hw: np.ndarray) -> np.ndarray:
        """Turn logits of a slice, (H, W), into `Prompts.low_res_logits`."""
        return self.predictor.mask_prompt(logits_hw)

    @property
    def _has_coarse(self) -> bool:
        """Whether first clicks look at coarse views."""
        return self.predictor.prefers_zoom and self.predictor.coarse_size is not None

    def _embedded(
        self, images: Sequence[np.ndarray], ahead: Sequence[np.ndarray] = (), coarse: bool = False
    ) -> list[Embedding]:
        """Embeddings of images; what is not in the cache is encoded as one batch, with those that are needed soon."""
        keys = [_key_in_frame(key, coarse) for key in self._keys.of_each(images)]
        missing = {key: image for key, image in zip(keys, images, strict=True) if key not in self._embeddings}
        for key in keys:
            if key not in missing:
                self._embeddings.move_to_end(key)
        if missing:
            soon = {_key_in_frame(self._keys.of(image), coarse): image for image in ahead}
            missing.update((key, image) for key, image in soon.items() if key not in self._embeddings)
            self._check_stop()
            encoded = self.predictor.embed(list(missing.values()), coarse=coarse)
            self._embeddings.update(zip(missing, encoded, strict=True))
            self.encoded += len(missing)
            self._kept_bytes += encoded.nbytes
        found = [self._embeddings[key] for key in keys]
        while self._kept_bytes > self.cache_bytes and len(self._embeddings) > 1:
            self._kept_bytes -= self._embeddings.popitem(last=False)[1].nbytes
        return found

    def _refined(
        self, image: np.ndarray, steps: list[Prompts], known: np.ndarray | None, zoomed: bool, with_candidates: bool
    ) -> Step:
        """Take the steps that were not taken the last time on this slice, from a known mask or from nothing."""
        from SAMMed2DLib.inference.candidates import candidates_of
        from SAMMed2DLib.inference.zoom import ViewPrediction

        start = None if known is None else ViewPrediction.of_mask(known)
        key = (self._keys.of(image), b"" if known is None else np.packbits(known).tobytes(), zoomed)
        chain = self._chains.pop(key, [])
        same = 0
        while same < min(len(chain), len(steps)) and chain[same].prompts == steps[same]:
            same += 1
        if same < min(len(chain), len(steps)) and chain[same].is_of(steps[same]):
            chain[same].prompts = steps[same]  # only another candidate is taken
            same += 1
        del chain[same:]
        self._chains[key] = chain  # what is done stays, also when the rest is stopped
        while len(self._chains) > _KEPT_CHAINS:
            self._chains.popitem(last=False)
        for n, prompts in enumerate(steps):
            before = chain[n - 1].taken if n else start
            finish = partial(taken_over, before, prompts, fixed_mask(chain[:n], prompts, known))
            if n == len(chain):
                chain.append(Step(prompts, self._found(image, prompts, before, known is not None, zoomed, finish)))
            is_asked = prompts.candidate is not None or (with_candidates and n == len(steps) - 1)
            if is_asked and not chain[n].candidates:
                chain[n].candidates = candidates_of(self, image, chain[n].found, zoomed, finish)
        return chain[-1]

    def _found(
        self,
        image: np.ndarray,
        prompts: Prompts,
        before: ViewPrediction | None,
        is_correction: bool,
        zoomed: bool,
        finish: Callable[[ViewPrediction], ViewPrediction],
    ) -> ViewPrediction:
        """Take one step; it changes nothing outside of what the model saw of the slice."""
        from SAMMed2DLib.inference.zoom import predict_whole, predict_zoomed

        def tell(coarse: ViewPrediction) -> None:
            if self._on_coarse is not None and (mask := finish(coarse).mask).any():
                self._on_coarse(mask)

        predict = partial(predict_zoomed, on_coarse=tell) if zoomed else predict_whole
        if is_correction and before is not None and not (before.mask.any() or says_where(prompts)):
            return before  # all of the mask was taken away
        given, refined = model_request(before, prompts, is_correction, (image.shape[0], image.shape[1]))
        return finish(predict(self, image, given, refined))

    @contextmanager
    def _stopping(
        self, should_stop: ShouldStop | None, on_coarse: Callable[[np.ndarray], None] | None = None
    ) -> Iterator[None]:
        """Ask `should_stop` before every block of the encoder and every step; tell coarse masks."""
        self._should_stop, self._on_coarse = should_stop, on_coarse
        try:
            with nullcontext() if should_stop is None else self.predictor.checking(self._check_stop):
                yield
        finally:
            self._should_stop = self._on_coarse = None

    def _check_stop(self) -> None:
        if self._should_stop is not None and self._should_stop():
            raise Stopped


def _known_mask(mask_hw: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray | None:
    """A mask that is there already, (H, W) bool; None for an empty one."""
    if np.shape(mask_hw) != size_hw:
        raise PromptError(
            f"the mask to be corrected has {np.shape(mask_hw)} pixels, the slice {size_hw}: take that of the same slice"
        )
    known = np.asarray(mask_hw) != 0
    return known if known.any() else None


def _key_in_frame(key: bytes, coarse: bool) -> bytes:
    """The key of an embedding: one image has one in each frame."""
    return key + b"coarse" if coarse else key
