"""The demo: a real chest CT, several structures in all three planes, prompts as a user would give them.

The CT and its reference segmentation come with the `slicerio` package (128 x 128 x 34 voxels of 3 x 3 x 10 mm). For
each structure a few slices are segmented from a slightly wrong box and from 1, 3 and 5 clicks of a simulated user: the
first click in the middle of the structure, each further one in the middle of the largest error so far.

Written to the output folder: a Slicer segmentation for each kind of prompt, a contact sheet, and the table of results.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from SAMMed2DLib.data.simulated_user import centre_error_point, centre_point
from SAMMed2DLib.imaging.affines import array_axis_of
from SAMMed2DLib.imaging.components import largest_component
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Window, rgb_from_slice
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.engines.engine import ENGINES
from SAMMed2DLib.inference.predictor import Predictor, load_predictor
from SAMMed2DLib.inference.prompts import Prompts, box_of_mask
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.io.seg_nrrd import Segmentation
from SAMMed2DLib.io.segmentation_io import Segment, read_segmentation, with_colors, write_segmentation
from SAMMed2DLib.io.volume_io import Volume, read_volume
from SAMMed2DLib.plots.contact_sheet import contact_sheet
from SAMMed2DLib.plots.overlay import MaskLayer, draw_slice, write_png
from SAMMed2DLib.plots.slice_view import SliceView
from SAMMed2DLib.registry.built_in import BUILT_IN

STRUCTURES = ("right lung", "left lung", "thoracic vertebral column", "lumbar vertebral column")
AXES = ("axial", "coronal", "sagittal")
SHARES = (0.35, 0.6)  # where along a structure its slices are taken, from its first to its last one
LEAST_PIXELS = 40
CLICKS = (1, 3, 5)
KINDS = ("box", *(f"{n} click{'s' if n > 1 else ''}" for n in CLICKS))
CHEST_WINDOW = Window(width=1500, level=-250)  # lung, soft tissue and bone all show
BOX_ERROR = 0.06  # each edge is off by up to this share of the box
REFERENCE_COLOR = (1.0, 0.2, 0.9)  # seen on bone and on lung


@dataclass(frozen=True, eq=False)
class Case:
    """One structure on one slice.

    Attributes:
        structure: its name in the reference.
        axis: the kind of slice.
        index: number of the slice.
        plane: the slice.
        reference: (H, W) bool, the part of the structure that is segmented (its largest region).
        image: (H, W, 3) uint8.
    """

    structure: str
    axis: str
    index: int
    plane: SlicePlane
    reference: np.ndarray
    image: np.ndarray


@dataclass
class Result:
    """What came of one case.

    Attributes:
        case: the case.
        masks: (H, W) bool by kind of prompt.
        prompts: the prompts by kind.
        filled_box: Dice of the box itself, filled: what a box alone is worth.
    """

    case: Case
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    prompts: dict[str, Prompts] = field(default_factory=dict)
    filled_box: float = 0.0

    def dice(self, kind: str) -> float:
        """Agreement with the reference, 0..1."""
        return dice(self.masks[kind], self.case.reference)


@dataclass
class Times:
    """Milliseconds of each step."""

    load: float = 0.0
    embed: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    following: list[float] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if it went well."""
    args = options(argv)
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    volume, reference = chest()
    cases = list(chosen(volume, reference))
    times = Times()
    began = time.perf_counter()
    predictor = load_predictor(args.model, engine=args.engine)
    times.load = 1000 * (time.perf_counter() - began)
    results = segmented(predictor, cases, times)
    segments = with_colors([Segment(name) for name in STRUCTURES])
    for kind in KINDS:
        write_segmentation(folder / f"chest-{slug(kind)}.seg.nrrd", masks(volume, results, kind), volume, segments)
    write_png(folder / "contact-sheet.png", sheet(volume, results, segments))
    text = report(args.model, predictor, results, times)
    (folder / "results.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"Written to {folder.resolve()}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="demo-output", help="folder (%(default)s)")
    parser.add_argument("--model", default=BUILT_IN, help="name or file of the weights (%(default)s)")
    parser.add_argument("--engine", default="auto", choices=ENGINES, help="what computes the network (%(default)s)")
    return parser.parse_args(argv)


def chest() -> tuple[Volume, Segmentation]:
    """The CT and its reference, from the slicerio package."""
    found = importlib.util.find_spec("slicerio")
    if found is None or found.origin is None:
        raise SystemExit("the demo's CT is in the package slicerio: pip install slicerio, or run `make demo`")
    data = Path(found.origin).parent / "data"
    return read_volume(data / "CTChest4.nrrd"), read_segmentation(data / "Segmentation.seg.nrrd")


def chosen(volume: Volume, reference: Segmentation) -> Iterator[Case]:
    """The slices to segment: a few per structure and plane, spread over the structure."""
    for structure in STRUCTURES:
        whole = reference.mask(structure)
        for axis in AXES:
            array_axis = array_axis_of(axis, volume.ijk_to_ras)
            visible = np.flatnonzero(np.moveaxis(whole, array_axis, 0).sum(axis=(1, 2)) >= LEAST_PIXELS)
            for index in sorted({int(visible[int(share * len(visible))]) for share in SHARES}):
                plane = SlicePlane.of_axis(volume.size_ijk, axis, index, volume.ijk_to_ras)
                image = rgb_from_slice(plane.extract(volume.array), CHEST_WINDOW)
                yield Case(structure, axis, index, plane, largest_component(plane.extract(whole)), image)


