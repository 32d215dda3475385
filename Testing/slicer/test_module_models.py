"""The panel's sections about models and about the environment: choosing, getting, removing, examining."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import host
import pytest
import slicer

from SAMMed2DLib.registry.built_in import BUILT_IN
from SAMMed2DLib.registry.known_models import KNOWN_MODELS, path_of
from SAMMed2DLib.system.memory import in_gib


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of models."""
    from SAMMed2DLib.registry.known_models import MODELS_DIR_VARIABLE

    monkeypatch.setenv(MODELS_DIR_VARIABLE, str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def widget(logic, folder):
    """The module's panel, shown; the service's choice is put back."""
    from SAMMed2DSlicer.inference import service

    before = service.shared().choice
    service.shared().choose(service.ModelChoice())
    slicer.util.selectModule("SAMMed2D")
    yield slicer.util.getModuleWidget("SAMMed2D")
    service.shared().choose(before)


@pytest.fixture
def choice(widget):
    """The section about the model in use."""
    return widget.panels[2]


@pytest.fixture
def panel(widget):
    """The section about the models on this computer."""
    shown = widget.panels[3]
    shown.ui.manageSection.collapsed = False
    yield shown
    if shown.background.is_running:
        shown.background.cancel()
        assert host.pump(60, lambda: not shown.background.is_running)
    shown.ui.fileEdit.currentPath = ""
    shown.ui.nameEdit.text = ""
    shown.ui.manageSection.collapsed = True


@pytest.fixture
def checkpoint(tmp_path):
    from tiny_network import save_tiny

    return save_tiny(tmp_path / "my model.pt")


def rows(table):
    return [[table.item(r, c).text() for c in range(table.columnCount)] for r in range(table.rowCount)]


def select(panel, name):
    names = [model.name for model in panel._models]
    panel.ui.modelsTable.selectRow(names.index(name))
    host.pump(0.02)


def wait(panel, seconds=20):
    assert host.pump(seconds, lambda: not panel.background.is_running)


def items(box):
    return [box.itemData(n) for n in range(box.count)]


def choose(box, value):
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex)


# The model in use


def test_installed_models_can_be_chosen(choice, folder, logic):
    from SAMMed2DSlicer.inference import service

    (folder / "mine.pt").write_bytes(b"x")
    choice.refresh()
    assert items(choice.ui.modelSelector) == [BUILT_IN, "mine"]
    choose(choice.ui.modelSelector, "mine")
    choose(choice.ui.deviceSelector, "cpu")
    assert (service.shared().choice.model, service.shared().choice.device) == ("mine", "cpu")
    assert slicer.app.settings().value("SAMMed2D/Model") == "mine"


def test_a_choice_made_elsewhere_is_shown(choice):
    from SAMMed2DSlicer.inference import service

    service.shared().choose(replace(service.shared().choice, model="/x/other.pt", device="cuda:7"))
    assert choice.ui.modelSelector.currentText == "other.pt"
    assert choice.ui.deviceSelector.currentData == "cuda:7"
    service.shared().choose(replace(service.shared().choice, model="sam-med2d_b"))
    assert choice.ui.modelSelector.currentText == "SAM-Med2D ViT-B (not installed)"


def test_the_state_tells_how_long_loading_took(choice, logic):
    ui = choice.ui
    assert ui.stateLabel.text == "Loaded when needed." and ui.loadButton.isVisible()
    ui.loadButton.click()
    assert ui.stateLabel.text == "Loading..." and not ui.loadButton.isVisible()
    assert host.pump(60, lambda: ui.stateLabel.text.startswith("Ready on cpu in 0."))
    assert not ui.loadButton.isVisible()


