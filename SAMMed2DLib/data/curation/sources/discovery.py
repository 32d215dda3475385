"""What belongs together in a folder: images and their labels, by the common ways to lay them out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from SAMMed2DLib.data.curation.records import CASES, IMAGES, MASKS
from SAMMed2DLib.data.curation.sources.cases import Case, CurationError, named
from SAMMed2DLib.data.curation.sources.dataset_layouts import (
    bids_cases,
    classes_of,
    is_bids,
    modality_of,
    read_dataset_json,
    without_channel,
)
from SAMMed2DLib.system.files import PICTURE_SUFFIXES, stem_of, suffix_of

IMAGE_SUFFIXES = PICTURE_SUFFIXES | {".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm"}
_MOST_CHANNELS = 8  # images of one case in one folder
_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "scans", "volumes")
_LABEL_FOLDERS = ("labels", "label", "masks", "mask", "segmentations", "annotations", "labelmaps", "gt")
_LABEL_WORDS = r"(?:d?seg|segmentation|labels?|labelmaps?|masks?|gt|ground[ _-]?truth|annotations?)"
_IMAGE_WORDS = r"(?:image|img|imaging|volume|scan)"
_LABEL_NAME = re.compile(rf"(.+?)[ _.-]+{_LABEL_WORDS}(?:[ _.-].*|\d*)?$", re.IGNORECASE)
_IMAGE_NAME = re.compile(rf"(.+?)[ _.-]+{_IMAGE_WORDS}$", re.IGNORECASE)
# The word first: volume-0 and segmentation-0, or nothing else in the name: image and label.
_LABEL_FIRST = re.compile(rf"{_LABEL_WORDS}(?:[ _.-]*(\d+)|[ _.-]+(.+))?$", re.IGNORECASE)
_IMAGE_FIRST = re.compile(rf"{_IMAGE_WORDS}(?:[ _.-]*(\d+)|[ _.-]+(.+))?$", re.IGNORECASE)


@dataclass
class DiscoveredCases:
    """What a folder holds.

    Attributes:
        cases: images with labels.
        unpaired: images without labels and labels without image, each with the reason.
        layouts: how many cases were found in which way.
    """

    cases: list[Case] = field(default_factory=list)
    unpaired: list[str] = field(default_factory=list)
    layouts: dict[str, int] = field(default_factory=dict)

    def add(self, layout: str, cases: Sequence[Case]) -> None:
        """Take cases over."""
        self.cases += cases
        if cases:
            self.layouts[layout] = self.layouts.get(layout, 0) + len(cases)


def discover(folder: Path, *, dataset: str = "", modality: str = "") -> DiscoveredCases:
    """Pair the images and labels of a folder and of all folders in it.

    Args:
        folder: to look into.
        dataset: name of the data set; empty for the name of the folder in which the cases are.
        modality: where nothing tells it.
    Raises:
        CurationError: there is no such folder, or it holds no pair.
    """
    if not folder.is_dir():
        raise CurationError(f"{folder} is no folder; give one with images and labels, or a table with --cases")
    found = DiscoveredCases()
    _look_into(folder.absolute(), found)
    if not found.cases:
        left = f"; left unpaired: {', '.join(found.unpaired[:3])}" if found.unpaired else ""
        raise CurationError(f"{folder} holds no image with labels{left}; list them in a table and use --cases")
    found.cases = [_completed(case, folder.absolute(), dataset, modality) for case in found.cases]
    return found


def _completed(case: Case, folder: Path, dataset: str, modality: str) -> Case:
    source = case.image.relative_to(folder).as_posix()
    return replace(case, dataset=dataset or case.dataset, modality=case.modality or modality, source=source)


def _look_into(folder: Path, found: DiscoveredCases) -> None:
    if all((folder / kind).is_dir() for kind in (CASES, IMAGES, MASKS)):
        found.unpaired.append(f"{folder} (was made by this command)")
        return
    for layout in (_bids, _nnunet, _totalsegmentator, _two_folders):
        seen = layout(folder, found)
        if seen is not None:
            break
    else:
        seen = set()
        _same_folder(folder, found)
    for path in sorted(folder.iterdir()):
        is_seen = path in seen or folder in seen
        if path.is_dir() and not is_seen and not path.name.startswith(".") and not is_dicom_folder(path):
            _look_into(path, found)


def _images_in(folder: Path) -> list[Path]:
    """Images in a folder: files, and folders of DICOM series."""
    return [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
        and (suffix_of(path) in (*IMAGE_SUFFIXES, ".seg.nrrd") if path.is_file() else is_dicom_folder(path))
    ]


def is_dicom_folder(folder: Path) -> bool:
    """Whether the first of its files is a slice in DICOM, and there are several."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    if len(files) < 2:
        return False
    with min(files).open("rb") as file:
        return file.read(132)[128:] == b"DICM"


