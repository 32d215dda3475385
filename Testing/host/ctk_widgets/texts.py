"""CTK's texts and lists."""

import re

from PySide6 import QtWidgets as W
from PySide6.QtCore import Property, QSize, Qt
from PySide6.QtGui import QTextDocument

from ..declared import stored


class ctkComboBox(W.QComboBox):
    """Stands for ctkComboBox. Left out: elided items, wheel effects."""

    defaultText = stored(str, "defaultText", "")
    forceDefault = stored(bool, "forceDefault", False)
    elideMode = stored(int, "elideMode", 3)

    def setCurrentUserDataAsString(self, data):
        self.setCurrentIndex(next((i for i in range(self.count) if self.itemData(i) == data), -1))

    currentUserDataAsString = Property(
        str, lambda self: str(self.itemData(self.currentIndex) or ""), setCurrentUserDataAsString
    )


class ctkFittedTextBrowser(W.QTextBrowser):
    """Stands for ctkFittedTextBrowser: as high as its text. Left out: folding details away."""

    def __init__(self, *args):
        super().__init__(*args)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
        policy = W.QSizePolicy(W.QSizePolicy.Preferred, W.QSizePolicy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    collapsed = stored(bool, "collapsed", True)
    showDetailsText = stored(str, "showDetailsText", "Show details.")
    hideDetailsText = stored(str, "hideDetailsText", "Hide details.")

    def setCollapsibleText(self, text):
        first, rest = [*re.split("<p>|<br>", text, maxsplit=1), ""][:2]
        self.setHtml(f"{first} <a href='#'>{self.showDetailsText}</a>" if rest and self.collapsed else text)

    def heightForWidth(self, width):
        document = QTextDocument()  # the browser's own lays itself out again when its width changes
        document.setDefaultFont(self.font)
        document.setHtml(self.toHtml())
        document.setTextWidth(max(width - 4, 50))
        return int(document.size.height()) + 4

    def sizeHint(self):
        return QSize(200, self.heightForWidth(max(self.width, 200)))

    def minimumSizeHint(self):
        return QSize(100, 20)


class ctkWidgetsUtils:
    """Stands for ctkWidgetsUtils: grabWidget only."""

    @staticmethod
    def grabWidget(widget, *_):
        return widget.grab().toImage()