def test_devices_are_listed_once_torch_is_there(choice, logic, monkeypatch):
    import torch  # noqa: F401  (as a network of it would have done)

    from SAMMed2DLib.inference import devices

    monkeypatch.setattr(devices, "available_devices", lambda: {"cpu": "CPU", "cuda:0": "RTX", "cuda:1": "RTX"})
    assert items(choice.ui.deviceSelector) == ["auto", "cpu", "numpy"]
    choice.ui.loadButton.click()
    assert host.pump(60, lambda: items(choice.ui.deviceSelector) == ["auto", "cpu", "numpy", "cuda:0", "cuda:1"])
    assert choice.ui.deviceSelector.itemText(3) == "RTX (cuda:0)"


def test_a_model_that_cannot_be_loaded_says_why(choice, monkeypatch):
    from SAMMed2DSlicer.inference import service

    def broken(self, choice):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(service.InferenceService, "_session", broken)
    monkeypatch.setattr(service.shared(), "_loaded", None)
    choice.ui.loadButton.click()
    assert host.pump(60, lambda: "not installed yet" in choice.ui.stateLabel.text)
    assert choice.ui.loadButton.isVisible()


# The table


def test_all_known_models_are_listed_with_size_and_state(panel):
    found = rows(panel.ui.modelsTable)
    built_in = KNOWN_MODELS[BUILT_IN]
    assert found[0] == [built_in.title, in_gib(path_of(built_in).stat().st_size), "built in"]
    assert found[1] == ["SAM-Med2D ViT-B", "2.4 GiB", "not installed"]
    select(panel, "sam-med2d_b")
    shown = panel.ui.detailsText.toPlainText()
    assert "Licence of the weights:" in shown and "CC BY-NC-SA 4.0" in shown


@pytest.mark.parametrize(
    ("name", "download", "remove"),
    [(BUILT_IN, "here already", "built in"), ("sam-med2d_b", "", "built in, or not")],
)
def test_buttons_say_why_they_do_nothing(panel, name, download, remove):
    select(panel, name)
    for button, problem in ((panel.ui.downloadButton, download), (panel.ui.removeButton, remove)):
        assert button.enabled == (not problem)
        assert problem in button.toolTip


# Downloads


@pytest.fixture
def transfer(monkeypatch, folder):
    """A download that goes on as far as the test lets it: `transfer.done` MiB of 10."""
    from SAMMed2DLib.registry import known_models
    from SAMMed2DLib.registry.download import DownloadCancelled, DownloadError

    class Transfer:
        def __init__(self):
            self.done, self.error, self.started, self.thread, self.retry = 0, None, [], None, None

        def install(self, entry, progress, should_cancel, policy):
            self.started.append(entry.name)
            self.thread = threading.current_thread()
            while self.done < 10:
                if self.retry is not None:
                    policy.on_retry(*self.retry)
                    time.sleep(0.01)
                    continue
                progress(self.done << 20, 10 << 20)
                if should_cancel():
                    raise DownloadCancelled("cancelled")
                if self.error is not None:
                    raise DownloadError(self.error)
                time.sleep(0.01)
            (folder / f"{entry.name}.pt").write_bytes(b"x" * 1000)
            return folder / f"{entry.name}.pt"

    made = Transfer()
    monkeypatch.setattr(known_models, "install", made.install)
    return made


def begin(panel, app, name="sam-med2d_b"):
    select(panel, name)
    app.answers.give("Download SAM-Med2D ViT-B", "OK")
    panel.ui.downloadButton.click()


def test_a_download_asks_first_and_says_size_and_licences(panel, transfer, app):
    select(panel, "sam-med2d_b")
    app.answers.give("Download SAM-Med2D ViT-B", "Cancel")
    panel.ui.downloadButton.click()
    ((_, text),) = app.answers.shown
    for words in ("2.4 GiB", "Licence of the weights: Not stated", "CC BY-NC-SA 4.0", "Apache License 2.0"):
        assert words in text
    assert transfer.started == [] and not panel.background.is_running


