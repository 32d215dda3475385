"""The record in a report: all that is needed to make its masks again, and what differs when they are made again.

A report of `sammed2d segment --json` is a file for `sammed2d segment --prompts` too, and so is a .seg.nrrd that it
wrote, whose header has the same without places and times. What the user does not choose then is taken from it: the
model and its options, the intensities, the frame, the mask to be corrected.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from SAMMed2DLib import __version__
from SAMMed2DLib.cli.common.image_job import ImageJob
from SAMMed2DLib.cli.common.options import Unstated
from SAMMed2DLib.cli.common.prompt_options import RequestError, SegmentRequest, axis_and_index, slice_text
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Intensity, Percentiles, Window, rgb_from_slice
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.io.segmentation_io import Segment
from SAMMed2DLib.io.volume_io import VolumeError, read_header
from SAMMed2DLib.registry.built_in import current_name
from SAMMed2DLib.system.files import parsed_json, suffix_of
from SAMMed2DLib.system.formatting import json_kind

if TYPE_CHECKING:
    from SAMMed2DLib.inference.predictor import Predictor

HEADER_KEY = "SAMMed2D_record"
J = TypeVar("J", bound=ImageJob)
_NUMBER = (int, float)
# Of a report, as far as it is the record of a run: the key and the types of its value.
_KINDS: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "checksum": (str,),
    "fit": (str,),
    "precision": (str,),
    "engine": (str,),
    "channel_order": (str,),
    "zoom": (bool,),
    "whole": (bool,),
    "frame": (int, type(None)),
    "series": (str, type(None)),
    "intensities": (dict,),
    "mask": (str, type(None)),
    "mask_checksum": (str, type(None)),
}
_MODEL_OPTIONS = ("model", "precision", "fit", "engine")


@dataclass(frozen=True)
class Provenance:
    """What a report says about how its masks were made.

    Attributes:
        path: of the report.
        values: by key.
        seen: for each slice, by its words, a checksum of what the model saw of it.
    """

    path: str
    values: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)

    def model_options(self, args: argparse.Namespace) -> argparse.Namespace:
        """The same options with the recorded model, precision, fit and engine, where the user did not choose one."""
        recorded = {
            name: self.values[name]
            for name in _MODEL_OPTIONS
            if isinstance(getattr(args, name), Unstated) and self.values.get(name)
        }
        if recorded.get("engine") != "numpy":  # which is always there; PyTorch is taken where it is
            recorded.pop("engine", None)
        if "model" in recorded:
            recorded["model"] = current_name(recorded["model"])
        return argparse.Namespace(**{**vars(args), **recorded})

    def check_model_is_here(self) -> None:
        """Find out whether the recorded model can be had.

        Raises:
            RequestError: it cannot.
        """
        from SAMMed2DLib.registry.known_models import RegistryError, weights_path

        model = self.values["model"]
        try:
            there = weights_path(model).exists()
        except RegistryError:
            there = False
        if not there:
            raise RequestError(
                f"{self.path}: its masks were made with the model {model}, which is not here; add it with `sammed2d "
                "models add` or `models download`, or choose another with --model"
            )

    def job(self, job: J) -> J:
        """The same job with what is recorded, where the user did not choose."""
        names = ("zoom", "frame", "series", "mask")
        taken = {name: self.values[name] for name in names if name in self.values and getattr(job, name, "") is None}
        if taken.get("mask"):  # a header has its name alone: it lies beside
            taken["mask"] = str(Path(self.path).absolute().parent / taken["mask"])
            if not Path(taken["mask"]).exists():
                raise RequestError(
                    f"{self.path}: its prompts correct the mask {taken['mask']}, which is not there; say where it is "
                    "with --mask"
                )
        if self.values.get("whole") and hasattr(job, "whole"):
            taken["whole"] = True
        if not job.has_rule:
            taken |= _rule_of(self.path, self.values.get("intensities", {}))
        return replace(job, **taken)

    def differences(self, made: Mapping[str, Any], seen: Mapping[SlicePlane, str]) -> Iterator[str]:
        """Say in words what is not as recorded.

        Args:
            made: the head of the report of this run.
            seen: for each slice a checksum of what the model saw of it.
        """
        for key in ("model", "fit", "precision", "engine", "channel_order", "zoom", "intensities"):
            if key in self.values and key in made and self.values[key] != made[key]:
                yield f"{key.replace('_', ' ')} {_setting_text(made[key])} instead of {_setting_text(self.values[key])}"
        if self.values.get("checksum", made["checksum"]) != made["checksum"]:
            yield f"the weights of {made['model']} are others (SHA-256)"
        if self.values.get("mask_checksum") and self.values["mask_checksum"] != made.get("mask_checksum"):
            yield "the mask that is corrected is another"
        slices = {slice_text(plane): digest for plane, digest in seen.items()}
        changed = [words for words, digest in slices.items() if self.seen.get(words, digest) != digest]
        if changed:
            yield f"the model sees other pixels on {changed[0]}{' and others' if len(changed) > 1 else ''}"


def read_record(path: str | None) -> Provenance | None:
    """Read what a report says about how its masks were made; None for a file that is no report.

    Raises:
        RequestError: a value of the report is of another type than those that are written.
    """
    content = None if path is None else report_in(Path(path))
    if path is None or content is None:
        return None
    if "every" in content:
        raise RequestError(
            f"{path}: is a report of `sammed2d propagate`, which has no prompts; `sammed2d propagate` carries its mask"
        )
    values = {}
    for key, kinds in _KINDS.items():
        if key in content:
            if not isinstance(content[key], kinds) or (bool not in kinds and isinstance(content[key], bool)):
                raise RequestError(f"{path}: {key} has the wrong type ({json_kind(content[key])})")
            values[key] = content[key]
    return Provenance(path, values, dict(_seen(content)))


def report_in(path: Path) -> dict[str, Any] | None:
    """A report, or what the header of a .seg.nrrd has of one; None for anything else.

    Raises:
        VolumeError, RequestError: a .seg.nrrd that cannot be read, or has no record.
    """
    is_segmentation = suffix_of(path) == ".seg.nrrd"
    try:
        text = read_header(path).get(HEADER_KEY, "") if is_segmentation else path.read_text(encoding="utf-8")
        content = parsed_json(text)
    except (OSError, ValueError) as error:
        if isinstance(error, VolumeError):
            raise
        content = None
    if isinstance(content, dict) and isinstance(content.get("sammed2d"), str):
        return content
    if is_segmentation:
        raise RequestError(f"{path}: has no record of its prompts; only a .seg.nrrd of `sammed2d segment` has one")
    return None


def header_record(head: Mapping[str, Any], segments: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The record for the header of a .seg.nrrd: without places on this computer, which may name a patient.

    Args:
        head: of the report.
        segments: name, color and prompts of each.
    """
    shared = {key: value for key, value in head.items() if key not in ("image", "output", "mask")}
    names = {key: Path(head[key]).name for key in ("image", "mask") if head.get(key)}
    return {HEADER_KEY: json.dumps({**shared, **names, "segments": list(segments)}, ensure_ascii=False)}


