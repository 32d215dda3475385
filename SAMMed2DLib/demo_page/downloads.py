"""The files of a visitor: the segmentation, a label map, the prompts that give both again, the surfaces."""

from __future__ import annotations

import json
from pathlib import Path

from SAMMed2DLib.cli.common.prompt_options import SegmentRequest
from SAMMed2DLib.cli.common.provenance import header_record, image_and_view, record_of, rule_entry, segment_record
from SAMMed2DLib.cli.segment import SegmentJob
from SAMMed2DLib.demo_page.drafts import DraftSegment
from SAMMed2DLib.demo_page.workspace import DemoError, Workspace
from SAMMed2DLib.io.segmentation_io import Segment, write_segmentation
from SAMMed2DLib.plots.gltf import ColoredSurface, write_glb
from SAMMed2DLib.plots.surface import surface_of
from SAMMed2DLib.system.files import StagedFiles, stem_of


def write_files(workspace: Workspace, folder: Path) -> list[Path]:
    """Write all accepted and carried masks.

    Args:
        workspace: of the visitor.
        folder: where to.

    Returns:
        the .seg.nrrd, the label map and the JSON file of the prompts.

    Raises:
        DemoError: nothing is accepted.
    """
    written = _written(workspace)
    image, volume = workspace.image, workspace.volume
    assert image is not None
    stem = stem_of(image.file)
    is_picture = volume.array.shape[0] == 1 and not volume.has_spacing
    output = folder / f"{stem}.seg.nrrd"
    labels = folder / f"{stem}-labels{'.png' if is_picture else '.nii.gz'}"
    segments = [Segment(segment.name, segment.color) for segment in written]
    model = workspace.model
    job = SegmentJob(image=image.file, output=output.name, frame=image.frame, series=image.series, model=model)
    head = record_of(job, workspace.shelf.predictor(model))
    head["intensities"] = rule_entry(workspace.seen_rule)
    records = [_record(workspace, segment) for segment in written]
    prompts = folder / f"{stem}-prompts.json"
    masks = [segment.volume_mask(volume.array.shape[:3]) for segment in written]
    write_segmentation(output, masks, volume, segments, header_record(head, records))
    write_segmentation(labels, masks, volume, segments)
    with StagedFiles() as staged:
        text = json.dumps({**head, "segments": records}, indent=2, ensure_ascii=False)
        staged.place(prompts).write_text(text + "\n", encoding="utf-8")
    return [output, labels, prompts]


def write_surfaces(workspace: Workspace, folder: Path) -> Path:
    """Write the surfaces of all segments.

    Args:
        workspace: of the visitor.
        folder: where to.

    Returns:
        the file, .glb.

    Raises:
        DemoError: nothing is accepted.
    """
    volume = workspace.volume
    parts = [
        ColoredSurface(
            segment.name, segment.color, surface_of(segment.volume_mask(volume.array.shape[:3]), volume.ijk_to_ras)
        )
        for segment in _written(workspace)
    ]
    path = folder / "segments.glb"
    write_glb(path, parts)
    return path


def _written(workspace: Workspace) -> list[DraftSegment]:
    if not workspace.draft.written:
        raise DemoError("Nothing is accepted yet: click on an object, then accept its mask.")
    return workspace.draft.written


def _record(workspace: Workspace, segment: DraftSegment) -> dict[str, object]:
    """What a report of `sammed2d segment` says of a segment."""
    prompts = {plane: kept.prompts for plane, kept in segment.accepted.items()}
    array, rule = workspace.volume.array, workspace.seen_rule
    views = {plane: image_and_view(plane.extract(array), rule)[1] for plane in prompts}
    request = SegmentRequest(segment.name, segment.color, prompts, segment.whole)
    return segment_record(Segment(segment.name, segment.color), request, views)
