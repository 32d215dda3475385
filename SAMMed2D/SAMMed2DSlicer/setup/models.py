"""Models and devices in the user's words, and the work of getting a model."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

if TYPE_CHECKING:
    from SAMMed2DLib.registry.store import StoredModel


class Download:
    """The work of downloading a known model; a broken one goes on where it stopped.

    Attributes:
        attempt: while it tries again, the number of the attempt and how many there are; set by the thread.
    """

    def __init__(self, model: StoredModel) -> None:
        """Prepare to download a model."""
        self._model = model
        self.attempt: tuple[int, int] | None = None

    def __call__(self, report: Callable[[int, int | None], object], should_stop: Callable[[], bool]) -> Any:
        """Download it, in a thread.

        Args:
            report: gets how many bytes have arrived, and of how many; None where that is unknown.
            should_stop: tells whether to stop.
        """
        from SAMMed2DLib.registry.download import DownloadPolicy
        from SAMMed2DLib.registry.known_models import find, install

        def arrived(done: int, total: int | None) -> None:
            self.attempt = None
            report(done, total)

        policy = DownloadPolicy(on_retry=self._try_again)
        return install(find(self._model.name), progress=arrived, should_cancel=should_stop, policy=policy)

    def _try_again(self, number: int, count: int) -> None:
        self.attempt = number, count


def add(name: str, file: str) -> Callable[..., Any]:
    """The work of keeping the weights of a file under a name; as `Download`, to be called in a thread."""

    def work(report: Callable[[int, int | None], object], should_stop: Callable[[], bool]) -> Any:
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


# To choose from


def device_names(chosen: str, *, is_ready: bool) -> dict[str, str]:
    """Where a model can run, by the name of the device: what is there, and what is chosen.

    Args:
        chosen: the device that is chosen.
        is_ready: whether a model is loaded; before, only what needs no PyTorch is known.
    """
    names = {"auto": _("Automatic"), "cpu": _("Processor (CPU)")}
    if is_ready and "torch" in sys.modules:
        from SAMMed2DLib.inference.devices import available_devices

        names |= {name: f"{what} ({name})" for name, what in available_devices().items() if name != "cpu"}
    names.setdefault(chosen, chosen)
    return names


def model_names(chosen: str) -> dict[str, str]:
    """The titles of the models that are installed, and of the one that is chosen, by name."""
    from SAMMed2DLib.registry.store import stored_models

    known = {model.name: model for model in stored_models()}
    names = {name: model.title if model.entry else name for name, model in known.items() if model.is_installed}
    if chosen in known and chosen not in names:
        names[chosen] = _("{title} (not installed)").format(title=known[chosen].title)
    names.setdefault(chosen, os.path.basename(chosen))
    return names
