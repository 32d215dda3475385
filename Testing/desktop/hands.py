"""What a hand does: mouse and keys, as Qt events in Slicer's desktop; on the tests' host, by its views.

Positions in slice views are pixels from the lower left, as in VTK and in XYToRAS.
"""

from itertools import pairwise

import qt
import slicer
from event_loop import check


class Hands:
    """Mouse and keys by Qt's own events, sent to the widgets that would get them."""

    def click_widget(self, widget, at=None):
        """Press and release on a widget: in its middle, or at a place (x, y) from its upper left."""
        at = qt.QPointF(*(at or (widget.width / 2, widget.height / 2)))
        for kind, buttons in ((qt.QEvent.MouseButtonPress, qt.Qt.LeftButton), (qt.QEvent.MouseButtonRelease, 0)):
            self._send_mouse(widget, kind, at, qt.Qt.LeftButton, buttons or qt.Qt.NoButton, qt.Qt.NoModifier)

    def click_check_box(self, box, becomes):
        """Click on the square of a check box; it is checked then, or not."""
        self.click_widget(box, at=(8, box.height // 2))
        check(box.checked == becomes, "the check box did not take the click")

    def click(self, widget, xy, control=False):
        """Click in a slice view."""
        self.drag(widget, [xy], control)

    def drag(self, widget, path_xy, control=False):
        """Press at the first place of a path, move along it, release at its end."""
        self.press(widget, path_xy[0], control)
        self.move(widget, path_xy, control)
        self.release(widget, path_xy[-1], control)

    def press(self, widget, xy, control=False):
        """Come into the view, and press the button."""
        self.hover(widget, xy, control)
        self._mouse(widget, qt.QEvent.MouseButtonPress, xy, qt.Qt.LeftButton, qt.Qt.LeftButton, control)

    def move(self, widget, path_xy, control=False, steps=6):
        """Move along a path with the button held."""
        for (x0, y0), (x1, y1) in pairwise(path_xy):
            for n in range(1, steps + 1):
                at = x0 + (x1 - x0) * n / steps, y0 + (y1 - y0) * n / steps
                self._mouse(widget, qt.QEvent.MouseMove, at, qt.Qt.NoButton, qt.Qt.LeftButton, control)

    def release(self, widget, xy, control=False):
        """Release the button."""
        self._mouse(widget, qt.QEvent.MouseButtonRelease, xy, qt.Qt.LeftButton, qt.Qt.NoButton, control)

    def hover(self, widget, xy, control=False):
        """Move the mouse here, with no button."""
        view = self._view(widget)
        view.setFocus()
        qt.QApplication.sendEvent(view, qt.QEvent(qt.QEvent.Enter))
        self._mouse(widget, qt.QEvent.MouseMove, xy, qt.Qt.NoButton, qt.Qt.NoButton, control)

    def key(self, keys):
        """Press keys that a shortcut of the window has.

        Raises:
            ValueError: none has them, or several, of which Qt triggers none.
        """
        sequence = qt.QKeySequence(keys)
        window = slicer.util.mainWindow()
        found = [one for one in window.findChildren("QShortcut") if one.enabled and one.key == sequence]
        if len(found) != 1:
            raise ValueError(f"{len(found)} shortcuts for {keys}")
        qt.QApplication.sendEvent(found[0], qt.QShortcutEvent(sequence, found[0].id(), False))

    def _mouse(self, widget, kind, xy, button, buttons, control):
        view = self._view(widget)
        scale = view.devicePixelRatioF()
        at = qt.QPointF(xy[0] / scale, view.height - 1 - xy[1] / scale)
        self._send_mouse(view, kind, at, button, buttons, qt.Qt.ControlModifier if control else qt.Qt.NoModifier)

    @staticmethod
    def _send_mouse(widget, kind, at, button, buttons, modifiers):
        on_screen = qt.QPointF(widget.mapToGlobal(at.toPoint()))
        qt.QApplication.sendEvent(widget, qt.QMouseEvent(kind, at, on_screen, button, buttons, modifiers))

    @staticmethod
    def _view(widget):
        """The widget in a slice view that gets mouse events: the one that VTK draws in."""
        return widget.sliceView().VTKWidget()

    @staticmethod
    def picture(path):
        """Save what the main window shows."""
        slicer.util.mainWindow().grab().save(str(path))


class HostHands(Hands):
    """On the tests' host: views take events of VTK's interactor; all else is as in the desktop."""

    def press(self, widget, xy, control=False):
        """Come into the view, and press the button."""
        widget.sliceView().press(*xy, control=control)

    def move(self, widget, path_xy, control=False, steps=6):
        """Move along a path with the button held."""
        for start, end in pairwise(path_xy):
            widget.sliceView().move(start, end, steps, control=control)

    def release(self, widget, xy, control=False):
        """Release the button."""
        widget.sliceView().release(*xy, control=control)

    def hover(self, widget, xy, control=False):
        """Move the mouse here, with no button."""
        widget.sliceView().hover(*xy, control=control)

    def key(self, keys):
        """Press keys that a shortcut of the window has."""
        import host

        if not host.press(keys):
            raise ValueError(f"0 shortcuts for {keys}")

    @staticmethod
    def picture(path):
        """Save what the main window shows."""
        import host

        host.montage(path, fit=False)
