"""The report of an evaluation: Markdown, tables for machines, charts and the contact sheet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from SAMMed2DLib.evaluation.evaluation_options import FRAME_PX, SIMULATED_USER, TARGETS, EvaluationOptions
from SAMMed2DLib.evaluation.evaluation_run import PICTURES, REPORT, SHEET, SUMMARY, EvaluationRun, Source
from SAMMed2DLib.evaluation.report import evaluation_charts
from SAMMed2DLib.evaluation.report.averages import GROUPINGS, Average, averages, clicks_needed, grouped, means, table
from SAMMed2DLib.evaluation.report.baseline_comparison import Comparison
from SAMMed2DLib.evaluation.report.evaluation_contact_sheet import draw_contact_sheet
from SAMMed2DLib.evaluation.scores import METRICS, ObjectResult
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.plots.figure import missing
from SAMMed2DLib.plots.overlay import write_png
from SAMMed2DLib.system.files import StagedFiles
from SAMMed2DLib.system.formatting import counted

# Dice in per cent, as quoted in the project's README: model, side of the frame, then PROMPTS.
PUBLISHED_DICE: tuple[tuple[str, int, tuple[float, float, float, float]], ...] = (
    ("SAM", 256, (61.63, 18.94, 28.28, 37.47)),
    ("SAM", 1024, (74.49, 36.88, 42.00, 47.57)),
    ("FT-SAM", 256, (73.56, 60.11, 70.95, 75.51)),
    ("SAM-Med2D", 256, (79.30, 70.01, 76.35, 78.68)),
)
PROMPTS = ("box", "1 click", "3 clicks", "5 clicks")
REMARK = (
    "The published numbers are Dice in % on the authors' own test images, means over masks, as their README quotes "
    "them. Those images are other ones than here, so the rows say what to expect, not which model is better."
)
REMARK_ON_CLICKS = (
    "Their clicks are drawn at random where the mask is wrong; those of this run are in the middle of the largest "
    "error. `--protocol published` draws them as they do."
)
_FASTEST = 1e4  # images in a second; what is faster does not encode at all


def write_report(
    run: EvaluationRun,
    predictor: Predictor,
    sources: Sequence[Source],
    peers: Sequence[str] = (),
    finished: bool = True,
) -> Path:
    """Write report.md, summary.csv, summary.json, and with matplotlib the charts and the contact sheet into
    the run's folder.

    Args:
        run: with its results.
        predictor: the model, which predicts again for the contact sheet.
        sources: the images, for the contact sheet.
        peers: names of the other models.
        finished: False if images are still to be done; the contact sheet is left out then.

    Returns:
        the Markdown file.
    """
    folder, results = run.folder, run.results
    charts_written = _write_charts(run, predictor, sources, peers, finished) if results and not missing() else []
    text = "\n\n".join(_parts(run, peers, finished, charts_written)) + "\n"
    with StagedFiles() as staged:
        staged.place(folder / REPORT).write_text(text, encoding="utf-8")
        summary = staged.place(folder / f"{SUMMARY}.json")
        summary.write_text(json.dumps(summary_of(run, finished, peers), indent=1) + "\n", encoding="utf-8")
        with staged.place(folder / f"{SUMMARY}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(summary_rows(results))
            if run.options.baselines and results:
                csv.writer(file).writerows(comparison_of(run, peers).gain_rows())
    return folder / REPORT


def summary_rows(results: Sequence[ObjectResult]) -> Iterator[list[str]]:
    """Means over masks of every group and kind of prompt, one line each."""
    yield ["grouping", "group", "masks", "prompt", *METRICS]
    for grouping, by in [("all", lambda result: "all"), *GROUPINGS.items()]:
        for name, group in grouped(results, by).items():
            of_metric = {metric: means(group, metric) for metric in METRICS}
            for kind in of_metric["dice"]:
                values = [f"{of_metric[m][kind]:.4f}" if kind in of_metric[m] else "" for m in METRICS]
                yield [grouping, name, str(len(group)), kind, *values]


def comparison_of(run: EvaluationRun, peers: Sequence[str]) -> Comparison:
    """The model beside the baselines and the other models."""
    return Comparison(run.results, run.options, peers)


def summary_of(run: EvaluationRun, finished: bool, peers: Sequence[str] = ()) -> dict[str, Any]:
    """The averages, gains, speeds and problems, for other programs.

    Args:
        run: with its results.
        finished: False if images are still to be done.
        peers: names of the other models.
    """
    results = run.results
    known = [metric for metric in METRICS if results and getattr(results[0], metric)]
    found = {metric: {k: asdict(a) for k, a in averages(results, metric).items()} for metric in known}
    needed = {str(t): asdict(clicks_needed(results, t)) for t in TARGETS} if results and results[0].curve else {}
    return {
        "settings": run.settings,
        "finished": finished,
        "masks": len(results),
        "averages": found,
        "comparison": comparison_of(run, peers).summary() if run.options.baselines and results else {},
        "clicks_needed": needed,
        "speeds": [asdict(speed) for speed in run.speeds],
        "problems": [asdict(problem) for problem in run.problems],
    }


def _write_charts(
    run: EvaluationRun, predictor: Predictor, sources: Sequence[Source], peers: Sequence[str], finished: bool
) -> list[str]:
    """Write what can be drawn; the names of the files without suffix."""
    results = run.results
    kinds = evaluation_charts.main_kinds(results, peers, run.options.clicks)
    images = {
        "dice_by_prompt": evaluation_charts.dice_by_prompt(results, kinds),
        "size_plot": evaluation_charts.size_plot(results, kinds),
    }
    if run.options.box_jitters:
        images["jitter_curve"] = evaluation_charts.jitter_curve(results, run.options, peers)
    if results[0].curve:
        images["clicks_curve"] = evaluation_charts.clicks_curve(results)
    if finished:
        images[SHEET] = draw_contact_sheet(predictor, sources, results, run.options, prompts=run.prompts)
    for name, image in images.items():
        write_png(run.folder / f"{name}.png", image)
    return list(images)


def _parts(run: EvaluationRun, peers: Sequence[str], finished: bool, charts_written: Sequence[str]) -> Iterator[str]:
    yield f"# Evaluation of {run.settings.get('model', 'a model')}"
    if not finished:
        yield "**Stopped before the end: these are the results so far; the same command goes on.**"
    yield _settings_table(run)
    if run.results and run.options.baselines:
        yield from comparison_of(run, peers).parts()
    if run.results:
        if reason := missing():
            yield f"The pictures are left out: {reason}"
        yield from _tables(run, peers, charts_written)
    else:
        yield "Nothing could be evaluated."
    yield from _speed_part(run)
    yield from _problem_part(run)


def _settings_table(run: EvaluationRun) -> str:
    results, options = run.results, run.options
    sets = len({result.dataset for result in results})
    counts = (
        f"{counted(len(results), 'mask')} of {counted(len({result.key[:2] for result in results}), 'image')} of "
        f"{counted(sets, 'data set')}"
    )
    rows = [["measured", counts], *([key, _words(value)] for key, value in run.settings.items())]
    if options.tolerance_px:
        note = f"tolerance {options.tolerance_px:g} px, where the longer side of the image has {FRAME_PX} px"
        rows.append(["surface distance (NSD)", note])
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value) or "none"
    return str(value)


def _tables(run: EvaluationRun, peers: Sequence[str], charts_written: Sequence[str]) -> Iterator[str]:
    results = run.results
    yield "## All prompts"
    yield (
        "In brackets the 95 % interval from drawing patients (images where they are not known) anew within each data "
        "set, 1000 times; a data set of one patient adds nothing to it."
    )
    yield prompt_table(results)
    yield from _chart(charts_written, "dice_by_prompt")
    yield from _chart(charts_written, "jitter_curve")
    if results[0].curve:
        yield from _click_parts(run, charts_written)
    kinds = evaluation_charts.main_kinds(results, peers, run.options.clicks)
    for grouping in GROUPINGS:
        yield f"## Dice by {grouping}"
        yield group_table(results, grouping, kinds)
        yield from _chart(charts_written, "size_plot") if grouping == "size" else ()
    yield from _published_part(results, run.options)
    if SHEET in charts_written:
        yield "## Best, median and worst masks"
        yield "Orange: the model's mask. White: the label's outline. Blue: the box. Green + and pink -: clicks."
        yield f"![Best, median and worst masks]({SHEET}.png)"


def _chart(charts_written: Sequence[str], name: str) -> Iterator[str]:
    if name in charts_written:
        yield f"![{PICTURES[name]}]({name}.png)"


def prompt_table(results: Sequence[ObjectResult]) -> str:
    """All kinds of prompts: every measure, over masks and over data sets."""
    names = {"dice": "Dice", "iou": "IoU", "nsd": "NSD"}
    known = [metric for metric in METRICS if getattr(results[0], metric)]
    found = {metric: averages(results, metric) for metric in known}
    head = ["prompt", *(f"{names[metric]}, {over}" for metric in known for over in ("masks", "data sets"))]
    rows = [
        [kind, *(text for metric in known for text in _average_texts(found[metric][kind], metric == "dice"))]
        for kind in found["dice"]
    ]
    return table(head, rows)


def _average_texts(average: Average, with_range: bool) -> tuple[str, str]:
    if not with_range:
        return f"{average.weighted:.3f}", f"{average.macro:.3f}"
    ranges = (average.weighted_range, average.macro_range)
    weighted, macro = (f"[{low:.3f}, {high:.3f}]" for low, high in ranges)
    return f"{average.weighted:.3f} {weighted}", f"{average.macro:.3f} {macro}"


def group_table(results: Sequence[ObjectResult], grouping: str, kinds: Sequence[str]) -> str:
    """Mean Dice over the masks of each group, and below the means over all masks and over the groups.

    Args:
        results: of all objects.
        grouping: of `GROUPINGS`.
        kinds: of prompts, one column each.

    Returns:
        Markdown.
    """
    by_group = {name: (len(group), means(group)) for name, group in grouped(results, GROUPINGS[grouping]).items()}
    rows = [[name, str(count), *(f"{row[kind]:.3f}" for kind in kinds)] for name, (count, row) in by_group.items()]
    overall = means(results)
    rows.append(["**all masks**", str(len(results)), *(f"{overall[kind]:.3f}" for kind in kinds)])
    macro = {kind: sum(row[kind] for _, row in by_group.values()) / len(by_group) for kind in kinds}
    rows.append(["**mean of the rows**", str(len(results)), *(f"{macro[kind]:.3f}" for kind in kinds)])
    return table([grouping, "masks", *kinds], rows)


def _click_parts(run: EvaluationRun, charts_written: Sequence[str]) -> Iterator[str]:
    yield "## Clicks needed"
    yield (
        f"Until the mask has this Dice for the first time, {run.options.most_clicks} at most; masks that never reach "
        f"it count as {run.options.most_clicks}."
    )
    yield clicks_table(run.results)
    yield from _chart(charts_written, "clicks_curve")


def clicks_table(results: Sequence[ObjectResult]) -> str:
    """Clicks needed in each data set, and over all masks."""
    head = ["data set", "masks", *(f"{word} {t:g}" for t in TARGETS for word in ("clicks to", "median to", "reached"))]
    groups = {**grouped(results, GROUPINGS["data set"]), "**all masks**": list(results)}
    rows = []
    for name, group in groups.items():
        found = [clicks_needed(group, target) for target in TARGETS]
        texts = (
            text for clicks in found for text in (f"{clicks.mean:.1f}", f"{clicks.median:g}", f"{clicks.reached:.0%}")
        )
        rows.append([name, str(len(group)), *(text.replace("%", " %") for text in texts)])
    return table(head, rows)


def _published_part(results: Sequence[ObjectResult], options: EvaluationOptions) -> Iterator[str]:
    own = means(results)
    yield "## Beside the published numbers"
    yield REMARK + (f" {REMARK_ON_CLICKS}" if options.protocol == SIMULATED_USER else "")
    rows = [[f"{name}, {side} px", *(f"{value:.2f}" for value in values)] for name, side, values in PUBLISHED_DICE]
    rows.append(["**this run**, other images", *(f"{100 * own[kind]:.2f}" if kind in own else "" for kind in PROMPTS)])
    yield table(["", *PROMPTS], rows)


def _speed_part(run: EvaluationRun) -> Iterator[str]:
    if not run.speeds:
        return
    yield "## Speed"
    yield "Medians over images. Encoding: a whole image. Decoding: one box, to the mask at the image's size."
    names = {run.speeds[0].name: f"**{run.settings.get('model', run.speeds[0].name)}**"}
    rows = [
        [
            names.get(speed.name, speed.name),
            _per_second(speed.encode_s),
            _per_second(speed.decode_s),
            _per_second(speed.encode_s + speed.decode_s),
            f"{speed.device}, {speed.precision}, {counted(speed.threads, 'thread')}, {counted(speed.images, 'image')}",
        ]
        for speed in run.speeds
    ]
    yield table(["model", "images encoded/s", "boxes decoded/s", "both/s", "measured on"], rows)


def _per_second(seconds: float) -> str:
    """How often in a second; nothing where nothing is done, as by a model that encodes only what a box shows."""
    rate = 1 / max(seconds, 1e-9)
    return "" if rate > _FASTEST else f"{rate:.1f}" if rate < 10 else f"{rate:.0f}"


def _problem_part(run: EvaluationRun) -> Iterator[str]:
    if run.problems:
        yield "## Left out"
        yield f"{counted(len(run.problems), 'image or mask', 'images or masks')} could not be used:"
        yield "\n".join(f"- `{problem.name}`: {problem.reason}" for problem in run.problems)
