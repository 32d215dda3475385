"""The masks that a model found, kept as PNG files."""

from __future__ import annotations

import re
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from SAMMed2DLib.data.sa_med2d import MaskEntry
from SAMMed2DLib.evaluation.evaluation_options import FILLED_BOX, EvaluationError, EvaluationOptions
from SAMMed2DLib.plots.overlay import write_png

_NOT_IN_NAMES = re.compile(r'[<>:"|?*\\/\x00-\x1f]')


class MaskFolder:
    """A folder with one folder for each kind of prompt, in which masks are named as in their data set."""

    def __init__(self, folder: Path, options: EvaluationOptions) -> None:
        """Nothing is made before there is a mask.

        Args:
            folder: of all masks.
            options: whose kinds of prompts are kept; what needs no network is not.
        """
        self.folder = folder
        own = EvaluationOptions(
            clicks=options.clicks, box_jitters=options.box_jitters, click_jitters=options.click_jitters
        )
        self._kinds = set(own.kinds()) - {FILLED_BOX}

    def save(self, entry: MaskEntry, kind: str, mask: np.ndarray) -> None:
        """Write a mask as 0 and 255, if masks of this kind of prompt are kept.

        Args:
            entry: what the mask is of.
            kind: of prompt.
            mask: (H, W) bool.

        Raises:
            EvaluationError: it cannot be written.
        """
        if kind not in self._kinds:
            return
        path = self.path_of(entry, kind)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, np.where(mask, np.uint8(255), np.uint8(0)))
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise EvaluationError(f"{path}: the mask cannot be written ({reason}); the same command goes on") from error

    def path_of(self, entry: MaskEntry, kind: str) -> Path:
        """The file of a mask: below the folder, whatever its name in the data set is."""
        named = [entry.dataset, *PurePosixPath(entry.mask).parts]
        safe = [_NOT_IN_NAMES.sub("_", part).strip() for part in named]
        parts = [part for part in safe if part.strip("._ ")] or ["mask"]
        name = parts.pop()
        if [part for part in named if part] != [*parts, name]:  # two names may have become one
            name += f"-{zlib.crc32('/'.join(named).encode('utf-8', 'surrogatepass')):08x}"
        if not name.lower().endswith(".png"):
            name += ".png"
        return self.folder.joinpath(kind_folder(kind), *parts, name)


def kind_folder(kind: str) -> str:
    """The name of the folder of a kind of prompt: "box_10" for "box ±10 %"."""
    return kind.replace(" ±", "_").replace(" %", "").replace(" ", "_")