def test_a_download_shows_its_progress_and_leaves_the_window_free(panel, choice, transfer, app, logic):
    begin(panel, app)
    ui = panel.ui
    transfer.done = 4
    assert host.pump(60, lambda: ui.transferProgress.value == 400)
    assert ui.transferProgress.isVisible() and ui.transferProgress.format == "4 MiB of 10 MiB"
    assert not ui.downloadButton.enabled and "Wait until the transfer is done" in ui.downloadButton.toolTip
    assert transfer.thread is not threading.main_thread()
    choice.ui.loadButton.click()  # the model's own thread is free meanwhile
    assert host.pump(60, lambda: choice.ui.stateLabel.text.startswith("Ready"))
    transfer.done = 10
    wait(panel)
    assert "sam-med2d_b is installed" in ui.transferLabel.text
    assert rows(ui.modelsTable)[1][2] == "installed"
    assert not ui.transferProgress.isVisible() and ui.removeButton.enabled
    assert "sam-med2d_b" in items(choice.ui.modelSelector)


def test_a_download_goes_on_where_threads_starve(panel, transfer, app):
    begin(panel, app)
    transfer.done = 10
    with host.starving():
        wait(panel)
    assert "is installed" in panel.ui.transferLabel.text


def test_a_download_can_be_cancelled(panel, transfer, app):
    begin(panel, app)
    host.pump(0.05)
    panel.ui.cancelButton.click()
    wait(panel)
    assert "What has arrived is kept" in panel.ui.transferLabel.text
    assert panel.ui.downloadButton.enabled
    begin(panel, app)
    assert host.pump(60, lambda: transfer.started == ["sam-med2d_b", "sam-med2d_b"])


def test_a_download_that_fails_says_why(panel, transfer, app):
    transfer.error = "The disk has 0.1 GB free. Free some space or choose another folder."
    begin(panel, app)
    wait(panel)
    assert panel.ui.transferLabel.text == transfer.error
    assert panel.ui.downloadButton.enabled


def test_a_download_that_tries_again_says_so_until_something_arrives(panel, transfer, app):
    transfer.retry = (2, 5)
    begin(panel, app)
    assert host.pump(60, lambda: "trying again (2 of 5)" in panel.ui.transferLabel.text)
    transfer.retry = None
    assert host.pump(60, lambda: panel.ui.transferLabel.text.startswith("Downloading"))
    transfer.done = 10
    wait(panel)
    assert "is installed" in panel.ui.transferLabel.text


def test_a_download_goes_on_while_the_module_is_left(panel, transfer, app):
    begin(panel, app)
    slicer.util.selectModule("")
    transfer.done = 10
    wait(panel)
    slicer.util.selectModule("SAMMed2D")
    assert rows(panel.ui.modelsTable)[1][2] == "installed"


# Removing and adding


def test_a_model_is_removed_after_asking(panel, choice, folder, app):
    from SAMMed2DSlicer.inference import service

    (folder / "mine.pt").write_bytes(b"x" * 1000)
    panel.refresh()
    choice.refresh()
    choose(choice.ui.modelSelector, "mine")
    select(panel, "mine")
    app.answers.give("Remove mine", "Cancel")
    panel.ui.removeButton.click()
    assert (folder / "mine.pt").exists()
    app.answers.give("Remove mine", "OK")
    panel.ui.removeButton.click()
    assert not (folder / "mine.pt").exists()
    assert service.shared().choice.model == BUILT_IN
    assert items(choice.ui.modelSelector) == [BUILT_IN]
    assert len(rows(panel.ui.modelsTable)) == 4 and "mine was removed" in panel.ui.transferLabel.text


def test_a_file_in_use_is_explained(panel, folder, app, monkeypatch):
    from SAMMed2DLib.registry import store

    def refuse(name):
        raise PermissionError(13, "in use")

    (folder / "mine.pt").write_bytes(b"x")
    monkeypatch.setattr(store, "remove_model", refuse)
    panel.refresh()
    select(panel, "mine")
    app.answers.give("Remove mine", "OK")
    panel.ui.removeButton.click()
    assert "restart Slicer" in panel.ui.transferLabel.text


