"""Many images, one after another: what is broken is listed and left out, what is done is not done again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from SAMMed2DLib.data.dataset import LabelledImage
from SAMMed2DLib.data.sa_med2d import DatasetError, ImageEntry, MaskedImage
from SAMMed2DLib.evaluation.evaluation_options import EvaluationError, EvaluationOptions
from SAMMed2DLib.evaluation.image_evaluation import evaluate_image
from SAMMed2DLib.evaluation.prompt_file import PromptFile
from SAMMed2DLib.evaluation.protocols.objects import Target, targets_of
from SAMMed2DLib.evaluation.result_file import ResultFile, columns_of
from SAMMed2DLib.evaluation.saved_masks import MaskFolder
from SAMMed2DLib.evaluation.scores import ComparedModel, ObjectResult, Peer
from SAMMed2DLib.evaluation.speed import Speed, measure, measure_peer
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.system.files import StagedFiles, remove_leftovers
from SAMMed2DLib.system.locks import sole_use

MASKS_FILE, SETTINGS_FILE = "masks.csv", "settings.json"
REPORT, SUMMARY, SHEET = "report.md", "summary", "sheet"
PICTURES = {
    "dice_by_prompt": "Dice by prompt",
    "jitter_curve": "Dice of inexact prompts",
    "clicks_curve": "Dice against clicks",
    "size_plot": "Dice by size",
}
REPORT_FILES = (REPORT, f"{SUMMARY}.json", f"{SUMMARY}.csv", *(f"{name}.png" for name in (*PICTURES, SHEET)))
_TIMED_IMAGES = 20


@dataclass(frozen=True)
class Problem:
    """An image or mask that was left out, and why."""

    name: str
    reason: str


Complain = Callable[[Problem], None]


@dataclass(frozen=True)
class Source:
    """One image to be read.

    Attributes:
        dataset: the data set that it is from.
        image: its name.
        masks: names of its masks; None if only reading tells.
        read: reads it, and tells of masks that cannot be used; None if nothing of it can be.
    """

    dataset: str
    image: str
    masks: tuple[str, ...] | None
    read: Callable[[Complain], LabelledImage | MaskedImage | None]

    @classmethod
    def of_entry(cls, entry: ImageEntry) -> Source:
        """An image of a folder."""
        names = tuple(mask.mask for mask in entry.masks)
        return cls(entry.masks[0].dataset, entry.image, names, partial(_read_entry, entry))

    @classmethod
    def of_image(cls, item: LabelledImage | MaskedImage) -> Source:
        """An image that is read already."""
        if isinstance(item, MaskedImage):
            names = tuple(entry.mask for entry in item.entries)
            return cls(item.entries[0].dataset, item.entries[0].image, names, lambda complain: item)
        return cls(item.dataset, item.name, None, lambda complain: item)


def _read_entry(entry: ImageEntry, complain: Complain) -> MaskedImage | None:
    """One broken mask costs only itself."""
    try:
        return entry.read()
    except DatasetError:
        parts = [part for mask in entry.masks if (part := _read_mask(entry, mask.mask, complain)) is not None]
    if not parts:
        return None
    masks = np.concatenate([part.masks for part in parts])
    return MaskedImage(parts[0].image, masks, tuple(part.entries[0] for part in parts))


def _read_mask(entry: ImageEntry, mask: str, complain: Complain) -> MaskedImage | None:
    try:
        only = tuple(mask_entry for mask_entry in entry.masks if mask_entry.mask == mask)
        return replace(entry, masks=only).read()
    except DatasetError as error:
        complain(Problem(mask, str(error)))
        return None


def thinned(sources: Sequence[Source], most: int | None) -> list[Source]:
    """At most so many images of each data set, evenly spread over it; None for all."""
    if most is None:
        return list(sources)
    of_set: dict[str, list[int]] = {}
    for number, source in enumerate(sources):
        of_set.setdefault(source.dataset, []).append(number)
    kept: set[int] = set()
    for numbers in of_set.values():
        count = min(most, len(numbers))
        kept.update(numbers[len(numbers) * i // count] for i in range(count))
    return [source for number, source in enumerate(sources) if number in kept]


@dataclass
class EvaluationRun:
    """An evaluation whose results are in a folder.

    Attributes:
        folder: holds the results and, at the end, the report.
        options: how objects are prompted and scored.
        settings: what else must be the same for a run to go on.
        results: so far, those of earlier runs in this folder among them.
        problems: what was left out.
        speeds: of the model and its peers.
        prompts: the boxes and first clicks; None draws them.
        masks: keeps the masks that the model finds.
    """

    folder: Path
    options: EvaluationOptions
    settings: dict[str, Any]
    results: list[ObjectResult] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    speeds: list[Speed] = field(default_factory=list)
    prompts: PromptFile | None = None
    masks: MaskFolder | None = None

    def go(
        self,
        predictor: Predictor,
        sources: Sequence[Source],
        peers: Sequence[Peer] = (),
        progress: Callable[[int, int], None] = lambda done, total: None,
        compared: Sequence[ComparedModel] = (),
    ) -> bool:
        """Evaluate all images.

        Args:
            predictor: the model.
            sources: the images.
            peers: other models, that get the same boxes.
            progress: called with the numbers of images done and of all.
            compared: other models, that are asked by the same protocol.

        Returns:
            False if it was interrupted (KeyboardInterrupt); what is done is kept.

        Raises:
            EvaluationError: the folder holds results of other settings.
        """
        self._check_settings()
        columns = columns_of(self.options, [peer.name for peer in peers], [model.name for model in compared])
        with ResultFile(self.folder / MASKS_FILE, columns) as file:
            self.results = file.results
            wanted = [source for source in sources if self._is_open(source)]
            try:
                self.speeds = measure_speeds(predictor, peers, sources, compared)
                for number, source in enumerate(wanted):
                    progress(len(sources) - len(wanted) + number, len(sources))
                    self._evaluate(predictor, source, peers, compared, file)
                progress(len(sources), len(sources))
            except KeyboardInterrupt:
                return False
        return True

    def _is_open(self, source: Source) -> bool:
        return source.masks is None or not self._done(source).issuperset(source.masks)

    def _done(self, source: Source) -> set[str]:
        of_image = (source.dataset, source.image)
        return {result.entry.mask for result in self.results if (result.dataset, result.image) == of_image}

    def _evaluate(
        self,
        predictor: Predictor,
        source: Source,
        peers: Sequence[Peer],
        compared: Sequence[ComparedModel],
        file: ResultFile,
    ) -> None:
        for result in self._results_of(predictor, source, peers, compared):
            file.add(result)  # what goes wrong here, as on a full disk, is not the image's fault

    def _results_of(
        self, predictor: Predictor, source: Source, peers: Sequence[Peer], compared: Sequence[ComparedModel]
    ) -> Iterator[ObjectResult]:
        try:
            item = source.read(self.problems.append)
            if item is not None:
                yield from evaluate_image(
                    predictor,
                    item,
                    self.options,
                    peers,
                    self._done(source),
                    self._skipped,
                    compared,
                    self.prompts,
                    self.masks,
                )
        except EvaluationError:
            raise
        except (ValueError, OSError) as error:
            self.problems.append(Problem(source.image, " ".join(str(error).split())))

    def _skipped(self, target: Target, error: EvaluationError) -> None:
        self.problems.append(Problem(target.entry.mask, str(error)))

    def _check_settings(self) -> None:
        """Write down how results come about, or see that earlier ones came about in the same way."""
        path, text = self.folder / SETTINGS_FILE, json.dumps(self.settings, indent=1) + "\n"
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") != text:
            raise EvaluationError(f"{path} is of an evaluation with other settings; give another folder, or --restart")
        with StagedFiles() as staged:
            staged.place(path).write_text(text, encoding="utf-8")


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Make a report folder, keep other evaluations out of it, and remove what a killed one had begun to write.

    Raises:
        FileBusyError: another one is using it.
        OSError: it cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with sole_use(folder / MASKS_FILE) as is_sole:
        if is_sole:
            remove_leftovers(*(folder / name for name in (SETTINGS_FILE, *REPORT_FILES)))
        yield


def discard(folder: Path) -> None:
    """Remove the results in a report folder; the settings go last, for they say what the results are."""
    for name in (MASKS_FILE, SETTINGS_FILE):
        (folder / name).unlink(missing_ok=True)


def measure_speeds(
    predictor: Predictor, peers: Sequence[Peer], sources: Iterable[Source], compared: Sequence[ComparedModel] = ()
) -> list[Speed]:
    """Time the model and the other ones on the first object of up to 20 images, spread over all of them.

    Args:
        predictor: the model.
        peers: other models, which are given the same boxes.
        sources: all images; those that cannot be read are passed over.
        compared: other models, that are asked by the same protocol.
    """
    listed = list(sources)
    count = min(_TIMED_IMAGES, len(listed))
    samples = []
    for source in (listed[len(listed) * i // count] for i in range(count)):
        try:
            item = source.read(lambda problem: None)
        except (ValueError, OSError):  # it is listed when its turn comes
            continue
        target = next(targets_of(item), None) if item is not None else None
        if item is not None and target is not None:
            samples.append((item.image, target.extent_xyxy))
    if not samples:
        return []
    predictors = dict.fromkeys([predictor, *(model.predictor for model in compared)])
    speeds = [measure(predictor, samples) for predictor in predictors]
    return speeds + [measure_peer(peer, samples) for peer in peers]