def _seen(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    segments = content.get("segments")
    for segment in segments if isinstance(segments, list) else ():
        prompts = segment.get("prompts") if isinstance(segment, dict) else None
        for prompt in prompts if isinstance(prompts, list) else ():
            if isinstance(prompt, dict) and isinstance(prompt.get("seen"), str):
                yield f"slice {prompt.get('slice')} ({prompt.get('axis')})", prompt["seen"]


def record_of(job: ImageJob, predictor: Predictor | None, mask: str | None = None) -> dict[str, Any]:
    """What a report says about how its masks are made, of plain types.

    Args:
        job: what was asked for.
        predictor: the model; None where it was not asked, and the report does not name one.
        mask: file of the mask to be corrected.
    """
    from SAMMed2DLib.checkpoints.checkpoint import sha256_of

    corrected = {"mask": str(Path(mask).absolute()), "mask_checksum": sha256_of(Path(mask))} if mask else {}
    return {
        "sammed2d": __version__,
        "image": str(job.image),
        "frame": job.frame,
        "series": job.series,
        "output": str(job.output),
        **({} if predictor is None else _model_record(job, predictor)),
        **corrected,
    }


def _model_record(job: ImageJob, predictor: Predictor) -> dict[str, Any]:
    """Which model, and how it ran, of plain types."""
    from SAMMed2DLib.checkpoints.checkpoint import sha256_of
    from SAMMed2DLib.registry.known_models import weights_path

    return {
        "model": str(job.model),
        "checksum": sha256_of(weights_path(job.model)),
        "zoom": predictor.prefers_zoom if job.zoom is None else job.zoom,
        "fit": str(getattr(predictor, "fit", "")),
        "channel_order": str(getattr(predictor, "channel_order", "")),
        "device": str(getattr(predictor, "device", "")),
        "precision": str(getattr(predictor, "precision", "")).removeprefix("torch."),
        "engine": str(getattr(getattr(predictor, "engine", None), "name", "")),
    }


def segment_record(segment: Segment, request: SegmentRequest, views: Mapping[SlicePlane, View]) -> dict[str, Any]:
    """Name, colour and prompts of a segment, of plain types.

    Args:
        segment: its name and colour.
        request: its prompts, by slice.
        views: what was seen of each of these slices.
    """
    prompts = [_slice_record(plane, on_slice, views[plane]) for plane, on_slice in request.prompts.items()]
    whole = {"whole": True} if request.whole else {}
    return {"name": segment.name, "color": list(segment.color or ()), **whole, "prompts": prompts}


def _slice_record(plane: SlicePlane, prompts: Prompts, view: View) -> dict[str, Any]:
    """The prompts of one slice, in slice px and in their order, as they are read again, and what the model saw."""
    axis, index = axis_and_index(plane)
    points = [[*map(float, xy), int(label)] for xy, label in zip(prompts.points_xy, prompts.labels, strict=True)]
    given: dict[str, Any] = {"points": points} if points else {}
    if prompts.box_xyxy is not None:
        given["box"] = prompts.box_xyxy.tolist()
    if prompts.strokes:
        given["strokes"] = [
            {"points": s.points_xy.tolist(), "inside": bool(s.label), "closed": s.is_closed, "after": s.after}
            for s in prompts.strokes
        ]
    if prompts.choices:
        given["candidates"] = [list(choice) for choice in prompts.choices]
    if prompts.accepted:
        given["accepted"] = list(prompts.accepted)
    return {"axis": "kji"[axis], "slice": index, **given, "limits": list(view.limits), "seen": view.checksum}


@dataclass(frozen=True)
class View:
    """What the model saw of a slice.

    Attributes:
        limits: the intensities shown as 0 and as 255.
        checksum: 16 hexadecimal digits that change with what the model sees.
    """

    limits: tuple[float, float]
    checksum: str


def image_and_view(values: np.ndarray, intensity: Intensity) -> tuple[np.ndarray, View]:
    """What the model sees of a slice, (H, W, 3) uint8, read-only so that a session reads it once, and its record."""
    limits = _KeptLimits(intensity)
    image = rgb_from_slice(values, limits)
    image.flags.writeable = False
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(image.data)
    return image, View(limits.found, digest.hexdigest()[:16])


class _KeptLimits:
    """A rule for intensities that remembers the limits that it found; 8-bit colour has none but its range."""

    def __init__(self, rule: Intensity) -> None:
        self._rule = rule
        self.found = (0.0, 255.0)

    def limits(self, values: np.ndarray) -> tuple[float, float]:
        low, high = self._rule.limits(values)
        self.found = (float(low), float(high))
        return low, high


def rule_entry(intensity: Intensity) -> dict[str, Any]:
    """A rule for intensities, of plain types."""
    if isinstance(intensity, Window):
        return {"window": [float(intensity.level), float(intensity.width)]}
    if isinstance(intensity, Percentiles):
        return {"percentiles": [float(intensity.low), float(intensity.high)]}
    return {"full_range": True}


def _rule_of(path: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a job for a rule of `rule_entry`."""
    if entry.get("full_range") is True:
        return {"full_range": True}
    for name in ("window", "percentiles"):
        pair = entry.get(name)
        if isinstance(pair, list) and len(pair) == 2 and all(type(number) in _NUMBER for number in pair):
            return {name: (pair[0], pair[1])}
    if entry:
        raise RequestError(f"{path}: intensities are a window, percentiles or the full range, not {json.dumps(entry)}")
    return {}


def _setting_text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        texts = (f"{key} {_setting_text(item)}" for key, item in value.items())
        return ", ".join(text.replace(" on", "").replace("_", " ") for text in texts)
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
