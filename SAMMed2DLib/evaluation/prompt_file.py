"""First prompts of objects in a file: drawn once, the same in all later evaluations, of whatever model.

    {"format": "SAMMed2D evaluation prompts", "version": 1, "objects": {
     "DATA SET/IMAGE/MASK": {"box": [x0, y0, x1, y1], "box ±10 %": [...], "1 click": [x, y], ...}, ...}}

Slice px; boxes are half-open. Further clicks are not in it: each goes to where the last mask is wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from SAMMed2DLib.data.dataset import LabelledImage
from SAMMed2DLib.data.sa_med2d import MaskedImage
from SAMMed2DLib.evaluation.evaluation_options import BOX, FILLED_BOX, REFERENCE, EvaluationError, EvaluationOptions
from SAMMed2DLib.evaluation.protocols.objects import Target, targets_of
from SAMMed2DLib.evaluation.protocols.simulated_user_protocol import boxes_of, first_clicks_of
from SAMMed2DLib.system.files import JsonError, StagedFiles, read_json

FORMAT, VERSION = "SAMMed2D evaluation prompts", 1

# Reads an image; None or an error where it cannot be used.
Read = Callable[[], LabelledImage | MaskedImage | None]


class PromptFile:
    """The prompts of such a file."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            EvaluationError: it cannot be read, or is another file.
        """
        self.path = path
        try:
            content = read_json(path)
        except (OSError, JsonError) as error:
            reason = getattr(error, "strerror", None) or error
            raise EvaluationError(f"{path}: cannot be read ({reason}); give another file for the prompts") from error
        objects = content.get("objects") if isinstance(content, dict) else None
        if not isinstance(objects, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
            raise EvaluationError(
                f"{path}: holds no prompts of an evaluation; give the name of a new file, and it will be written"
            )
        self._objects: dict[str, Any] = objects

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def given(self, target: Target, options: EvaluationOptions) -> Target:
        """The object with its prompts.

        Raises:
            EvaluationError: the file lacks them, they do not lie in the image, or the protocol takes none.
        """
        if options.protocol == REFERENCE:
            raise EvaluationError("the reference protocol draws its prompts in the model's frame; give no file of them")
        name = object_name(target)
        known = self._objects.get(name)
        wanted = [kind for kind in replace(options, clicks=(1,), baselines=False).kinds() if kind != FILLED_BOX]
        missing = [kind for kind in wanted if not isinstance(known, Mapping) or kind not in known]
        if missing or not isinstance(known, Mapping):
            raise EvaluationError(
                f"{self.path}: has no {missing[0]!r} of {name}; evaluate the same images with the same --jitter as "
                "when it was written, or name a new file"
            )
        return replace(target, given={kind: self._checked(known[kind], kind, target) for kind in wanted})

    def _checked(self, numbers: Any, kind: str, target: Target) -> np.ndarray:
        """Coordinates within the image, (4,) or (2,) float64."""
        count = 4 if kind.startswith(BOX) else 2
        height, width = target.mask.shape
        is_list = isinstance(numbers, list) and all(type(number) in (int, float) for number in numbers)
        if is_list and len(numbers) == count:
            found = np.array(numbers, np.float64)
            low, high = found[:2], found[-2:]
            is_box = count == 2 or bool((low < high).all())
            reach = (width, height) if count == 4 else (width - 0.5, height - 0.5)
            if is_box and (low >= (0 if count == 4 else -0.5)).all() and (high <= reach).all():
                return found
        words = "a box x0, y0, x1, y1" if count == 4 else "a point x, y"
        raise EvaluationError(
            f"{self.path}: {kind!r} of {object_name(target)} is not {words} in its image of {width} x {height} px; "
            "correct it, or name a new file"
        )


def object_name(target: Target) -> str:
    """What an object is called in the file."""
    return "/".join((target.entry.dataset, target.entry.image, target.entry.mask))


def first_prompts(target: Target, options: EvaluationOptions) -> dict[str, np.ndarray]:
    """Boxes (4,) and first clicks (2,) of an object, by the kind of prompt."""
    return {**boxes_of(target, options), **first_clicks_of(target, options)}


def write_prompts(path: Path, images: Iterable[Read], options: EvaluationOptions) -> None:
    """Draw the prompts of all objects of the images and write them to a file.

    Args:
        path: of the file.
        images: what cannot be read is left out.
        options: which kinds of prompts, and the seed of the draws.
    """
    lines = []
    for read in images:
        try:
            item = read()
        except (ValueError, OSError):  # it is listed when its turn comes
            continue
        for target in targets_of(item) if item is not None else ():
            drawn = {kind: numbers.tolist() for kind, numbers in first_prompts(target, options).items()}
            lines.append(f" {json.dumps(object_name(target))}: {json.dumps(drawn, ensure_ascii=False)}")
    head = f'{{"format": {json.dumps(FORMAT)}, "version": {VERSION}, "objects": {{'
    with StagedFiles() as staged:
        staged.place(path).write_text(head + "\n" + ",\n".join(lines) + "\n}}\n", encoding="utf-8")
