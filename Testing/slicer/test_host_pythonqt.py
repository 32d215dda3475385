"""The host's Qt follows PythonQt's rules; its CTK and qMRML widgets have Slicer's properties and signals."""

import functools

import ctk
import pytest
import qt
import slicer
from host.application.dialogs import UnansweredDialogError
from host.application.uiloader import UiFileError


def test_properties_are_attributes(app):
    button = qt.QPushButton("Apply")
    assert button.text == "Apply" and button.enabled is True
    button.text, button.checkable, button.checked = "Again", True, True
    assert (button.text, button.checked) == ("Again", True)
    button.setText("setters stay")
    assert button.text == "setters stay"
    with pytest.raises(TypeError):
        button.text()
    button.name = "applyButton"
    assert button.objectName == "applyButton" and button.className() == "QPushButton"


def test_attributes_that_the_class_lacks_cannot_be_made(app):
    label = qt.QLabel()
    for name in ("txet", "setText", "linkActivated"):
        with pytest.raises(AttributeError):
            setattr(label, name, 1)
    with pytest.raises(AttributeError):
        _ = label.txet
    slider = ctk.ctkSliderWidget()
    with pytest.raises(AttributeError):
        slider.max = 10
    label.setProperty("dynamic", 1)
    label.dynamic = 2
    assert label.property("dynamic") == 2

    class Label(qt.QLabel):
        pass

    Label().mine = 1


def test_signals_are_connected_by_signature_and_pass_what_a_callable_takes(app):
    button, got = qt.QPushButton(), []

    def with_argument(checked):
        got.append(("argument", checked))

    def without():
        got.append("none")

    button.connect("clicked(bool)", with_argument)
    button.connect("clicked(bool)", without)
    button.connect("clicked()", without)
    button.clicked.connect(without)
    button.click()
    assert got == [("argument", False), "none", "none", "none"]
    assert button.disconnect("clicked(bool)", with_argument) is True
    assert button.disconnect("clicked(bool)", with_argument) is False
    with pytest.raises(ValueError):
        button.connect("pressed(int)", without)
    with pytest.raises(TypeError):
        button.connect("pressed()", None)


def test_a_partial_gets_every_argument_as_in_pythonqt(app):
    button = qt.QPushButton()
    button.connect("clicked(bool)", functools.partial(lambda: None))
    button.click()
    assert isinstance(app.errors.pop(), TypeError)


def test_an_error_in_a_slot_is_collected(app):
    for connect in (lambda b: b.connect("clicked()", lambda: 1 / 0), lambda b: b.clicked.connect(lambda: 1 / 0)):
        button = qt.QPushButton()
        connect(button)
        button.click()
        assert isinstance(app.errors.pop(), ZeroDivisionError)


def test_enumerators_are_flat_and_are_integers(app):
    assert int(qt.Qt.LeftButton) == 1 and int(qt.Qt.ControlModifier) == 0x04000000
    assert qt.QFrame.HLine is not None and qt.QMessageBox().Yes == qt.QMessageBox.Yes
    assert not hasattr(qt, "QRegExp")  # gone in Qt 6
    assert not hasattr(qt, "QOverrideCursorGuard") and not hasattr(qt, "QKeyCombination")  # not in PythonQt


def test_an_image_is_made_of_a_copy_of_bytes(app):
    pixels = bytes(range(48))
    image = qt.QImage(pixels, 4, 3, qt.QImage.Format_RGBA8888)
    assert image.pixelColor(1, 0).getRgb() == (4, 5, 6, 7)
    for arguments in ((pixels, 4, 3, 16, qt.QImage.Format_RGBA8888), (bytearray(pixels), 4, 3, 17)):
        with pytest.raises(TypeError):
            qt.QImage(*arguments)
    with pytest.raises(ValueError):
        qt.QImage(bytes(27), 3, 3, qt.QImage.Format_RGB888)


