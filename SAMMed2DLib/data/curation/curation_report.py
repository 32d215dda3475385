"""The report of a curated folder: counts, sizes of masks, a contact sheet of samples, and what was left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from SAMMed2DLib.data.curation.curation_run import Curated
from SAMMed2DLib.data.curation.records import REPORT, SAMPLES, SIZES, ImageRecord
from SAMMed2DLib.data.sa_med2d import SPLITS, ImageEntry, MaskEntry
from SAMMed2DLib.io.segmentation_io import SEGMENT_COLORS
from SAMMed2DLib.plots.charts import bar_chart
from SAMMed2DLib.plots.contact_sheet import contact_sheet
from SAMMed2DLib.plots.figure import missing
from SAMMed2DLib.plots.overlay import MaskLayer, draw_slice, write_png
from SAMMed2DLib.plots.slice_view import SliceView
from SAMMed2DLib.system.files import StagedFiles

_SHARES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.01)  # of the frame
_SHARE_NAMES = ("under 0.3", "0.3-1", "1-3", "3-10", "10-30", "over 30")
_SAMPLES, _SAMPLE_PX = 24, 480
_LOOKED_AT = 3000
_MOST_LINES = 200


def write_report(folder: Path, curated: Curated, unpaired: Sequence[str] = ()) -> None:
    """Write report.md, and where matplotlib is installed mask_sizes.png and samples.png.

    Args:
        folder: the curated one.
        curated: what the run did.
        unpaired: files of the input that belong to nothing.
    """
    entries = curated.assembly.entries
    images = {image.image: image for record in curated.records.values() for image in record.images}
    if not missing():
        write_png(folder / SIZES, size_chart(entries, images))
        write_png(folder / SAMPLES, sample_sheet(folder, entries))
    text = "\n".join(_lines(curated, unpaired, images)) + "\n"
    with StagedFiles() as staged:
        staged.place(folder / REPORT).write_text(text, encoding="utf-8")


def size_chart(entries: Sequence[MaskEntry], images: Mapping[str, ImageRecord]) -> np.ndarray:
    """The number of masks by the share of the frame that they cover, (H, W, 3) uint8."""
    shares = np.array([_share(entry, images) for entry in entries])
    whole = np.array([entry.instance == 0 for entry in entries], bool)
    counts = {
        "whole classes": np.histogram(shares[whole], _SHARES)[0],
        "single parts of a class": np.histogram(shares[~whole], _SHARES)[0],
    }
    return bar_chart(_SHARE_NAMES, counts, "Sizes of masks", "% of the frame", "masks", numbers=True)


def _share(entry: MaskEntry, images: Mapping[str, ImageRecord]) -> float:
    height, width = images[entry.image].size_hw
    return entry.area_px / (height * width)


# --- samples ------------------------------------------------------------------------------------------------


def sample_sheet(folder: Path, entries: Sequence[MaskEntry]) -> np.ndarray:
    """Some images with their masks, of as many data sets and classes as possible; (H, W, 3) uint8."""
    by_image: dict[str, list[MaskEntry]] = defaultdict(list)
    for entry in entries:
        by_image[entry.image].append(entry)
    chosen = [ImageEntry(folder, image, tuple(by_image[image])) for image in _samples(by_image)]
    return contact_sheet([_sample(entry) for entry in chosen], [_caption(entry) for entry in chosen], columns=6)


def _samples(by_image: Mapping[str, Sequence[MaskEntry]]) -> list[str]:
    """Images in an order that changes data set, axis and class as often as it can."""
    names = list(by_image)
    left = [names[place] for place in np.random.default_rng(0).permutation(len(names))[:_LOOKED_AT]]
    kinds = {image: _kinds(by_image[image]) for image in left}
    seen: Counter[object] = Counter()
    chosen: list[str] = []
    while left and len(chosen) < _SAMPLES:
        # How often what an image shows was seen before: its data set, then its axis, then its rarest class.
        best = min(left, key=lambda image: [min(seen[kind] for kind in group) for group in kinds[image]])
        left.remove(best)
        chosen.append(best)
        seen.update(kind for group in kinds[best] for kind in group)
    return sorted(chosen)


def _kinds(entries: Sequence[MaskEntry]) -> tuple[set[object], ...]:
    first = entries[0]
    return (
        {("set", first.dataset)},
        {("cut", first.dataset, first.case, first.axis)},
        {("class", entry.anatomy) for entry in entries},
    )


def _sample(entry: ImageEntry) -> np.ndarray:
    read = entry.read()
    height, width = read.image.shape[:2]
    scale = _SAMPLE_PX / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    view = SliceView(False, (False, False), (size[1] / width, size[0] / height), size, ("", ""))
    layers = [
        MaskLayer(mask, SEGMENT_COLORS[number % len(SEGMENT_COLORS)])
        for number, (mask, mask_entry) in enumerate(zip(read.masks, read.entries, strict=True))
        if mask_entry.instance == 0
    ]
    return draw_slice(read.image, view, layers, letters=False)


def _caption(entry: ImageEntry) -> str:
    first = entry.masks[0]
    classes = sorted({mask.anatomy for mask in entry.masks})
    place = f"{first.axis} {first.slice}" if first.axis else "2D"
    return f"{first.dataset}\n{first.case}, {first.split}, {place}\n{', '.join(classes)}"


# --- text ---------------------------------------------------------------------------------------------------


def _lines(curated: Curated, unpaired: Sequence[str], images: Mapping[str, ImageRecord]) -> Iterator[str]:
    entries = curated.assembly.entries
    yield "# Curated data"
    yield ""
    yield totals(curated)
    yield ""
    yield from _table("split", entries, lambda entry: entry.split, SPLITS)
    yield from _table("data set", entries, lambda entry: entry.dataset)
    yield from _table("modality", entries, lambda entry: entry.modality or "unknown")
    yield from _table("axis", entries, lambda entry: entry.axis or "2D")
    yield from _table("class", entries, lambda entry: entry.anatomy or "unknown")
    if reason := missing():
        yield from (f"The pictures are left out: {reason}", "")
    else:
        yield from ("## Sizes of masks", "", f"![]({SIZES})", "", "## Samples", "", f"![]({SAMPLES})", "")
    yield from _left_out(curated, entries)
    yield from _list("Cases that failed", [f"{place}: {error}" for place, error in sorted(curated.failed.items())])
    yield from _list("Files left unpaired", unpaired)
    yield from _list("Notes", notes(curated))


def totals(curated: Curated) -> str:
    """One sentence on what there is."""
    entries = curated.assembly.entries
    cases = len({(entry.dataset, entry.case) for entry in entries})
    return (
        f"{_count(cases, 'case')}, {_count(len({entry.image for entry in entries}), 'image')}, "
        f"{_count(len(entries), 'mask')} of {_count(len({entry.anatomy for entry in entries}), 'class', 'classes')}; "
        f"{_count(len(curated.failed), 'case')} failed"
    )


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _table(
    title: str, entries: Iterable[MaskEntry], kind: Callable[[MaskEntry], str], order: Sequence[str] = ()
) -> Iterator[str]:
    groups: dict[str, list[MaskEntry]] = defaultdict(list)
    for entry in entries:
        groups[kind(entry)].append(entry)
    names = [name for name in order if name in groups] or sorted(groups, key=lambda name: (-len(groups[name]), name))
    yield f"| {title} | cases | images | masks |"
    yield "|---|---:|---:|---:|"
    for name in names[:_MOST_LINES]:
        cases = {(entry.dataset, entry.case) for entry in groups[name]}
        yield f"| {name} | {len(cases)} | {len({entry.image for entry in groups[name]})} | {len(groups[name])} |"
    if len(names) > _MOST_LINES:
        yield f"| {len(names) - _MOST_LINES} more, see manifest.tsv | | | |"
    yield ""


def left_out(curated: Curated) -> Counter[str]:
    """How many slices and masks were not kept, by reason."""
    dropped: Counter[str] = Counter()
    for record in curated.records.values():
        dropped.update(record.dropped)
    if curated.assembly.repeated:
        dropped["images that another case has too"] = len(curated.assembly.repeated)
    return dropped


def _left_out(curated: Curated, entries: Sequence[MaskEntry]) -> Iterator[str]:
    yield from ("## Left out", "")
    yield from [f"- {count} {reason}" for reason, count in sorted(left_out(curated).items())] or ["Nothing."]
    if curated.assembly.handed_over:
        yield f"- {curated.assembly.handed_over} masks of images that another case has too went to that case's image"
    yield ""


def notes(curated: Curated) -> list[str]:
    """What a user should know, each with the case that it is about."""
    of_cases = [f"{place}: {note}" for place, record in sorted(curated.records.items()) for note in record.notes]
    others = len(curated.others)
    of_others = [f"{_count(others, 'case')} of earlier runs in this folder left out: {', '.join(curated.others[:5])}"]
    return [*curated.assembly.notes, *(of_others if others else []), *of_cases]


def _list(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield from (f"## {title}", "")
        yield from (f"- {line}" for line in lines)
        yield ""
