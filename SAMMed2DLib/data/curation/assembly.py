"""From the records of all cases to the list of masks: splits, and images that occur in two cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from SAMMed2DLib.data.curation.curation_options import Shares
from SAMMed2DLib.data.curation.duplicates import Groups, same_images
from SAMMed2DLib.data.curation.records import CaseRecord, ImageRecord
from SAMMed2DLib.data.curation.sources.cases import Case, CurationError
from SAMMed2DLib.data.sa_med2d import SPLITS, TEST, TRAIN, VALIDATION, MaskEntry

Key = tuple[str, str]  # data set and case
# Where the same image is in several splits, because a table says so, what tests is kept.
_KEPT_FIRST = tuple(reversed(SPLITS))


@dataclass
class Assembly:
    """All masks of a curated folder.

    Attributes:
        entries: lines of the manifest.
        repeated: images that were left out because another case has them, and that other image.
        handed_over: masks of such images that went to the other one.
        notes: what a user should know.
    """

    entries: list[MaskEntry] = field(default_factory=list)
    repeated: dict[str, str] = field(default_factory=dict)
    handed_over: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _SliceImage:
    case: Case
    record: CaseRecord
    image: ImageRecord

    @property
    def key(self) -> Key:
        return self.case.dataset, self.case.case

    def entries(self, split: str) -> list[MaskEntry]:
        """Its lines of the manifest."""
        return [
            MaskEntry(
                mask.mask,
                self.image.image,
                split,
                self.case.dataset,
                self.record.modality,
                mask.anatomy,
                self.case.case,
                self.image.axis,
                self.image.slice,
                mask.instance,
                mask.area_px,
                self.case.source or self.case.image.name,
                mask.sha256,
            )
            for mask in self.image.masks
        ]


def assemble(cases: Sequence[Case], records: Mapping[str, CaseRecord], shares: Shares) -> Assembly:
    """Give every case its split, and keep only one of images that are the same.

    Args:
        cases: in any order.
        records: of those that went well, by place.
        shares: of the splits.
    Raises:
        CurationError: a table puts one case into two splits.
    """
    slice_images = list(_slice_images(cases, records))
    images = _same(slice_images)
    result = Assembly()
    splits = _splits(slice_images, images, shares, result)
    slice_images.sort(key=lambda slice_image: _KEPT_FIRST.index(splits[slice_image.key]))
    _add_slice_images(slice_images, images, splits, result)
    _note_empty_splits(shares, result)
    return result


def _slice_images(cases: Sequence[Case], records: Mapping[str, CaseRecord]) -> Iterator[_SliceImage]:
    for case in sorted(cases, key=lambda case: (case.dataset, case.case, case.name)):
        if case.place in records:
            yield from (_SliceImage(case, records[case.place], image) for image in records[case.place].images)


def _same(slice_images: Sequence[_SliceImage]) -> Groups:
    """Images of different cases that look the same, or that are the same under different windows."""
    images = Groups()
    first_of: dict[str, _SliceImage] = {}
    for slice_image in slice_images:
        first = first_of.setdefault(slice_image.image.stored, slice_image)
        if first.key != slice_image.key:
            images.join(slice_image.image.image, first.image.image)
    keys = [slice_image.key for slice_image in slice_images]
    sizes = [slice_image.image.size_hw for slice_image in slice_images]
    for lower, higher in same_images([slice_image.image.small for slice_image in slice_images], keys, sizes):
        images.join(slice_images[higher].image.image, slice_images[lower].image.image)
    return images


def _add_slice_images(
    slice_images: Sequence[_SliceImage], images: Groups, splits: Mapping[Key, str], result: Assembly
) -> None:
    kept: dict[object, _SliceImage] = {}
    its_entries: dict[object, list[MaskEntry]] = {}
    for slice_image in slice_images:
        entries = slice_image.entries(splits[slice_image.key])
        first = kept.setdefault(images.root(slice_image.image.image), slice_image)
        if first.key == slice_image.key:
            its_entries.setdefault(_pixels(slice_image), entries)
            result.entries += entries
            continue
        same = its_entries.get(_pixels(slice_image))  # of the images that look the same, the one with the same pixels
        result.repeated[slice_image.image.image] = same[0].image if same else first.image.image
        if same:
            moved = list(_handed_over(entries, same))
            same += moved
            result.entries += moved
            result.handed_over += len(moved)


def _pixels(slice_image: _SliceImage) -> object:
    return slice_image.image.stored, slice_image.image.size_hw


def _handed_over(entries: Sequence[MaskEntry], kept: Sequence[MaskEntry]) -> Iterator[MaskEntry]:
    """Masks of classes that the image kept lacks, as masks of that image."""
    classes, its = {entry.anatomy for entry in kept}, kept[0]
    place = {name: getattr(its, name) for name in ("image", "split", "dataset", "case", "axis", "slice")}
    yield from (replace(entry, **place) for entry in entries if entry.anatomy not in classes)


# --- splits -------------------------------------------------------------------------------------------------


def _splits(slice_images: Sequence[_SliceImage], images: Groups, shares: Shares, result: Assembly) -> dict[Key, str]:
    """The split of each case; cases that share images have the same, so that nothing leaks."""
    fixed = _fixed(slice_images)
    groups = Groups()
    first_of: dict[object, Key] = {}
    for slice_image in slice_images:
        first = first_of.setdefault(images.root(slice_image.image.image), slice_image.key)
        if first != slice_image.key:
            groups.join(slice_image.key, first)
    members: dict[object, list[Key]] = {}
    for key in dict.fromkeys(slice_image.key for slice_image in slice_images):
        members.setdefault(groups.root(key), []).append(key)
    splits: dict[Key, str] = {}
    for keys in members.values():
        splits |= _split_together(sorted(keys), fixed, shares, result)
    together = [sorted(keys) for keys in members.values()]
    for split in _KEPT_WHEN_FILLING:
        if shares.share_of(split) and split not in splits.values():
            _fill(split, together, fixed, splits, shares, result)
    return splits


# With few cases a split may be empty by chance. Then it gets some from the others, of which so many stay: first of all
# there is something to train on, then to test on, then to validate on.
_KEPT_WHEN_FILLING = {
    TRAIN: {TEST: 0, VALIDATION: 0},
    TEST: {TRAIN: 1, VALIDATION: 0},
    VALIDATION: {TRAIN: 2, TEST: 1},
}


def _fill(
    split: str,
    groups: Sequence[Sequence[Key]],
    fixed: Mapping[Key, str],
    splits: dict[Key, str],
    shares: Shares,
    result: Assembly,
) -> None:
    """Move the cases whose names stand nearest to an empty split into it, unless a table says where they belong."""
    count = Counter(splits[keys[0]] for keys in groups)
    kept = _KEPT_WHEN_FILLING[split]
    movable = [
        keys for keys in groups if fixed.keys().isdisjoint(keys) and count[splits[keys[0]]] > kept[splits[keys[0]]]
    ]
    if not movable:
        return
    side = -1 if split == TRAIN else 1
    moved = max(movable, key=lambda keys: (count[splits[keys[0]]], side * shares.place_of(*keys[0])))
    splits |= dict.fromkeys(moved, split)
    names = ", ".join(case for _, case in moved)
    result.notes.append(f"few cases: {names} went to {split}, which would have been empty")


def _fixed(slice_images: Sequence[_SliceImage]) -> dict[Key, str]:
    fixed: dict[Key, str] = {}
    for slice_image in slice_images:
        case = slice_image.case
        first = fixed.setdefault(slice_image.key, case.split) if case.split else ""
        if case.split and first != case.split:
            raise CurationError(f"case {case.case} is in {first} and in {case.split}; give it one split")
    return fixed


def _split_together(keys: Sequence[Key], fixed: Mapping[Key, str], shares: Shares, result: Assembly) -> dict[Key, str]:
    wanted = list(dict.fromkeys(fixed[key] for key in keys if key in fixed))
    split = wanted[0] if wanted else shares.split_of(*keys[0])
    if len(keys) > 1:
        names = ", ".join(case for _, case in keys)
        where = f"are all in {split}" if len(wanted) < 2 else f"are in {' and '.join(wanted)} as the table says"
        result.notes.append(f"cases with the same images {where}: {names}")
    return {key: fixed.get(key, split) for key in keys}


def _note_empty_splits(shares: Shares, result: Assembly) -> None:
    used = {entry.split for entry in result.entries}
    for split, share in zip(SPLITS, shares.shares, strict=True):
        if share and split not in used:
            result.notes.append(
                f"there are too few cases for the split {split}; curate more, or use the column split of a table"
            )