def test_an_unanswered_dialog_raises_and_an_answered_one_gives_the_button(app):
    with pytest.raises(UnansweredDialogError):
        slicer.util.confirmYesNoDisplay("Install torch?")
    app.answers.give("torch", "No")
    assert slicer.util.confirmYesNoDisplay("Install torch?") is False
    app.answers.give("torch", "Yes")
    assert slicer.util.confirmYesNoDisplay("Install torch?") is True
    app.answers.give("torch", "Maybe")
    with pytest.raises(ValueError):
        slicer.util.confirmYesNoDisplay("Install torch?")
    app.answers.give("broken", "Ok")
    slicer.util.errorDisplay("broken", detailedText="why")
    app.answers.give("A file", "/a/b.pt")
    assert qt.QFileDialog.getOpenFileName(None, "A file") == "/a/b.pt"
    assert [text.strip() for _, text in app.answers.shown][-2:] == ["broken", "file dialog"]


def test_custom_buttons_and_dialogs_are_answered(app):
    box = qt.QMessageBox()
    box.text = "Which?"
    later = box.addButton("Later", qt.QMessageBox.RejectRole)
    box.addButton("Now", qt.QMessageBox.AcceptRole)
    app.answers.give("which", "Later")
    box.exec_()
    assert box.clickedButton() is later
    dialog = qt.QDialog()
    dialog.windowTitle = "Details"
    app.answers.give("details", lambda d: d.setWindowTitle("seen"))
    assert dialog.exec_() == 1 and dialog.windowTitle == "seen"


def test_a_message_box_can_be_told_not_to_come_again(app):
    def ask():
        return slicer.util.messageBox("Again?", dontShowAgainSettingsKey="Test/Again")

    def tick(box):
        box.dontShowAgain = True
        return "Ok"

    app.answers.give("again", tick)
    assert ask() == ask() == qt.QMessageBox.Ok


def test_a_ui_file_must_name_what_exists(app, tmp_path):
    def load(widget):
        path = tmp_path / "panel.ui"
        path.write_text(f'<ui version="4.0"><widget class="QWidget" name="panel">{widget}</widget></ui>')
        return slicer.util.loadUI(str(path))

    for wrong in (
        '<widget class="qMRMLNodeComoBox" name="x"/>',
        '<widget class="ctkSliderWidget" name="x"><property name="maximun"><double>3</double></property></widget>',
    ):
        with pytest.raises(UiFileError):
            load(wrong)
    maximum = '<property name="maximum"><double>3</double></property>'
    panel = load(f'<widget class="ctkSliderWidget" name="x">{maximum}</widget>')
    assert slicer.util.childWidgetVariables(panel).x.maximum == 3


def test_a_node_selector_follows_the_scene(app, make_volume):
    selector, seen = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    selector.connect("currentNodeChanged(bool)", seen.append)
    selector.setMRMLScene(slicer.mrmlScene)
    first, second = make_volume("axis", name="1"), make_volume("axis", name="2")
    assert selector.currentNode() is None and selector.nodeCount() == 2
    selector.setCurrentNode(first)
    assert seen == [first, True] and selector.currentNodeID == first.GetID()
    slicer.mrmlScene.RemoveNode(first)
    assert selector.currentNode() is second
    selector.setMRMLScene(None)


def test_a_segment_selector_tells_the_segment(editing):
    selector, seen = slicer.qMRMLSegmentSelectorWidget(), []
    selector.connect("currentSegmentChanged(QString)", seen.append)
    selector.setMRMLScene(slicer.mrmlScene)
    selector.setCurrentNode(editing.segmentation)
    selector.setCurrentSegmentID("B")
    assert seen == ["A", "B"] and selector.segmentIDs() == ("A", "B")
    selector.setMRMLScene(None)


def test_ctk_widgets_keep_their_values(app, tmp_path):
    path, seen = ctk.ctkPathLineEdit(), []
    path.filters, path.nameFilters = ctk.ctkPathLineEdit.Files, ["*.pt"]
    path.connect("currentPathChanged(QString)", seen.append)
    path.currentPath = str(tmp_path)
    assert seen == [str(tmp_path)] and path.nameFilters == ("*.pt",)
    path.settingKey = "Weights"
    path.addCurrentPathToHistory()
    again = ctk.ctkPathLineEdit()
    again.settingKey = "Weights"
    assert again.comboBox().itemText(0) == str(tmp_path)
    fold, inside = ctk.ctkCollapsibleButton(), qt.QLabel("x")
    qt.QVBoxLayout(fold).addWidget(inside)
    fold.show()
    fold.collapsed = True
    assert not inside.visible
    fold.collapsed = False
    assert inside.visible
    with pytest.raises(AttributeError):
        _ = ctk.ctkTransferFunctionView