def test_a_file_of_ones_own_is_added(panel, folder, checkpoint):
    ui = panel.ui
    assert not ui.addButton.enabled and "Choose a weights file" in ui.addButton.toolTip
    ui.fileEdit.currentPath = str(checkpoint)
    assert ui.nameEdit.text == "my-model" and ui.addButton.enabled
    ui.nameEdit.text = ""
    assert "name first" in ui.addButton.toolTip
    ui.nameEdit.text = "mine"
    ui.addButton.click()
    wait(panel)
    assert (folder / "mine.pt").is_file() and checkpoint.is_file()
    assert rows(ui.modelsTable)[-1][0::2] == ["mine", "added"]
    assert ui.modelsTable.currentRow() == 4


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("mine", b"<!DOCTYPE html>", "web page"),
        ("a/b", None, "is no name for a model"),
        (BUILT_IN, None, "already"),
    ],
)
def test_a_file_that_cannot_be_added_says_why(panel, folder, checkpoint, name, content, words):
    if content is not None:
        checkpoint.write_bytes(content)
    panel.ui.fileEdit.currentPath = str(checkpoint)
    panel.ui.nameEdit.text = name
    panel.ui.addButton.click()
    wait(panel)
    assert words in panel.ui.transferLabel.text
    assert list(folder.glob("*.pt")) == []


# The environment


@pytest.fixture
def environment(widget):
    shown = widget.panels[4]
    shown.ui.environmentSection.collapsed = False
    yield shown
    shown.ui.environmentSection.collapsed = True


def test_a_check_shows_what_was_found(environment, monkeypatch):
    from SAMMed2DLib import doctor

    asked = []

    def probe(name, python):
        asked.append((name, python))
        if name == "torch":
            return doctor.Probe(None, "ModuleNotFoundError: No module named 'torch'")
        return doctor.Probe({"version": "1.0"})

    monkeypatch.setattr(doctor, "probe_import", probe)
    environment.ui.checkButton.click()
    assert not environment.ui.checkButton.enabled and environment.ui.checkProgress.isVisible()
    wait(environment)
    found = {row[1]: row for row in rows(environment.ui.findingsTable)}
    assert found["numpy"][0] == "OK"
    assert found["torch"][0] == "OK" and "install PyTorch with the button above" in found["torch"][2]
    assert asked[0][1].endswith("PythonSlicer")
    assert environment.ui.checkButton.enabled and not environment.ui.checkProgress.isVisible()


def test_the_real_check_finds_this_computer_in_order(environment):
    environment.ui.checkButton.click()
    wait(environment, 120)
    levels = {row[1]: row[0] for row in rows(environment.ui.findingsTable)}
    assert levels["torch"] == "OK" and levels[BUILT_IN] == "OK"
    assert "FAIL" not in levels.values()


@pytest.mark.parametrize(
    ("name", "text", "button"),
    [("missing", "PyTorch is not installed yet.", "Install PyTorch..."), ("broken", "incomplete", "Repair PyTorch...")],
)
def test_torch_can_be_installed_and_repaired(widget, environment, monkeypatch, name, text, button):
    from SAMMed2DSlicer.setup import pytorch

    asked = []
    monkeypatch.setattr(pytorch, "torch_state", lambda: pytorch.TorchState(name, text))
    monkeypatch.setattr(pytorch, "ensure_torch", lambda: asked.append(1))
    environment.refresh()
    assert environment.ui.torchLabel.text == text and environment.ui.torchButton.text == button
    environment.ui.torchButton.click()
    assert asked == [1]


def test_a_torch_that_is_there_needs_no_button(environment):
    assert "is installed" in environment.ui.torchLabel.text
    assert not environment.ui.torchButton.enabled
