"""Measure weights on the packed data sets of development, beside a second model on request.

The same as `sammed2d evaluate`, for the files that prepare_data.py wrote and the split that it decides.

    python Testing/training/evaluate_packed.py --data DATA --split held_out test -o REPORT --peer litemedsam
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from prepare_data import SPLIT

from SAMMed2DLib.cli.evaluate import add_measures, evaluate_sources
from SAMMed2DLib.data.dataset import LabelledImage, read_cache
from SAMMed2DLib.data.sa_med2d import MaskedImage, MaskEntry
from SAMMed2DLib.evaluation.evaluation_run import Source, thinned
from SAMMed2DLib.evaluation.protocols.objects import targets_of
from SAMMed2DLib.registry.built_in import BUILT_IN

PARTS = ("train", "validation", "held_out", "test")
# Names of these sets' images end in the number of the slice; the rest is the patient or volume.
SLICED = ("ct_", "mr_", "petct_")


def main() -> int:
    """Evaluate one model on parts of the split."""
    arguments = parsed()
    names = [name for name, part in SPLIT.items() if part in arguments.split]
    classes = class_names(arguments.classes) if arguments.classes else {}
    items = [item for name in names for item in read_cache(arguments.data / f"{name}.npz")]
    found = (masked(item, classes) for item in items)
    sources = thinned([Source.of_image(item) for item in found if item is not None], arguments.most)
    split = ", ".join(arguments.split)
    data = {"data": ", ".join(names), "split": split, "images of each data set": arguments.most or "all"}
    return evaluate_sources(arguments, sources, data, peers(arguments.peer))


def parsed() -> argparse.Namespace:
    """The options; those of `sammed2d evaluate` have the same names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("-o", "--output", default="runs/evaluation", help="folder of the report (%(default)s)")
    parser.add_argument("--split", choices=PARTS, nargs="+", default=["held_out"])
    parser.add_argument("--classes", type=Path, help="MANIFEST.tsv of the images, for the names of classes")
    parser.add_argument("--model", default=BUILT_IN, help="name of a known or added model, or weights file")
    parser.add_argument("--protocol", choices=("careful", "published"), default="careful")
    parser.add_argument("--fit", choices=("stretch", "pad"), default="stretch")
    parser.add_argument("--most", type=int, help="images of each data set at most")
    parser.add_argument("--zoom", action=argparse.BooleanOptionalAction, help="predict on crops around the prompts")
    parser.add_argument("--peer", choices=("litemedsam",), help="another model, given the same boxes")
    parser.add_argument("--restart", action="store_true", help="discard the results that the folder holds")
    add_measures(parser.add_argument_group("what is measured"))
    parser.set_defaults(engine="auto", device="cpu", precision="auto", progress=True)
    return parser.parse_args()


def class_names(manifest: Path) -> dict[tuple[str, int], str]:
    """(data set, label) -> class, from the column "classes", which reads "1=liver; 2=tumour"."""
    with manifest.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    pairs = ((row["set"], word.partition("=")) for row in rows for word in row["classes"].split(";") if "=" in word)
    known = {(name, int(label)): anatomy.strip() for name, (label, _, anatomy) in pairs}
    return {key: anatomy for key, anatomy in known.items() if not anatomy.startswith("colour")}


def masked(item: LabelledImage, classes: dict[tuple[str, int], str]) -> MaskedImage | None:
    """The image with its objects as masks; None if none is large enough."""
    targets = list(targets_of(item))
    if not targets:
        return None
    entries = tuple(_entry(item, target.entry.mask, target.label, classes) for target in targets)
    return MaskedImage(item.image, np.stack([target.mask for target in targets]), entries)


def _entry(item: LabelledImage, mask: str, label: int, classes: dict[tuple[str, int], str]) -> MaskEntry:
    case = item.name.rpartition("_")[0] if item.dataset.startswith(SLICED) else ""
    anatomy = classes.get((item.dataset, label), f"{item.dataset}, label {label}")
    return MaskEntry(mask, item.name, "", item.dataset, item.modality, anatomy, case or item.name)


def peers(name: str | None) -> list[object]:
    """The second model on the whole slice and in our crops, if it is asked for."""
    if name is None:
        return []
    from peer_litemedsam import LiteMedSam, ZoomedLiteMedSam

    network = LiteMedSam()
    return [network, ZoomedLiteMedSam(network)]


if __name__ == "__main__":
    sys.exit(main())
