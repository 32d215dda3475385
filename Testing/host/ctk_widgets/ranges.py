"""CTK's widgets for a pair of numbers."""

from PySide6 import QtWidgets as W
from PySide6.QtCore import Property, Signal

from ..declared import stored


class ctkRangeWidget(W.QWidget):
    """Stands for ctkRangeWidget: two spin boxes. Left out: the drawn double slider, symmetric moves, proxies."""

    valuesChanged = Signal(float, float)
    minimumValueChanged = Signal(float)
    maximumValueChanged = Signal(float)
    rangeChanged = Signal(float, float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._range, self._values = (0.0, 99.0), (0.0, 99.0)
        layout = W.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._spins = W.QDoubleSpinBox(), W.QDoubleSpinBox()
        for spin in self._spins:
            spin.setSizePolicy(W.QSizePolicy.Ignored, W.QSizePolicy.Fixed)
            layout.addWidget(spin)
        self._show()
        self._spins[0].valueChanged.connect(lambda value: self.setMinimumValue(value))
        self._spins[1].valueChanged.connect(lambda value: self.setMaximumValue(value))

    def _show(self):
        for spin, value in zip(self._spins, self._values, strict=True):
            blocked = spin.blockSignals(True)
            spin.setRange(*self._range)
            spin.setValue(value)
            spin.blockSignals(blocked)

    def setValues(self, low, high):
        values = tuple(min(max(float(v), self._range[0]), self._range[1]) for v in (low, high))
        before, self._values = self._values, values
        self._show()
        if values[0] != before[0]:
            self.minimumValueChanged.emit(values[0])
        if values[1] != before[1]:
            self.maximumValueChanged.emit(values[1])
        if values != before:
            self.valuesChanged.emit(*values)

    def setMinimumValue(self, value):
        self.setValues(value, max(value, self._values[1]))

    def setMaximumValue(self, value):
        self.setValues(min(value, self._values[0]), value)

    def setRange(self, low, high):
        if (float(low), float(high)) != self._range:
            self._range = (float(low), float(high))
            self.rangeChanged.emit(*self._range)
        self.setValues(*self._values)

    minimum = Property(float, lambda self: self._range[0], lambda self, v: self.setRange(v, self._range[1]))
    maximum = Property(float, lambda self: self._range[1], lambda self, v: self.setRange(self._range[0], v))
    minimumValue = Property(float, lambda self: self._values[0], setMinimumValue)
    maximumValue = Property(float, lambda self: self._values[1], setMaximumValue)
    singleStep = stored(float, "singleStep", 1.0)
    decimals = stored(int, "decimals", 2)
    prefix = stored(str, "prefix", "")
    suffix = stored(str, "suffix", "")
    tracking = stored(bool, "tracking", True)
    spinBoxAlignment = stored(int, "spinBoxAlignment", 0)

    def setDecimals(self, count):
        self.decimals = count


class ctkDoubleRangeSlider(ctkRangeWidget):
    """Stands for ctkDoubleRangeSlider."""
