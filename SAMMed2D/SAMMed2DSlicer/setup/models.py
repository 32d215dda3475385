"""Texts of models and devices for the panels, and downloading and importing models in the background."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

if TYPE_CHECKING:
    from SAMMed2DLib.registry.store import StoredModel


class ModelDownload:
    """Downloads a known model as `BackgroundWork`; continues a partial download.

    Attributes:
        attempt: during a retry, its number and how many there are; set by the thread.
    """

    def __init__(self, model: StoredModel) -> None:
        """Prepare to download a model."""
        self._model = model
        self.attempt: tuple[int, int] | None = None

    def __call__(self, report: Callable[[int, int | None], object], should_stop: Callable[[], bool]) -> Any:
        """Download it, in a thread.

        Args:
            report: gets how many bytes have arrived, and of how many; None if unknown.
            should_stop: whether to stop.
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


def model_import(name: str, file: str) -> Callable[..., Any]:
    """`BackgroundWork` that imports a weights file as a model with this name."""

    def work(report: Callable[[int, int | None], object], should_stop: Callable[[], bool]) -> Any:
        from SAMMed2DLib.registry.store import add_model

        return add_model(name, file)

    return work


def download_question(model: StoredModel) -> str:
    """The question before a download, with its size and licences."""
    from SAMMed2DLib.system.memory import in_gib

    size = in_gib(model.size_bytes) if model.size_bytes else _("size unknown, some hundred MiB or more")
    return _(
        "Download {title} ({size})?\n\n{what}\n\nLicence of the weights: {weights}\n\n"
        "Licence of the training data: {data}\n\n"
        "The code of SAMMed2D is under the Apache License 2.0."
    ).format(title=model.title, size=size, what=model.what, weights=model.weights_licence, data=model.data_licence)


def display_name(model: StoredModel) -> str:
    """The name of a model in lists."""
    return model.title if model.entry is not None else model.name


def size_text(model: StoredModel) -> str:
    """The size of the file or of the download; "?" if unknown."""
    from SAMMed2DLib.system.memory import in_gib

    return in_gib(model.size_bytes) if model.size_bytes else "?"


def details_html(model: StoredModel) -> str:
    """Description and licences of a model; rich text."""
    parts = [html.escape(model.what)]
    for title, licence in (
        (_("Licence of the weights:"), model.weights_licence),
        (_("Licence of the training data:"), model.data_licence),
    ):
        if licence:
            parts.append(f"<b>{title}</b> {html.escape(licence)}.")
    return "".join(f"<p>{part}</p>" for part in parts)


def state_text(model: StoredModel) -> str:
    """Whether a model is installed, in one or two words."""
    if model.entry is not None and model.entry.embedded:
        return _("built in") if model.is_installed else _("missing")
    if model.entry is None:
        return _("added")
    return _("installed") if model.is_installed else _("not installed")


# Items of selectors


def device_names(chosen: str, *, is_ready: bool) -> dict[str, str]:
    """Texts of the available devices and of the chosen one, by name.

    Args:
        chosen: name of the chosen device.
        is_ready: whether a model is loaded; before that PyTorch is not imported to list devices.
    """
    names = {"auto": _("Automatic"), "cpu": _("Processor (CPU)"), "numpy": _("Processor, by NumPy")}
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
