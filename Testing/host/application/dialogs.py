"""Dialogs are answered by the test, in advance; a dialog that nobody answers raises.

    slicer.app.answers.give("Download the model", "Yes")      # a button by its text or standard name
    slicer.app.answers.give("Open", "/a/file.pt")             # a file dialog: the path, or "" for Cancel
    slicer.app.answers.give("Name", lambda dialog: …)         # any dialog: called with it, before it is accepted

The words are looked for in the dialog's title and text. The dialogs are real and run their own event loop; the answer
clicks the button. ``answers.shown`` lists what came, ``answers.unused()`` what was expected and did not come.
"""

import html
import re

from PySide6 import QtCore
from PySide6 import QtWidgets as W


class UnansweredDialogError(RuntimeError):
    """A dialog came that the test did not expect: in the desktop the user would have to answer it."""


class Answers:
    """What a test's user will click."""

    def __init__(self):
        self.clear()

    def clear(self):
        """Forget all answers and what was shown."""
        self._waiting, self.shown = [], []

    def give(self, words, answer):
        """Answer the next dialog whose title or text has these words."""
        self._waiting.append((words, answer))

    def unused(self):
        """The words of answers for which no dialog came."""
        return [words for words, _ in self._waiting]

    def take(self, title, text):
        """The answer to a dialog that is about to be shown.

        Raises:
            UnansweredDialogError: no waiting answer has words of this dialog.
        """
        title, text = title.strip(), text or ""
        self.shown.append((title, text))
        for index, (words, answer) in enumerate(self._waiting):
            if words.lower() in f"{title}\n{text}".lower():
                del self._waiting[index]
                return answer
        raise UnansweredDialogError(f"nobody answers this dialog: [{title}] {text}")


def _plain(text):
    return html.unescape(re.sub(r"<[^>]+>", "", text))


def _label(button):
    return button.text.replace("&", "")


def find_button(box, answer):
    """The button of a message box that an answer names.

    Raises:
        ValueError: it has no such button.
    """
    for button in box.buttons():
        names = {_label(button).lower(), box.standardButton(button).name.lower()}
        if answer == box.standardButton(button) or str(answer).lower() in names:
            return button
    raise ValueError(f"the dialog has no button {answer!r}, only {[_label(b) for b in box.buttons()]}")


def _answers():
    return W.QApplication.instance().answers


def _run_message_box(run):
    def exec_(self):
        if not self.buttons():
            self.addButton(self.Ok)  # as Qt does when the box is shown
        remembered = getattr(self, "_remembered", lambda: None)()
        if remembered is not None:
            button = remembered
        else:
            answer = _answers().take(self.windowTitle, _plain(f"{self.text}\n{self.informativeText}"))
            if callable(answer):
                answer = answer(self)
            button = find_button(self, answer)
        # slicer.util.messageBox has called deleteLater(). In the desktop that waits for the loop that is running; where
        # none is, the dialog's own loop would delete it.
        is_leaving = getattr(self, "_is_leaving", False)
        if is_leaving:
            QtCore.QCoreApplication.removePostedEvents(self, QtCore.QEvent.DeferredDelete)
        QtCore.QTimer.singleShot(0, button.click)
        chosen = run(self)
        if is_leaving:
            self.deleteLater()
        return chosen

    return exec_


def _run_dialog(run):
    def exec_(self):
        answer = _answers().take(self.windowTitle, type(self).__name__)
        outcome = answer(self) if callable(answer) else answer
        accept = outcome not in (False, "Cancel", "reject")
        QtCore.QTimer.singleShot(0, self.accept if accept else self.reject)
        return run(self)

    return exec_


def _ask(icon, default_buttons):
    def ask(parent, title, text, buttons=default_buttons, *_):
        box = W.QMessageBox(icon, title, text, buttons, parent)
        return W.QMessageBox.StandardButton(box.exec())

    return staticmethod(ask)


def _choose_path(parent=None, caption="", *_, **__):
    return str(_answers().take(caption, "file dialog") or "")


def _choose_paths(parent=None, caption="", *_, **__):
    answer = _answers().take(caption, "file dialog")
    return tuple(str(path) for path in (answer or ()))


def _type_in(parent, title, label, *_, **__):
    """PythonQt gives the value only; an empty answer stands for Cancel."""
    return _answers().take(title, label)


def install():
    """Put the answers under Qt's dialogs; PythonQt's file dialogs give the path alone, not PySide6's pair."""
    runs = [(W.QDialog, _run_dialog(W.QDialog.exec)), (W.QMessageBox, _run_message_box(W.QMessageBox.exec))]
    for cls, run in runs:  # only now: QMessageBox inherits its exec()
        cls.exec = cls.exec_ = run
    box, one = W.QMessageBox, W.QMessageBox.Ok
    box.question = _ask(box.Question, box.Yes | box.No)
    box.information, box.warning, box.critical = (
        _ask(icon, one) for icon in (box.Information, box.Warning, box.Critical)
    )
    for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory"):
        setattr(W.QFileDialog, name, staticmethod(_choose_path))
    W.QFileDialog.getOpenFileNames = staticmethod(_choose_paths)
    for name in ("getText", "getInt", "getDouble", "getItem"):
        setattr(W.QInputDialog, name, staticmethod(_type_in))
