"""Keys of images, by what is in them, under which a session keeps what it has computed."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Sequence

import numpy as np


class ImageKeys:
    """What the model sees, as a key: other intensities, another volume or another time point are another key."""

    def __init__(self) -> None:
        """Know no image yet."""
        self._known: dict[int, tuple[weakref.ref[np.ndarray], bytes]] = {}

    def of_each(self, images: Sequence[np.ndarray]) -> list[bytes]:
        """The keys of images, (H, W, 3) uint8 each; one that comes several times is read once."""
        keys = {id(image): self.of(image) for image in {id(image): image for image in images}.values()}
        return [keys[id(image)] for image in images]

    def of(self, image: np.ndarray) -> bytes:
        """The key of an image; one that cannot change, since it owns its pixels and is read-only, is read once."""
        known = self._known.get(id(image))
        if known is not None and known[0]() is image:
            return known[1]
        digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(image).data)
        key = digest.digest()
        if image.base is None and not image.flags.writeable:
            number = id(image)
            self._known[number] = (weakref.ref(image, lambda _: self._known.pop(number, None)), key)
        return key
