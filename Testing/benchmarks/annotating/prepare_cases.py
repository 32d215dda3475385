"""Write the cases of bench_annotating.py.

    python Testing/benchmarks/annotating/prepare_cases.py --volumes VOLUMES --clones CLONES --output CASES

VOLUMES is what Testing/training/label_volumes.py has written. CLONES is a folder with clones of
github.com/muschellij2/open_ms_data (MR FLAIR with lesions, CC BY 4.0, Lesjak et al., Neuroinformatics 2017) and of
github.com/WrightGroupSRI/ep-dataset (a cine MR of a pig's heart, CC0). Without it, only the cases of VOLUMES.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import SimpleITK

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from annotating.cases import COLUMNS

# The patient's file that has ten lesions of more than a hundred voxels.
MS_PATIENT, LESIONS = "patient26", 10
# The series' slices are in this order: all frames of one, then those of the next. On the slices left out the contours
# jump between structures from frame to frame.
CINE_FRAMES, CINE_SLICES, CINE_USED = 20, 20, slice(6, 18)
LIVER, VERTEBRA_T12 = 5, 7
SOFT_TISSUE, BONE = "40,400", "400,1400"  # centre,width

Row = dict[str, str]


def lesions(clones: Path, output: Path) -> Row:
    """Write an MR FLAIR with its ten largest lesions, each with a label of its own."""
    folder = clones / "open_ms_data" / "cross_sectional" / "MNI" / MS_PATIENT
    image = SimpleITK.ReadImage(str(next(folder.glob("FLAIR_*.nii.gz"))), SimpleITK.sitkFloat32)
    labels = SimpleITK.ReadImage(str(next(folder.glob("GOLD_STANDARD_*.nii.gz")))) > 0
    parts = SimpleITK.RelabelComponent(SimpleITK.ConnectedComponent(labels, True))
    SimpleITK.WriteImage(image, str(output / "lesions.nrrd"), useCompression=True)
    parts = SimpleITK.Cast(parts * SimpleITK.Cast(parts <= LESIONS, parts.GetPixelID()), SimpleITK.sitkUInt8)
    SimpleITK.WriteImage(parts, str(output / "lesions_labels.nrrd"), useCompression=True)
    note = "labels: consensus of three readers; never trained on"
    return row("ten lesions, MR FLAIR", "lesions", "lesions_labels", "all", target=0.8, note=note)


def cine(clones: Path, output: Path) -> Row:
    """Write the short-axis cine with the left ventricle's cavity."""
    folder = clones / "ep-dataset"
    paths = sorted((folder / "E774S5-shortAxis").glob("*.dcm"), key=_instance)
    images = [SimpleITK.ReadImage(str(path)) for path in paths]
    shape = (CINE_SLICES, CINE_FRAMES)
    size_hw = images[0].GetSize()[1::-1]
    greys = np.stack([SimpleITK.GetArrayFromImage(image)[0] for image in images]).reshape(*shape, *size_hw)
    contours = [folder / "lvContours" / f"IM-0001-{n:04d}-icontour-auto.txt" for n in range(1, len(paths) + 1)]
    labels = np.stack([filled(np.loadtxt(path), size_hw) for path in contours]).reshape(*shape, *size_hw)
    first, next_slice = (np.array(images[n * CINE_FRAMES].GetOrigin()) for n in (0, 1))
    spacing = (*images[0].GetSpacing()[:2], float(np.linalg.norm(next_slice - first)), 1.0)
    for name, array in (("cine", greys), ("cine_labels", labels.astype(np.uint8))):
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array[CINE_USED].swapaxes(0, 1)), isVector=False)
        image.SetSpacing(spacing)
        SimpleITK.WriteImage(image, str(output / f"{name}.nrrd"), useCompression=True)
    note = "a pig; contours by the data's authors with a tool of theirs; never trained on"
    return row("left ventricle, cine MR", "cine", "cine_labels", "1", target=0.95, note=note)


def _instance(path: Path) -> int:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return int(reader.GetMetaData("0020|0013"))


def filled(contour_xy: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres are in a closed contour, (N, 2) px: (H, W) bool."""
    mask = np.zeros(size_hw, bool)
    x, y = contour_xy.T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    for row_number in range(size_hw[0]):
        crosses = (y <= row_number) != (next_y <= row_number)
        share = (row_number - y[crosses]) / (next_y - y)[crosses]
        at = np.sort(x[crosses] + share * (next_x - x)[crosses])
        for begin, end in zip(at[::2], at[1::2], strict=True):
            mask[row_number, max(0, int(np.ceil(begin))) : int(np.floor(end)) + 1] = True
    return mask


def row(name: str, image: str, labels: str, values: str, *, window: str = "", target: float, note: str) -> Row:
    """A line of the table."""
    words = (name, f"{image}.nrrd", f"{labels}.nrrd", values, window, str(target), note)
    return dict(zip(COLUMNS, words, strict=True))


def volumes(folder: Path, output: Path) -> list[Row]:
    """Copy the liver and the vertebra of label_volumes.py."""
    trained = "the built-in model was trained on slices of it"
    cases = (
        ("liver, CT", "ct_abdomen_totalsegmentator", LIVER, SOFT_TISSUE, 0.95, trained),
        ("vertebra T12, CT", "ct_aorta_totalsegmentator", VERTEBRA_T12, BONE, 0.9, "never trained on"),
    )
    rows = []
    for name, file, value, window, target, seen in cases:
        for suffix in ("", "_labels"):
            image = SimpleITK.ReadImage(str(folder / f"{file}{suffix}.nrrd"))
            SimpleITK.WriteImage(image, str(output / f"{file}{suffix}.nrrd"), useCompression=True)
        note = f"labels: model output (TotalSegmentator); {seen}"
        rows.append(row(name, file, f"{file}_labels", str(value), window=window, target=target, note=note))
    return rows


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--volumes", type=Path, required=True, help="folder of label_volumes.py")
    parser.add_argument("--clones", type=Path, help="folder with the clones; without it only the cases of VOLUMES")
    parser.add_argument("--output", type=Path, required=True, help="folder for the cases and their table cases.tsv")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    rows = volumes(options.volumes, options.output)
    if options.clones:
        rows += [lesions(options.clones, options.output), cine(options.clones, options.output)]
    with (options.output / "cases.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
