"""The model store panel: downloading, importing and removing models on this computer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ctk
import slicer
from slicer.i18n import tr as _

from SAMMed2DLib.registry.built_in import BUILT_IN
from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.module.background_job import BackgroundJob, BackgroundWork, ProgressReport
from SAMMed2DSlicer.setup import models
from SAMMed2DSlicer.widgets import messages, tables
from SAMMed2DSlicer.widgets.window_status import WindowProgress, WindowStatus

if TYPE_CHECKING:
    from SAMMed2DLib.registry.store import StoredModel

_PERMILLE = 1000  # of a transfer: a progress bar counts in ints, too small for the bytes of a large file


class ModelStorePanel:
    """A table of models, with buttons to download, import and remove them."""

    def __init__(self, widget: Any, service: InferenceService, on_changed: Callable[[], None]) -> None:
        """Connect the widgets.

        Args:
            widget: of ManageModels.ui.
            service: gets the default model if its own is removed.
            on_changed: called when a model was added or removed.
        """
        self.widget, self._service, self._on_changed = widget, service, on_changed
        self.ui = slicer.util.childWidgetVariables(widget)
        self.background = BackgroundJob()
        self._window_status, self._running_text = WindowStatus(), ""
        self._models: list[StoredModel] = []
        self._decorate()
        self._connect()

    def enter(self, node: Any) -> None:
        """Show the models; the parameter node is not used."""
        self.refresh()

    def exit(self) -> None:
        """Do nothing: a download goes on."""

    def forget(self) -> None:
        """Do nothing: nothing here refers to the scene."""

    def cleanup(self) -> None:
        """Stop the thread; a partial download is kept."""
        self.background.stop()
        self._window_status.close()

    def refresh(self) -> None:
        """Show the models and their states."""
        from SAMMed2DLib.registry.known_models import models_dir
        from SAMMed2DLib.registry.store import stored_models

        self._models = stored_models()
        rows = [
            (models.display_name(model), models.size_text(model), models.state_text(model)) for model in self._models
        ]
        tables.fill(self.ui.modelsTable, rows)
        self._show_selected()
        self.ui.folderLabel.text = _("Models are kept in {folder}").format(folder=models_dir())

    def _selected_model(self) -> StoredModel | None:
        row = self.ui.modelsTable.currentRow()
        return self._models[row] if 0 <= row < len(self._models) else None

    def _show_selected(self) -> None:
        model, is_busy = self._selected_model(), self.background.is_running
        ui = self.ui
        ui.detailsText.html = "" if model is None else models.details_html(model)
        ui.detailsText.visible = model is not None
        _enable(ui.downloadButton, *_download_problem(model, is_busy))
        _enable(ui.removeButton, *_remove_problem(model, is_busy))
        _enable(ui.addButton, *self._add_problem(is_busy))
        ui.transferProgress.visible = ui.cancelButton.visible = is_busy
        if not is_busy:
            self._window_status.close()

    def _add_problem(self, is_busy: bool) -> tuple[str, str]:
        if is_busy:
            return _busy_text(), ""
        if not self.ui.fileEdit.currentPath:
            return _("Choose a weights file first."), ""
        if not self.ui.nameEdit.text:
            return _("Give the model a name first."), ""
        return "", _("Copy and check the weights; the file itself stays where it is.")

    def download(self) -> None:
        """Download the selected model, after asking."""
        model = self._selected_model()
        if model is None:
            return
        question = models.download_question(model)
        if not slicer.util.confirmOkCancelDisplay(question, windowTitle=_("Download a model")):
            return
        text = _("Downloading {title}...").format(title=model.title)
        work = models.ModelDownload(model)

        def show(done: int, total: int | None) -> None:
            again = _("The connection failed; trying again ({number} of {count}).")
            number, count = work.attempt or (0, 0)
            messages.show(self.ui.transferLabel, again.format(number=number, count=count) if number else text)
            self._show_progress(done, total)

        self._start(work, text, lambda path: self._show_installed(model.name), show)

    def add(self) -> None:
        """Import the chosen weights file as a model."""
        name, file = self.ui.nameEdit.text.strip(), self.ui.fileEdit.currentPath
        self._start(
            models.model_import(name, file),
            _("Checking and copying the weights..."),
            lambda model: self._show_installed(name),
        )

    def remove(self) -> None:
        """Remove the selected model, after asking."""
        from SAMMed2DLib.registry.store import remove_model

        model = self._selected_model()
        if model is None:
            return
        question = _("Remove {title} ({size}) from this computer?")
        question = question.format(title=models.display_name(model), size=models.size_text(model))
        if not slicer.util.confirmOkCancelDisplay(question, windowTitle=_("Remove a model")):
            return
        try:
            if self._service.choice.model == model.name:
                self._service.choose(replace(self._service.choice, model=BUILT_IN))
            remove_model(model.name)
        except PermissionError:
            text = _("Its file is in use: restart Slicer, then remove it.")
            messages.show(self.ui.transferLabel, text, messages.ERROR)
        except (ValueError, OSError) as error:
            messages.show_error(self.ui.transferLabel, error)
        else:
            messages.show(self.ui.transferLabel, _("{name} was removed.").format(name=model.name))
        self.refresh()
        self._on_changed()

    def _start(
        self, work: BackgroundWork, text: str, on_done: Callable[[Any], None], on_progress: ProgressReport | None = None
    ) -> None:
        messages.show(self.ui.transferLabel, text)
        self._running_text = text
        self._show_progress(0, None)
        self.background.start(work, on_done, self._failed, on_progress or self._show_progress)
        self._show_selected()

    def _show_installed(self, name: str) -> None:
        self.refresh()
        self._on_changed()
        self._select(name)
        messages.show(self.ui.transferLabel, _("{name} is installed; choose it above.").format(name=name))

    def _failed(self, error: BaseException) -> None:
        self.refresh()
        if type(error).__name__ == "DownloadCancelled":
            text = _("Stopped. What has arrived is kept; the next download goes on from there.")
            messages.show(self.ui.transferLabel, text)
        else:
            messages.show_error(self.ui.transferLabel, error)

    def _show_progress(self, done: int, total: int | None) -> None:
        from SAMMed2DLib.system.memory import in_gib

        bar = self.ui.transferProgress
        bar.maximum = _PERMILLE  # never 0: Qt's busy bar would hold the thread up, see busy_bar.py
        bar.value = int(_PERMILLE * done / total) if total else 0
        progress = WindowProgress(bar.value, _PERMILLE if total else 0, self.background.cancel)
        self._window_status.show(self._running_text, progress)
        bar.format = _("{done} of {total}").format(done=in_gib(done), total=in_gib(total)) if total else ""

    def _select(self, name: str) -> None:
        names = [model.name for model in self._models]
        if name in names:
            self.ui.modelsTable.selectRow(names.index(name))

    def _file_chosen(self, path: str) -> None:
        from SAMMed2DLib.registry.store import suggested_name

        if path:
            self.ui.nameEdit.text = suggested_name(path)
        self._show_selected()

    # Widgets

    def _decorate(self) -> None:
        ui = self.ui
        tables.set_columns(ui.modelsTable, [_("Model"), _("Size"), _("State")], stretched=0)
        messages.show(ui.transferLabel, "")
        ui.fileEdit.filters = ctk.ctkPathLineEdit.Files | ctk.ctkPathLineEdit.Readable
        ui.fileEdit.nameFilters = [_("Weights (*.pth *.pt)"), _("All files (*)")]
        ui.fileEdit.settingKey = "SAMMed2DModelFile"

    def _connect(self) -> None:
        ui = self.ui
        ui.modelsTable.connect("itemSelectionChanged()", self._show_selected)
        ui.downloadButton.connect("clicked()", self.download)
        ui.removeButton.connect("clicked()", self.remove)
        ui.cancelButton.connect("clicked()", self.background.cancel)
        ui.fileEdit.connect("currentPathChanged(QString)", self._file_chosen)
        ui.nameEdit.connect("textChanged(QString)", lambda text: self._show_selected())
        ui.addButton.connect("clicked()", self.add)


def _enable(button: Any, problem: str, tip: str) -> None:
    button.enabled = not problem
    button.toolTip = problem or tip


def _busy_text() -> str:
    return _("Wait until the transfer is done, or cancel it.")


def _download_problem(model: StoredModel | None, is_busy: bool) -> tuple[str, str]:
    if is_busy:
        return _busy_text(), ""
    if model is None:
        return _("Select a model in the table first."), ""
    if not model.is_downloadable:
        return _("{title} is here already.").format(title=models.display_name(model)), ""
    return "", _("Download {title}; its size and licences are said first.").format(title=models.display_name(model))


def _remove_problem(model: StoredModel | None, is_busy: bool) -> tuple[str, str]:
    if is_busy:
        return _busy_text(), ""
    if model is None:
        return _("Select a model in the table first."), ""
    if not model.is_removable:
        return _("{title} is built in, or not on this computer.").format(title=models.display_name(model)), ""
    return "", _("Remove the file of {title}.").format(title=models.display_name(model))
