"""Pictures of panels and of the whole window, for eyes and for the README."""

import slicer
from PySide6 import QtGui
from PySide6 import QtWidgets as W
from PySide6.QtCore import Qt

from .views.window import SIZE_PX, painted

BAR_PX, GAP_PX = 18, 2
FONT = "DejaVu Sans"


class MissingFontError(RuntimeError):
    """No font: the pictures would show boxes for letters."""


def check_font():
    """Raises: MissingFontError: names the Debian package to install."""
    if FONT not in QtGui.QFontDatabase.families():
        raise MissingFontError(f"readable pictures need the font {FONT} (Debian: apt-get install fonts-dejavu-core)")


def grab(widget, path=None, width=None, height=None):
    """A picture of a widget as a QImage, in the size that it asks for or the one given; written to the path.

    Taken by their panels: a module's Python widget, an effect's Python object. A widget inside a window that is shown
    keeps its width there; empty room below what it asks for is left off.
    """
    check_font()
    widget = _panel_of(widget)
    top = widget.window()
    shown, size = top.isVisible(), top.size
    if not shown:
        top.resize(width or max(top.sizeHint().width(), 420), height or top.sizeHint().height())
        top.show()
    _settle()
    with painted():
        image = widget.grab().toImage()
    if widget is not top:
        image = image.copy(0, 0, image.width(), min(image.height(), max(widget.sizeHint().height(), 50)))
    if not shown:
        top.hide()
        top.resize(size)
    return _save(image, path)


def _panel_of(thing):
    if isinstance(thing, W.QWidget):
        return thing
    if hasattr(thing, "scriptedEffect"):
        return thing.scriptedEffect.optionsFrame()
    return thing.parent


def _save(image, path):
    if path is not None and not image.save(str(path)):
        raise OSError(f"cannot write {path}")
    return image


def montage(path=None, width=1280, height=800, panel_width=470, fit=True):
    """The main window with the module that is selected at the left and the layout's views at the right, as a QImage.

    Select a module (slicer.util.selectModule) and a layout first. The views get the room that there is and, where
    ``fit`` is true, show the whole volume; their sizes and fields of view are as before afterwards.
    """
    check_font()
    window, manager = slicer.app.mainWindow(), slicer.app.layoutManager()
    widgets = _visible_views(manager)
    before = window.size, [_field_of_view(widget) for widget in widgets]
    for widget in widgets:
        widget.viewWidget().resize_view(50, 50)
    _settle()
    window.resize(width, height)
    window.resizeDocks(window.findChildren(W.QDockWidget), [panel_width], Qt.Horizontal)
    _share(window, widgets, fit)
    with painted():
        image = window.grab().toImage()
    window.resize(before[0])
    for widget, field in zip(widgets, before[1], strict=True):
        widget.viewWidget().resize_view(*SIZE_PX)
        _set_field_of_view(widget, field)
    _settle()
    return _save(image, path)


def _settle():
    """Let sizes travel up through the layouts: one level at a time."""
    for _ in range(3):
        slicer.app.processEvents()


def _visible_views(manager):
    widgets = [manager.sliceWidget(name) for name in manager.sliceViewNames()] + [manager.threeDWidget(0)]
    return [widget for widget in widgets if not widget.isHidden()]


def _share(window, widgets, fit):
    """Give every view an equal part of the room in the middle."""
    _settle()
    rows = columns = 2 if len(widgets) > 1 else 1
    room = window.centralWidget().size
    size = (room.width() - GAP_PX) // columns, (room.height() - GAP_PX) // rows - BAR_PX
    for widget in widgets:
        widget.viewWidget().resize_view(*size)
        if fit and hasattr(widget, "fitSliceToBackground"):
            widget.fitSliceToBackground()
    _settle()


def _field_of_view(widget):
    node = widget.mrmlAbstractViewNode()
    return tuple(node.GetFieldOfView()) if hasattr(node, "GetXYToRAS") else None


def _set_field_of_view(widget, field):
    if field is not None:
        widget.mrmlAbstractViewNode().SetFieldOfView(*field)
