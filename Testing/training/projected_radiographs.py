"""Radiographs that are computed from labelled CT volumes, and sections of them with large even objects.

A radiograph is the sum of the attenuation along parallel rays; what a structure covers in it is where the rays pass
through enough of it. Structures overlap there, so that one image may come with several label maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from released_packages import read_volume

from SAMMed2DLib.data.dataset import LabelledImage

REFERENCE = "totalsegmentator-2.18.0/tests/reference_files"
VERTEBRAE = "TPTBox/tests/sample_ct"
AIR, BODY = -1000, -300  # Hounsfield units: of air, and where soft tissue begins
LUNG = -500
BONE = 150  # where bone begins, which takes up more than its density says
WATER_PER_MM = 0.02  # attenuation of water at the energies of radiography
SPACING_MM = 1.5
LEAST_DEPTH_MM = 4.0  # of a structure along a ray that its outline includes
LEAST_LUNG_DEPTH_MM = 40.0  # that of the lungs, which reach behind heart and diaphragm
LEAST_SHARE = 0.002  # of an image, for a structure to be in its label map
MOST_SHARE = 0.8  # for it to have an outline
MOST_OVERLAP = 0.05  # of a structure's area, where it shares a label map
LEAST_LUNG_MM2 = 600.0  # in an axial plane; the windpipe is smaller
FRONT, SIDE = 0.0, 90.0
VIEWS_PER_SIDE = 5
UNSEEN = "liver"  # in radiographs, where it has the density of what is around
SECTIONS_PER_AXIS = 10
CT_WINDOWS = ((-160.0, 240.0), (-1000.0, 400.0), (-600.0, 1200.0))


@dataclass(frozen=True)
class StructuresOfVolume:
    """A CT volume of a package and what of it is to be outlined.

    Attributes:
        package: Name of the released package.
        dataset: Name of the set of its radiographs; `sections` names that of its sections.
        image: The volume, a path within the package.
        structures: Per name a label map, a path within the package, and the labels; no labels are all of them.
        labels_by: Who drew them.
        has_lungs: Whether both lungs are in the volume; they are found by their air.
        sections: Name of the set of its sections, empty for none.
    """

    package: str
    dataset: str
    image: str
    structures: dict[str, tuple[str, tuple[int, ...]]]
    labels_by: str = "model output (TotalSegmentator), body and lungs by threshold"
    has_lungs: bool = False
    sections: str = ""


_TORSO = f"{REFERENCE}/example_seg_fast_force_split.nii.gz"
_VERTEBRA = f"{VERTEBRAE}/sub-ct_seg-vert_label-22_msk.nii.gz"
RADIOGRAPHS = (
    StructuresOfVolume(
        "totalsegmentator",
        "xr_chest_projected",
        f"{REFERENCE}/aorta_report/example_ct.nii.gz",
        {
            "heart": (f"{REFERENCE}/pulmonary_report/models/heart.nii.gz", ()),
            "aorta": (f"{REFERENCE}/aorta_report/test_result/models/aorta.nii.gz", ()),
        },
        has_lungs=True,
        sections="ct_chest_large_organs",
    ),
    StructuresOfVolume(
        "totalsegmentator",
        "xr_abdomen_projected",
        f"{REFERENCE}/example_ct.nii.gz",
        {
            **{name: (_TORSO, (label,)) for name, label in ((UNSEEN, 5), ("sacrum", 25))},
            **{f"hip {label}": (_TORSO, (label,)) for label in (77, 78)},
            **{f"femur {label}": (_TORSO, (label,)) for label in (75, 76)},
            **{f"vertebra {label}": (_TORSO, (label,)) for label in range(27, 33)},
        },
        sections="ct_torso_large_organs",
    ),
    StructuresOfVolume(
        "tptbox",
        "xr_spine_projected",
        f"{VERTEBRAE}/sub-ct_label-22_ct.nii.gz",
        {
            **{f"vertebra {label}": (_VERTEBRA, (label,)) for label in (21, 22, 23)},
            "vertebral body": (f"{VERTEBRAE}/sub-ct_seg-subreg_label-22_msk.nii.gz", (49,)),
        },
        labels_by="not stated, probably corrected model output",
    ),
)


def read_structures(volume: StructuresOfVolume, folder: Path) -> tuple[SimpleITK.Image, dict[str, SimpleITK.Image]]:
    """The CT and per structure its mask, with body and lungs as far as they are in it; all with cubic voxels."""
    image = cubic(SimpleITK.Cast(read_volume(folder / volume.image), SimpleITK.sitkFloat32))
    masks = {"body": body_of(image)} if volume.sections else {}
    if volume.has_lungs:
        masks["lungs"] = lungs_of(image)
    for name, (path, labels) in volume.structures.items():
        layer = read_volume(folder / path)
        mask = layer != 0
        if labels:
            mask = SimpleITK.BinaryThreshold(layer, labels[0], labels[0])
            for label in labels[1:]:
                mask = mask | SimpleITK.BinaryThreshold(layer, label, label)
        smooth = SimpleITK.Cast(mask, SimpleITK.sitkFloat32)  # coarse label maps would end in stairs
        masks[name] = SimpleITK.Resample(smooth, image, SimpleITK.Transform(), SimpleITK.sitkLinear) > 0.5
    return image, masks


def cubic(image: SimpleITK.Image, spacing_mm: float = SPACING_MM) -> SimpleITK.Image:
    """The volume with cubic voxels."""
    extent = np.array(image.GetSize()) * image.GetSpacing()
    resample = SimpleITK.ResampleImageFilter()
    resample.SetSize([max(1, int(n)) for n in np.floor(extent / spacing_mm)])
    resample.SetOutputSpacing([spacing_mm] * 3)
    resample.SetOutputOrigin(image.GetOrigin())
    resample.SetOutputDirection(image.GetDirection())
    resample.SetDefaultPixelValue(AIR)
    resample.SetInterpolator(SimpleITK.sitkLinear)
    return resample.Execute(image)


def body_of(image: SimpleITK.Image) -> SimpleITK.Image:
    """The patient without what lies beside, filled plane by plane."""
    solid = SimpleITK.BinaryMorphologicalOpening(image > BODY, [2, 2, 2])
    parts = SimpleITK.RelabelComponent(SimpleITK.ConnectedComponent(solid), sortByObjectSize=True)
    filled = [SimpleITK.BinaryFillhole(parts[:, :, k] == 1) for k in range(image.GetSize()[2])]
    body = SimpleITK.JoinSeries(filled)
    body.CopyInformation(image)
    return body


def lungs_of(image: SimpleITK.Image) -> SimpleITK.Image:
    """Air within the body that is large in its axial plane, vessels included."""
    air = (image < LUNG) & body_of(image)
    least = round(LEAST_LUNG_MM2 / SPACING_MM**2)
    planes = []
    for k in range(image.GetSize()[2]):
        parts = SimpleITK.ConnectedComponent(air[:, :, k])
        planes.append(SimpleITK.RelabelComponent(parts, minimumObjectSize=least) > 0)
    joined = SimpleITK.JoinSeries(planes)
    joined.CopyInformation(image)
    parts = SimpleITK.RelabelComponent(SimpleITK.ConnectedComponent(joined), sortByObjectSize=True)
    counts = np.bincount(SimpleITK.GetArrayViewFromImage(parts).ravel())
    large = 1 + int((counts[1:] > 0.2 * counts[1]).sum()) if len(counts) > 1 else 1  # not the bowel
    lungs = SimpleITK.BinaryThreshold(parts, 1, max(large - 1, 1))
    return SimpleITK.BinaryMorphologicalClosing(lungs, [3, 3, 3])


def radiographs(
    image: SimpleITK.Image, masks: dict[str, SimpleITK.Image], volume: StructuresOfVolume
) -> Iterator[LabelledImage]:
    """Views of a volume (its voxels cubic), each once per label map, the same in every run."""
    rng = np.random.default_rng(sum(map(ord, volume.dataset)))
    seen = {name: SimpleITK.Cast(mask, SimpleITK.sitkFloat32) for name, mask in masks.items() if name != UNSEEN}
    for base in (FRONT, SIDE):
        for number in range(VIEWS_PER_SIDE):
            angles = (rng.uniform(-6, 6), rng.uniform(-4, 4), base + rng.uniform(-15, 15) * (number > 0))
            turned = SimpleITK.GetArrayFromImage(_turned(image, angles, AIR, SimpleITK.sitkLinear))
            depth = slice(None) if number < 3 else _slab(turned.shape[1], rng)
            picture = radiograph(turned[:, depth], rng)
            covered = {}
            for name, mask in seen.items():
                solid = SimpleITK.GetArrayFromImage(_turned(mask, angles, 0, SimpleITK.sitkLinear))
                least = LEAST_LUNG_DEPTH_MM if name == "lungs" else LEAST_DEPTH_MM
                covered[name] = np.flipud(solid[:, depth].sum(axis=1) * SPACING_MM >= least)
            for layer, label in enumerate(label_maps(covered.values())):
                name = f"{'front' if base == FRONT else 'side'}_{number}_{layer}"
                yield LabelledImage(_as_rgb(picture), label, name, volume.dataset, "X-ray, projected CT")


def radiograph(hounsfield_kji: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sum along the second axis as a film shows it, uint8, head up, dense structures bright."""
    density = np.clip((hounsfield_kji - AIR) / 1000, 0, None)
    density += np.clip((hounsfield_kji - BONE) / 1000, 0, 2) * rng.uniform(0.2, 1.2)
    attenuation = np.flipud(density.sum(axis=1) * WATER_PER_MM * SPACING_MM)
    if rng.random() < 0.4:  # the share of the rays that does not come through, not its logarithm
        attenuation = 1 - np.exp(-attenuation / rng.uniform(1.5, 4))
    patient = attenuation[attenuation > 0.1 * attenuation.max()]
    low, high = np.percentile(patient, [rng.uniform(0, 8), rng.uniform(97, 99.9)])
    tone = np.clip((attenuation - low) / max(high - low, 1e-6), 0, 1) ** rng.uniform(0.6, 1.5)
    tone += rng.normal(0, rng.uniform(0, 0.02), tone.shape)
    return (np.clip(tone, 0, 1) * 255 + 0.5).astype(np.uint8)


