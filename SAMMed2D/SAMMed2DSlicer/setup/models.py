"""Choosing a model, and the work of getting one, for the panel and for scripts."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from SAMMed2DSlicer.inference import service
from SAMMed2DSlicer.setup import background_job, pytorch

if TYPE_CHECKING:
    from SAMMed2DLib.registry.store import StoredModel


def choose(model: str, device: str = "auto") -> None:
    """Use another model from the next request on.

    Args:
        model: the name of an installed model, or the path of a weights file.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        CatalogueError: there is no such model here.
    """
    from SAMMed2DLib.registry.known_models import CatalogueError, weights_path

    try:
        path = weights_path(model)
    except CatalogueError as error:
        raise CatalogueError(pytorch.explain(error)) from error
    if not path.is_file():
        raise CatalogueError(_("There is no weights file {path}.").format(path=path))
    name = os.path.abspath(model) if model.endswith((".pt", ".pth")) else model
    shared = service.shared()
    shared.choose(replace(shared.choice, model=name, device=device))


class Download:
    """The work of downloading a model of the catalogue; a broken one goes on where it stopped.

    Attributes:
        attempt: while it tries again, the number of the attempt and how many there are; set by the thread.
    """

    def __init__(self, model: StoredModel) -> None:
        """Prepare to download a model."""
        self._model = model
        self.attempt: tuple[int, int] | None = None

    def __call__(self, report: background_job.Report, should_stop: Callable[[], bool]) -> Any:
        """Download it, in a thread."""
        from SAMMed2DLib.registry.download import DownloadPolicy
        from SAMMed2DLib.registry.known_models import find, install

        def arrived(done: int, total: int | None) -> None:
            self.attempt = None
            report(done, total)

        policy = DownloadPolicy(on_retry=self._try_again)
        return install(find(self._model.name), progress=arrived, should_cancel=should_stop, policy=policy)

    def _try_again(self, number: int, count: int) -> None:
        self.attempt = number, count


def add(name: str, file: str) -> background_job.Work:
    """The work of keeping the weights of a file under a name."""

    def work(report: background_job.Report, should_stop: Callable[[], bool]) -> Any:
        from SAMMed2DLib.registry.store import add_model

        return add_model(name, file)

    return work


def question_before_download(model: StoredModel) -> str:
    """What the user is asked before a download: its size, and the licences."""
    from SAMMed2DLib.system.memory import in_gib

    size = in_gib(model.size_bytes) if model.size_bytes else _("size unknown, some hundred MiB or more")
    return _(
        "Download {title} ({size})?\n\n{what}\n\nLicence of the weights: {weights}\n\n"
        "Licence of the training data: {data}\n\n"
        "The code of SAMMed2D is under the Apache License 2.0."
    ).format(title=model.title, size=size, what=model.what, weights=model.weights_licence, data=model.data_licence)


def name_of(model: StoredModel) -> str:
    """What a model is called in lists."""
    return model.title if model.entry is not None else model.name


def size_of(model: StoredModel) -> str:
    """Its size, of the file or of the download; "?" if nobody knows."""
    from SAMMed2DLib.system.memory import in_gib

    return in_gib(model.size_bytes) if model.size_bytes else "?"


def details_of(model: StoredModel) -> str:
    """What it is, and under which licences; rich text."""
    parts = [html.escape(model.what)]
    for title, licence in (
        (_("Licence of the weights:"), model.weights_licence),
        (_("Licence of the training data:"), model.data_licence),
    ):
        if licence:
            parts.append(f"<b>{title}</b> {html.escape(licence)}.")
    return "".join(f"<p>{part}</p>" for part in parts)


def state_of(model: StoredModel) -> str:
    """Whether a model is here, in one or two words."""
    if model.entry is not None and model.entry.embedded:
        return _("built in") if model.is_installed else _("missing")
    if model.entry is None:
        return _("added")
    return _("installed") if model.is_installed else _("not installed")
