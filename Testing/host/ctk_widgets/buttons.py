"""CTK's buttons and boxes that fold."""

import os

from PySide6 import QtWidgets as W
from PySide6.QtCore import Property, QEvent, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPixmap

from ..declared import stored

HEADER_PX = 22


def _children(widget):
    return widget.findChildren(W.QWidget, options=Qt.FindDirectChildrenOnly)


class ctkCollapsibleButton(W.QAbstractButton):
    """Stands for ctkCollapsibleButton. Left out: frame shapes' looks, alignment of text and indicator.

    As in CTK, a child that is added or shown while the button is collapsed stays hidden until it is opened.
    """

    contentsCollapsed = Signal(bool)

    def __init__(self, *args):
        super().__init__(next((a for a in args if isinstance(a, W.QWidget)), None))
        self._collapsed, self._folded = False, []
        self.setText(next((a for a in args if isinstance(a, str)), ""))
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, HEADER_PX, 0, 0)
        self.setSizePolicy(W.QSizePolicy.Preferred, W.QSizePolicy.Preferred)
        self.toggled.connect(lambda on: self._fold(not on))

    def _fold(self, collapsed):
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self.setChecked(not collapsed)
        if collapsed:
            self._hide_contents()
        else:
            for child in self._folded:
                child.setVisible(True)
            self._folded = []
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)

    def _hide_contents(self):
        for child in _children(self):
            if not child.isHidden():
                self._folded.append(child)
                child.setVisible(False)

    def event(self, event):
        # CTK filters its children's events; here their parent hears of them by the layout, a moment later.
        if self._collapsed and event.type() == QEvent.LayoutRequest:
            self._hide_contents()
        return super().event(event)

    collapsed = Property(bool, lambda self: self._collapsed, _fold)
    collapsedHeight = stored(int, "collapsedHeight", 10)
    flat = stored(bool, "flat", False)
    contentsFrameShape = stored(int, "contentsFrameShape", 0)
    contentsFrameShadow = stored(int, "contentsFrameShadow", 0)
    contentsLineWidth = stored(int, "contentsLineWidth", 1)
    contentsMidLineWidth = stored(int, "contentsMidLineWidth", 0)

    def _contents(self, size):
        """The room that a layout's size needs with the header above it."""
        return QSize(size.width(), size.height() + HEADER_PX)

    def sizeHint(self):
        header = QSize(self.fontMetrics().horizontalAdvance(str(self.text)) + 40, HEADER_PX)
        full = self.layout() and not self._collapsed
        return header.expandedTo(self._contents(self.layout().sizeHint())) if full else header

    def minimumSizeHint(self):
        full = self.layout() and not self._collapsed
        return self._contents(self.layout().minimumSize()) if full else QSize(40, HEADER_PX)

    def hitButton(self, pos):
        return pos.y() < HEADER_PX

    def paintEvent(self, event):
        painter, header = QPainter(self), QRect(0, 0, self.width, HEADER_PX - 2)
        option = W.QStyleOptionButton()
        option.initFrom(self)
        option.rect = header
        option.state |= W.QStyle.State_Raised
        self.style().drawPrimitive(W.QStyle.PE_PanelButtonCommand, option, painter, self)
        option.rect = QRect(4, 3, 14, 14)
        arrow = W.QStyle.PE_IndicatorArrowRight if self._collapsed else W.QStyle.PE_IndicatorArrowDown
        self.style().drawPrimitive(arrow, option, painter, self)
        painter.setPen(self.palette.buttonText().color())
        painter.drawText(header.adjusted(24, 0, 0, 0), Qt.AlignVCenter | Qt.TextShowMnemonic, str(self.text))
        painter.end()


class ctkCollapsibleGroupBox(W.QGroupBox):
    """Stands for ctkCollapsibleGroupBox: its check box folds it."""

    def __init__(self, *args):
        super().__init__(*args)
        self._folded = []
        self.setCheckable(True)
        self.toggled.connect(self._expand)

    def _expand(self, expanded):
        if not expanded:
            self._folded = [child for child in _children(self) if not child.isHidden()]
        for child in self._folded:
            child.setVisible(expanded)

    collapsed = Property(bool, lambda self: not self.isChecked(), lambda self, value: self.setChecked(not value))
    collapsedHeight = stored(int, "collapsedHeight", 14)


class ctkExpandableWidget(W.QFrame):
    """Stands for ctkExpandableWidget. Left out: the grip."""


class ctkCheckBox(W.QCheckBox):
    """Stands for ctkCheckBox. Left out: indicator icons."""


class ctkCheckablePushButton(W.QPushButton):
    """Stands for ctkCheckablePushButton. Left out: the drawn check box."""

    checkBoxToggled = Signal(bool)
    checkBoxControlsButton = stored(bool, "checkBoxControlsButton", True)
    checkBoxControlsButtonToggleState = stored(bool, "checkBoxControlsButtonToggleState", True)
    checkBoxUserCheckable = stored(bool, "checkBoxUserCheckable", True)


class ctkDirectoryButton(W.QPushButton):
    """Stands for ctkDirectoryButton. Left out: the dialog."""

    directoryChanged = Signal(str)
    directorySelected = Signal(str)
    _directory = "."

    def _set(self, path):
        path = os.path.abspath(path) if path not in ("", ".") else "."
        if path != self._directory:
            self._directory = path
            self.setText(path)
            self.directoryChanged.emit(path)

    directory = Property(str, lambda self: self._directory, _set)
    caption = stored(str, "caption", "")
    acceptMode = stored(int, "acceptMode", 0)


class ctkColorPickerButton(W.QPushButton):
    """Stands for ctkColorPickerButton. Left out: the dialog."""

    colorChanged = Signal(QColor)

    def __init__(self, *args):
        super().__init__(*args)
        self._color = QColor("black")

    def setColor(self, color):
        if color == self._color:
            return
        self._color = QColor(color)
        swatch = QPixmap(12, 12)
        swatch.fill(self._color)
        self.setIcon(swatch)
        self.colorChanged.emit(self._color)

    color = Property(QColor, lambda self: self._color, setColor)
    displayColorName = stored(bool, "displayColorName", True)