def segmented(predictor: Predictor, cases: Sequence[Case], times: Times) -> list[Result]:
    """All cases, every slice encoded once."""
    rng = np.random.default_rng(2)
    predictor.embed([cases[0].image])  # the first call of a process also loads code
    session = Session(predictor)
    for case in cases:
        if not session.is_encoded(case.image):
            began = time.perf_counter()
            session.encode(case.image)
            times.embed.append(1000 * (time.perf_counter() - began))
    return [one_case(session, case, rng, times) for case in cases]


def one_case(session: Session, case: Case, rng: np.random.Generator, times: Times) -> Result:
    """A case from a box, and from clicks that correct each other."""
    result = Result(case)

    def predicted(prompts: Prompts, milliseconds: list[float]) -> np.ndarray:
        began = time.perf_counter()
        mask = session.answer(case.image, prompts).mask
        milliseconds.append(1000 * (time.perf_counter() - began))
        return mask

    box = rough_box(case.reference, rng)
    result.prompts["box"] = Prompts.of(box=box)
    result.masks["box"] = predicted(result.prompts["box"], times.first)
    result.filled_box = dice(filled(box, case.reference.shape), case.reference)
    prompts = Prompts.of(positive=[centre_point(case.reference)])
    for count in range(1, max(CLICKS) + 1):
        mask = predicted(prompts, times.first if count == 1 else times.following)
        if count in CLICKS:
            kind = KINDS[1 + CLICKS.index(count)]
            result.masks[kind], result.prompts[kind] = mask, prompts
        correction = centre_error_point(mask, case.reference)
        if correction is not None:
            prompts = prompts.with_point(*correction)
    return result


def rough_box(reference: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The box of a user who is off by a little, at least half a pixel, on every edge."""
    box = box_of_mask(reference)
    reach = np.maximum(0.5, BOX_ERROR * np.tile(box[2:] - box[:2], 2))
    height, width = reference.shape
    return np.clip(box + rng.uniform(-1, 1, 4) * reach, 0, [width, height, width, height])


def filled(box: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """The box as a mask."""
    mask = np.zeros(size_hw, bool)
    x0, y0, x1, y1 = np.floor(box + 0.5).astype(int)
    mask[y0:y1, x0:x1] = True
    return mask


def masks(volume: Volume, results: Iterable[Result], kind: str) -> Iterator[np.ndarray]:
    """For each structure the volume with its segmented slices."""
    results = list(results)
    for structure in STRUCTURES:
        whole = np.zeros(volume.array.shape, bool)
        for result in results:
            if result.case.structure == structure:
                result.case.plane.insert(whole, result.masks[kind], True)
        yield whole


def sheet(volume: Volume, results: Sequence[Result], segments: Sequence[Segment]) -> np.ndarray:
    """For the first slice of each structure and plane: the reference, then each kind of prompt."""
    colors = {segment.name: segment.color or REFERENCE_COLOR for segment in segments}
    pictures, captions, seen = [], [], set()
    for result in results:
        case = result.case
        if (case.structure, case.axis) in seen:
            continue
        seen.add((case.structure, case.axis))
        view = SliceView.of(case.plane, volume.ijk_to_ras, 400)
        outline = MaskLayer(case.reference, REFERENCE_COLOR, fill=0.0)
        pictures.append(draw_slice(case.image, view, [MaskLayer(case.reference, REFERENCE_COLOR)]))
        captions.append(f"{case.structure}\n{case.axis} {case.index}: reference")
        for kind in KINDS:
            layers = [MaskLayer(result.masks[kind], colors[case.structure], fill=0.4), outline]
            pictures.append(draw_slice(case.image, view, layers, [result.prompts[kind]], letters=False))
            captions.append(f"{kind}\nDice {result.dice(kind):.2f}")
    return contact_sheet(pictures, captions, columns=2 * (1 + len(KINDS)))  # two cases in a row: a screen is wide


def report(model: str, predictor: Predictor, results: Sequence[Result], times: Times) -> str:
    """The results as Markdown."""
    lines = [
        "# Chest CT demo",
        "",
        f"Model `{Path(model).name}`, engine {predictor.engine.name}, {predictor.device}, "
        f"{str(predictor.precision).removeprefix('torch.')}, "
        f"{os.cpu_count()} CPU cores. Dice against the reference, mean of {len(SHARES)} slices per row; "
        "'filled box' is the Dice of the box prompt itself.",
        "",
        f"| structure | plane | filled box | {' | '.join(KINDS)} |",
        f"|---|---|---|{'---|' * len(KINDS)}",
    ]
    for structure in STRUCTURES:
        for axis in AXES:
            rows = [r for r in results if (r.case.structure, r.case.axis) == (structure, axis)]
            lines.append(f"| {structure} | {axis} | {means(rows)} |")
    lines += [
        f"| **mean of {len(results)} slices** | | {means(results)} |",
        "",
        "| step | median ms |",
        "|---|---|",
        f"| load the model (once) | {times.load:.0f} |",
        f"| embed a slice (once per slice) | {statistics.median(times.embed):.1f} |",
        f"| first prompt of an object, with its local zoom | {statistics.median(times.first):.1f} |",
        f"| each further click | {statistics.median(times.following):.1f} |",
        "",
    ]
    return "\n".join(lines)


def means(results: Sequence[Result]) -> str:
    """The cells of a row."""
    values = [np.mean([r.filled_box for r in results])]
    values += [np.mean([r.dice(kind) for r in results]) for kind in KINDS]
    return " | ".join(f"{value:.3f}" for value in values)


def slug(kind: str) -> str:
    """A kind of prompt as a part of a file's name."""
    return kind.replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main())