def label_maps(masks: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Put masks (H, W) into as few label maps, uint8, as their overlaps allow; of what two share the first has it."""
    maps: list[np.ndarray] = []
    for mask in masks:
        if not LEAST_SHARE <= mask.mean() <= MOST_SHARE:
            continue
        free = (m for m in maps if (m[mask] > 0).mean() <= MOST_OVERLAP)
        label = next(free, None)
        if label is None:
            label = np.zeros(mask.shape, np.uint8)
            maps.append(label)
        label[mask & (label == 0)] = int(label.max()) + 1
    return maps


def sections(
    image: SimpleITK.Image, masks: dict[str, SimpleITK.Image], volume: StructuresOfVolume
) -> Iterator[LabelledImage]:
    """Axial, coronal and sagittal planes with body, lungs and liver, each once per label map."""
    hounsfield = SimpleITK.GetArrayFromImage(image)
    large = [SimpleITK.GetArrayFromImage(masks[name]) > 0 for name in ("body", "lungs", "liver") if name in masks]
    for axis, plane in enumerate(("axial", "coronal", "sagittal")):
        size = hounsfield.shape[axis]
        for number, index in enumerate(np.linspace(0.12 * size, 0.88 * size, SECTIONS_PER_AXIS).astype(int)):
            low, high = CT_WINDOWS[number % len(CT_WINDOWS)]
            grey = np.clip((hounsfield.take(index, axis) - low) / (high - low), 0, 1)
            picture = (grey * 255 + 0.5).astype(np.uint8)
            up = (lambda array: array) if axis == 0 else np.flipud
            for layer, label in enumerate(label_maps(up(mask.take(index, axis)) for mask in large)):
                name = f"{plane}_{index}_{layer}"
                yield LabelledImage(_as_rgb(up(picture)), label, name, volume.sections, "CT")


def _as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.repeat(grey[..., None], 3, 2))


def _slab(depth: int, rng: np.random.Generator) -> slice:
    """The front or the back of a volume, as if the rest were out of the way."""
    cut = round(depth * rng.uniform(0.5, 0.65))
    return slice(0, cut) if rng.random() < 0.5 else slice(depth - cut, depth)


def _turned(
    image: SimpleITK.Image, angles_deg: tuple[float, float, float], outside: float, method: int
) -> SimpleITK.Image:
    """The volume turned about its centre, on a grid that is as deep as it is wide."""
    size = image.GetSize()
    side = int(np.ceil(np.hypot(size[0], size[1]))) if abs(angles_deg[2]) > 20 else max(size[0], size[1])
    centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in size])
    turn = SimpleITK.Euler3DTransform(centre, *np.deg2rad(angles_deg))
    grid = SimpleITK.Image([side, side, size[2]], SimpleITK.sitkUInt8)
    grid.SetSpacing(image.GetSpacing())
    grid.SetDirection(image.GetDirection())
    middle = [(n - 1) / 2 * s for n, s in zip(grid.GetSize(), image.GetSpacing(), strict=True)]
    grid.SetOrigin([c - m for c, m in zip(centre, middle, strict=True)])
    return SimpleITK.Resample(image, grid, turn, method, outside)