# --- BIDS ---------------------------------------------------------------------------------------------------


def _bids(folder: Path, found: DiscoveredCases) -> set[Path] | None:
    """sub-01/anat/sub-01_T1w.nii.gz and sub-01_T1w_label-liver_mask.nii.gz, also in derivatives."""
    if not is_bids(folder):
        return None
    cases, unpaired = bids_cases(folder)
    if not cases:
        return None
    found.add("BIDS", cases)
    found.unpaired += unpaired
    return {folder}


# --- nnU-Net ------------------------------------------------------------------------------------------------


def _nnunet(folder: Path, found: DiscoveredCases) -> set[Path] | None:
    """imagesTr/NAME_0000.nii.gz and labelsTr/NAME.nii.gz, also imagesTs and labelsTs; names from dataset.json."""
    if not (folder / "imagesTr").is_dir() or not (folder / "labelsTr").is_dir():
        return None
    about = read_dataset_json(folder / "dataset.json")
    for end, split in (("Tr", ""), ("Ts", "test")):
        images, labels = folder / f"images{end}", folder / f"labels{end}"
        if images.is_dir() and labels.is_dir():
            pairs, unpaired = _matched(_images_in(images), _images_in(labels), without_channel, stem_of)
            found.add("nnU-Net", [_nnunet_case(image, label, folder, about, split) for image, label in pairs])
            found.unpaired += unpaired
        elif images.is_dir():
            found.unpaired += [f"{image} (no {labels.name})" for image in _images_in(images)]
    return {folder / f"{kind}{end}" for kind in ("images", "labels") for end in ("Tr", "Ts")}


def _nnunet_case(image: Path, labels: Sequence[Path], folder: Path, about: dict[str, Any], split: str) -> Case:
    case = without_channel(image)
    name = str(about.get("name") or folder.name)
    return Case(
        image, tuple(labels), stem_of(image), case, name, modality_of(image, about), None, split, classes_of(about)
    )


# --- other layouts ------------------------------------------------------------------------------------------


def _totalsegmentator(folder: Path, found: DiscoveredCases) -> set[Path] | None:
    """CASE/ct.nii.gz and CASE/segmentations/*.nii.gz."""
    labels = folder / "segmentations"
    images = [path for path in _images_in(folder) if not _is_label_name(path)]
    if not labels.is_dir() or len(images) != 1 or (folder / "images").is_dir():
        return None
    if not _images_in(labels):
        found.unpaired.append(f"{images[0]} (segmentations is empty)")
        return {labels}
    name, case = named(images[0], folder.name)
    kind = {"ct": "CT", "mri": "MR", "mr": "MR", "pet": "PET"}.get(stem_of(images[0]).lower(), "")
    found.add("TotalSegmentator", [Case(images[0], (labels,), name, case, folder.parent.name, kind)])
    return {labels}


def _two_folders(folder: Path, found: DiscoveredCases) -> set[Path] | None:
    """images/NAME.nii.gz and labels/NAME.nii.gz, or labels/NAME/ with one file for each structure."""
    images = next((folder / name for name in _IMAGE_FOLDERS if (folder / name).is_dir()), None)
    labels = next((folder / name for name in _LABEL_FOLDERS if (folder / name).is_dir()), None)
    if images is None or labels is None:
        return None
    folders = [path for path in labels.iterdir() if path.is_dir() and _images_in(path)]
    pairs, unpaired = _matched(_images_in(images), [*_images_in(labels), *sorted(folders)], _plain_image, _plain_label)
    found.add("images + labels", [_simple(image, files, folder.name) for image, files in pairs])
    found.unpaired += unpaired
    found.unpaired += [
        f"{path} (folders within {images.name} are not paired; list them in a table)"
        for path in sorted(images.iterdir())
        if path.is_dir() and not is_dicom_folder(path)
    ]
    return {images, labels}


