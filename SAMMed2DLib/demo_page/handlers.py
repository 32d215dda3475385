"""What the controls of the page call, for all visitors: each handler takes plain values and returns what is shown."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from SAMMed2DLib.cli.common.errors import message_of
from SAMMed2DLib.demo_page.downloads import write_files, write_surfaces
from SAMMed2DLib.demo_page.examples import Example, examples
from SAMMed2DLib.demo_page.model_shelf import ModelShelf
from SAMMed2DLib.demo_page.opening import Limits, open_upload
from SAMMed2DLib.demo_page.view import (
    candidate_text,
    limits_shown,
    picture_of,
    place_in_slice,
    progress_bar,
    segments_html,
    shown,
)
from SAMMed2DLib.demo_page.visitors import Visitor, Visitors
from SAMMed2DLib.demo_page.workspace import DemoError, OpenImage, Workspace, box_between
from SAMMed2DLib.imaging.intensity import Intensity, Percentiles, Window
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Stopped

WINDOWS: dict[str, Intensity] = {
    "Automatic (each slice)": Percentiles(),
    "CT soft tissue (40 / 400)": Window(width=400, level=40),
    "CT chest (-250 / 1500)": Window(width=1500, level=-250),
    "CT lung (-600 / 1500)": Window(width=1500, level=-600),
    "CT bone (400 / 1800)": Window(width=1800, level=400),
    "CT brain (40 / 80)": Window(width=80, level=40),
    "8-bit as it is (0 to 255)": Window.of_range(0, 255),
}
CUSTOM = "Own"
OPEN = "Open a file of yours"
_DIGEST_LETTERS = 64  # of a folder that Gradio names after an upload's SHA-256
# The view before an image is open.
NOTHING = {"serial": 0, "picture": "", "slices": 1, "index": 0, "trouble": True, "is_last": True}


class DemoPage:
    """The handlers of the page's controls, for all visitors."""

    def __init__(self, folder: Path, *, model: str, device: str, limits: Limits) -> None:
        """Prepare the examples and load the model.

        Args:
            folder: for all files; Gradio's uploads lie there too.
            model: that is asked at first.
            device: of the models.
            limits: on visitors and files.
        """
        self.limits = limits
        self.folder = folder
        drawn = folder / "examples"
        drawn.mkdir()
        self.examples: dict[str, Example] = {example.title: example for example in examples(drawn)}
        self.shelf = ModelShelf(device)
        self.shelf.predictor(model)
        self.visitors = Visitors(self.shelf, folder, self.limits, model)

    def visitor(self, request: gr.Request) -> Visitor:
        """Who asks.

        Raises:
            gradio.Error: nobody who can be answered; the page shows the message.
        """
        try:
            return self.visitors.of(request.session_hash)
        except DemoError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def prompt(self, request: gr.Request, event: gr.EventData) -> tuple[dict[str, Any], str]:
        """A click, a box, or one of the buttons over the slice."""
        what = event._data or {}
        view, segments = self._done(request, lambda workspace: _do(workspace, what))
        return {**view, "answers": what.get("at")}, segments

    def candidates(self, request: gr.Request) -> dict[str, Any]:
        """How many other masks the prompts may mean: told after the mask, unless something else is asked first."""
        workspace = self.visitor(request).workspace
        with workspace.lock:
            draft, model = workspace.draft, workspace.model
            prompts = None if workspace.image is None else draft.segment.drafts.get(workspace.plane)
            image = None if prompts is None else workspace.model_image()
        if prompts is None or image is None:
            return gr.skip()
        try:
            found = self.shelf.answer(workspace, model, image, prompts, candidates=True, gives_way=True)
        except Stopped:
            return gr.skip()
        is_current = workspace.draft is draft
        return {"only": "candidate", "candidate": candidate_text(found)} if is_current else gr.skip()

    def rest(self, request: gr.Request, event: gr.EventData) -> dict[str, Any]:
        """The mouse rests or is pressed: the answer to a first click or box there is prepared, if nothing else is done.

        Returns:
            for one that is pressed, a coarse mask, to be shown until the answer to the click is there.
        """
        workspace, what = self.visitor(request).workspace, event._data or {}
        if workspace.image is None or not workspace.lock.acquire(blocking=False):
            return gr.skip()
        try:
            is_there = workspace.index == what["index"]  # else the slice was left, or comes next
            if not is_there or not workspace.draft.segment.prompts_on(workspace.plane).is_empty:
                return gr.skip()
            seen, image = copy(workspace), workspace.model_image()
            places = place_in_slice(seen, what["at"])
            size_hw = image.shape[:2]
            box = None if len(places) == 1 else box_between(places, size_hw)
            prompts = Prompts.of(positive=places if box is None else (), box=box).checked(size_hw)
            coarse = self.shelf.answer_ahead(workspace, workspace.model, image, prompts)
        except DemoError:  # a box that is too small yet
            return gr.skip()
        finally:
            workspace.lock.release()
        mask = coarse.result() if what.get("pressed") else None
        return gr.skip() if mask is None else {"coarse": picture_of(seen, prompts, mask), "at": what["at"]}

    def scroll(self, request: gr.Request, event: gr.EventData) -> dict[str, Any]:
        """Another slice."""
        index = int((event._data or {})["index"])
        return {**self._done(request, lambda workspace: workspace.show(index), ahead=True)[0], "scrolled": index}

    def open_example(self, title: str, request: gr.Request) -> tuple[Any, ...]:
        """One of the examples."""
        return self._opened(request, lambda workspace: workspace.open(self.examples[title].open()))

    def open_file(self, path: str, frame: float | None, series: str, request: gr.Request) -> tuple[Any, ...]:
        """A file of the visitor's.

        Args:
            path: of the file that Gradio keeps.
            frame: which volume of a 4D image.
            series: which series of a DICOM archive; empty for the only one.
            request: of the visitor.
        """

        def work(workspace: Workspace) -> None:
            number = None if frame is None else int(frame)
            workspace.open(open_upload(path, frame=number, series=series.strip() or None, limits=self.limits))

        try:
            return self._opened(request, work)
        finally:
            _sweep(self.folder)

    def choose_axis(self, axis: str, request: gr.Request) -> dict[str, Any]:
        """Slices of another direction, from the middle on."""

        def work(workspace: Workspace) -> None:
            workspace.show(0, axis.lower())
            workspace.show(workspace.slices // 2)

        return self._done(request, work, ahead=True)[0]

    def choose_window(self, name: str, request: gr.Request) -> tuple[Any, ...]:
        """A window from the list."""

        def work(workspace: Workspace) -> str:
            workspace.rule = WINDOWS.get(name, workspace.rule)
            return _frozen_words(workspace)

        view, _ = self._done(request, work, ahead=True)
        return view, *_levels(self.visitor(request).workspace)

    def set_window(self, level: float | None, width: float | None, request: gr.Request) -> tuple[Any, ...]:
        """A window of the visitor's own.

        Args:
            level: its middle.
            width: of it.
            request: of the visitor.
        """
        before = _levels(self.visitor(request).workspace)
        if level is None or width is None or (level, width) == before:  # a field was only left
            return gr.skip(), gr.skip()

        def work(workspace: Workspace) -> str:
            workspace.rule = Window(width=width, level=level)
            return _frozen_words(workspace)

        return self._done(request, work, ahead=True)[0], CUSTOM

    def choose_model(self, name: str, request: gr.Request) -> tuple[dict[str, Any], str]:
        """Another model."""
        view, _ = self._done(request, lambda workspace: workspace.choose_model(name), ahead=True)
        return view, self.visitor(request).workspace.model

    def segment(self, request: gr.Request, event: gr.EventData) -> tuple[dict[str, Any], str]:
        """One of the list of segments, or its removal."""

        def work(workspace: Workspace) -> None:
            what = event._data or {}
            workspace.select(int(what["number"]))
            if what.get("do") == "remove":
                workspace.remove_segment()

        return self._done(request, work)

    def add_segment(self, name: str, request: gr.Request) -> tuple[Any, ...]:
        """A new segment."""
        return *self._done(request, lambda workspace: workspace.add_segment(name)), ""

    def rename_segment(self, name: str, request: gr.Request) -> tuple[Any, ...]:
        """Another name for the selected segment."""
        return *self._done(request, lambda workspace: workspace.add_segment(name, rename=True)), ""

    def propagate(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """All segments through all slices; what comes meanwhile is how far it is."""
        try:
            workspace = self.visitor(request).workspace
            steps, shown_share = workspace.propagated(), 0
            yield gr.skip(), gr.skip(), progress_bar(0, "Propagating")
            for done, total in steps:
                if 50 * done // total > shown_share:
                    shown_share = 50 * done // total
                    yield gr.skip(), gr.skip(), progress_bar(done / total, f"Propagating: slice {done} of {total}")
        except Stopped:
            yield gr.skip(), gr.skip(), progress_bar(None, "Cancelled: nothing was changed.")
        except Exception as error:
            yield gr.skip(), gr.skip(), progress_bar(None, _told(error))
        else:
            segment = workspace.draft.segment
            words = f"{segment.name} is on {len(segment.accepted) + len(segment.carried)} slices."
            yield *self._done(request, lambda _: words), progress_bar(1, "Done")

    def cancel(self, request: gr.Request) -> None:
        """Stop the propagation."""
        self.visitor(request).workspace.is_cancelled.set()

    def least_sure(self, request: gr.Request) -> tuple[dict[str, Any], str, Any]:
        """Go to the carried slice that should be looked at first."""

        def work(workspace: Workspace) -> None:
            workspace.show_least_sure()

        view, segments = self._done(request, work, ahead=True)
        workspace = self.visitor(request).workspace
        return view, segments, gr.skip() if workspace.image is None else workspace.axis_name.capitalize()

    def surfaces(self, request: gr.Request) -> tuple[Any, ...]:
        """The 3D view."""
        return self._written(request, lambda visitor: str(write_surfaces(visitor.workspace, visitor.folder)))

    def files(self, request: gr.Request) -> tuple[Any, ...]:
        """The files to download, with the image where it is an example."""

        def write(visitor: Visitor) -> list[str]:
            paths = write_files(visitor.workspace, visitor.folder)
            image = visitor.workspace.image
            if image is not None and (title := _title(image, self.examples)):
                path = self.examples[title].path
                paths.append(Path(shutil.copy(path, visitor.folder / path.name)))
            return list(map(str, paths))

        return self._written(request, write)

    def begin(self, request: gr.Request) -> tuple[Any, ...]:
        """A visitor comes: the first example is open."""
        return self.open_example(next(iter(self.examples)), request)

    def leave(self, request: gr.Request) -> None:
        """A visitor goes: all that there was of him is freed."""
        self.visitors.close(request.session_hash)

    def _done(
        self, request: gr.Request, work: Callable[[Workspace], str | None], *, ahead: bool = False
    ) -> tuple[dict[str, Any], str]:
        """Do something and show the slice and the segments; an error is told instead."""
        workspace = None
        try:
            workspace = self.visitor(request).workspace
            with workspace.lock:
                view = shown(workspace, work(workspace) or "")
                if ahead:
                    self.shelf.encode_ahead(workspace, workspace.model, partial(workspace.model_image, workspace.plane))
        except Exception as error:
            if workspace is None:
                return {**NOTHING, "message": _told(error)}, ""
            view = shown(workspace, _told(error), trouble=True)
        return view, segments_html(workspace)

    def _opened(self, request: gr.Request, work: Callable[[Workspace], None]) -> tuple[Any, ...]:
        """Open an image; returns all that depends on it."""

        def opened(workspace: Workspace) -> str:
            work(workspace)
            image = workspace.image
            assert image is not None
            return "\n".join([*([f"{image.file}: {image.note}"] if image.note else []), *image.volume.notes])

        view, segments = self._done(request, opened, ahead=True)
        try:
            workspace = self.visitor(request).workspace
        except gr.Error:
            return view, segments, *[gr.skip()] * 7
        is_volume = workspace.image is not None and 1 not in workspace.volume.array.shape[:3]
        names = ["Axial", "Coronal", "Sagittal"] if is_volume else []
        axis = gr.Radio(choices=names, value=workspace.axis_name.capitalize() if names else None, visible=bool(names))
        return view, segments, axis, *_window_and_levels(workspace), None, *_named(workspace, self.examples)

    def _written(self, request: gr.Request, write: Callable[[Visitor], Any]) -> tuple[Any, ...]:
        """Write files; returns their names and what is to be told."""
        try:
            visitor = self.visitor(request)
            with visitor.workspace.lock:
                return write(visitor), gr.skip()
        except Exception as error:
            workspace = self.visitor(request).workspace
            return None, shown(workspace, _told(error), trouble=True)


def _title(image: OpenImage, examples: Mapping[str, Example]) -> str | None:
    """The example that an image is; None for a file of the visitor's."""
    return next((title for title, one in examples.items() if image.note and one.path.name == image.file), None)


def _named(workspace: Workspace, examples: Mapping[str, Example]) -> tuple[Any, ...]:
    """The list of examples and the button for files, which say what is open."""
    if workspace.image is None:
        return gr.skip(), gr.skip()
    title = _title(workspace.image, examples)
    return title, gr.UploadButton(label=OPEN if title else f"{workspace.image.file} is open: open another")


def _levels(workspace: Workspace) -> tuple[Any, ...]:
    """Level and width as they are shown."""
    if workspace.image is None:
        return gr.skip(), gr.skip()
    level, width = limits_shown(workspace)
    return round(level, 3), round(width, 3)


def _window_and_levels(workspace: Workspace) -> tuple[Any, ...]:
    """The same after the name of the window."""
    name = next((name for name, rule in WINDOWS.items() if rule == workspace.rule), CUSTOM)
    return gr.skip() if workspace.image is None else name, *_levels(workspace)


def _do(workspace: Workspace, what: dict[str, Any]) -> None:
    """What the visitor did, on the slice that he had come to."""
    workspace.show(int(what["index"]))
    if what["do"] == "point":
        workspace.point(place_in_slice(workspace, what["at"])[0], int(bool(what["inside"])))
    elif what["do"] == "box":
        workspace.box(place_in_slice(workspace, what["at"]))
    elif what["do"] in ("smaller", "larger"):
        workspace.other_candidate(1 if what["do"] == "larger" else -1)
    elif what["do"] in ("undo", "clear", "accept"):
        getattr(workspace, what["do"])()


def _sweep(folder: Path) -> None:
    """Remove what Gradio leaves of an upload: an empty file, and the folder of the one that was read."""
    for path in folder.iterdir():
        if path.is_file() and not path.stat().st_size:
            path.unlink(missing_ok=True)
        elif path.is_dir() and len(path.name) == _DIGEST_LETTERS and not any(path.iterdir()):
            path.rmdir()


def _told(error: Exception) -> str:
    """An error as the visitor reads it."""
    if isinstance(error, gr.Error):
        return error.message
    return str(error) if isinstance(error, DemoError) else message_of(error)


def _frozen_words(workspace: Workspace) -> str:
    """That the model sees something else than what is shown, where it does."""
    if workspace.draft.rule in (None, workspace.rule):
        return ""
    return (
        "This window is for you: the model goes on with the one of the accepted masks, so that one file of prompts "
        "gives them all again. Remove the segments to change it for the model."
    )