def _same_folder(folder: Path, found: DiscoveredCases) -> None:
    """NAME.nii.gz and NAME.seg.nrrd, NAME_seg.nii.gz, label_NAME.nii.gz, … in one folder; or all files of one case:
    image.nii.gz and label.nii.gz, or one image and .seg.nrrd of any name.
    """
    files = _images_in(folder)
    labels = [path for path in files if _is_label_name(path)]
    images = [path for path in files if path not in labels]
    pairs, unpaired = _matched(images, labels, _plain_image, _plain_label)
    if not pairs and len(images) == 1 and labels and all(suffix_of(path) == ".seg.nrrd" for path in labels):
        pairs, unpaired = [(images[0], labels)], []  # as 3D Slicer saves a scene
    plain = [path for path in labels if (match := _LABEL_FIRST.match(stem_of(path))) and not any(match.groups())]
    if labels and plain == labels and _are_of_one_case(images):
        cases = [Case(image, tuple(labels), *named(image, folder.name), folder.parent.name) for image in images]
        found.add("CASE/image + CASE/label", cases)
        return
    found.add("NAME + NAME_seg", [_simple(image, files, folder.name) for image, files in pairs])
    found.unpaired += unpaired


def _are_of_one_case(images: Sequence[Path]) -> bool:
    """Whether images in one folder show the same: one image, or several volumes such as t1 and t2."""
    has_picture_files = any(suffix_of(image) in PICTURE_SUFFIXES for image in images)
    return len(images) == 1 or (1 < len(images) <= _MOST_CHANNELS and not has_picture_files)


def _simple(image: Path, labels: Sequence[Path], dataset: str) -> Case:
    name, case = named(image, "")
    return Case(image, tuple(labels), name, case, dataset)


def _is_label_name(path: Path) -> bool:
    stem = stem_of(path)
    return suffix_of(path) == ".seg.nrrd" or bool(_LABEL_NAME.match(stem) or _LABEL_FIRST.match(stem))


def _plain_label(path: Path) -> str:
    """The name of the image that a label's name is made from."""
    stem = path.name if path.is_dir() else stem_of(path)
    return _base(stem, _LABEL_NAME, _LABEL_FIRST)


def _plain_image(path: Path) -> str:
    return _base(stem_of(path), _IMAGE_NAME, _IMAGE_FIRST)


def _base(stem: str, last: re.Pattern[str], first: re.Pattern[str]) -> str:
    """A name without the word at its end or its beginning that says what the file is."""
    if match := first.match(stem):
        return match[1] or match[2] or ""
    return match[1] if (match := last.match(stem)) else stem


def _matched(
    images: Sequence[Path],
    labels: Sequence[Path],
    image_name: Callable[[Path], str],
    label_name: Callable[[Path], str],
) -> tuple[list[tuple[Path, list[Path]]], list[str]]:
    """Images with all labels of their name, and what is left."""
    by_name: dict[str, list[Path]] = {}
    for label in labels:
        # The exact name first: an image may itself be called "liver_mask_study".
        by_name.setdefault(label.name if label.is_dir() else stem_of(label), []).append(label)
        if label_name(label) != (label.name if label.is_dir() else stem_of(label)):
            by_name.setdefault(label_name(label), []).append(label)
    pairs, used, unpaired = [], set(), []
    for image in images:
        files = by_name.get(stem_of(image)) or by_name.get(image_name(image)) or []
        if files:
            pairs.append((image, files))
            used.update(files)
        else:
            unpaired.append(f"{image} (no labels)")
    unpaired += [f"{label} (no image)" for label in labels if label not in used]
    return pairs, unpaired


def described(found: DiscoveredCases) -> Iterator[str]:
    """What was found, in a few lines for people."""
    for layout, count in found.layouts.items():
        yield f"{count} image{'s' if count > 1 else ''} with labels ({layout})"
    if found.unpaired:
        yield f"{len(found.unpaired)} file{'s' if len(found.unpaired) > 1 else ''} left unpaired"
