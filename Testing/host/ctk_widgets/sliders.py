"""CTK's sliders and spin boxes for one number."""

from PySide6 import QtWidgets as W
from PySide6.QtCore import Property, Qt, Signal

from ..declared import forwarded, stored

STEPS = 1000


class ctkDoubleSpinBox(W.QDoubleSpinBox):
    """Stands for ctkDoubleSpinBox. Left out: decimals by key or by value, value proxies, inverted controls."""

    decimalsChanged = Signal(int)
    SetIfDifferent, SetAlways = 0, 1
    FixedDecimals, ReplaceDecimals, DecimalsByKey, DecimalsByShortcuts = 0x00, 0x01, 0x02, 0x04
    DecimalsByValue, DecimalPointAlwaysVisible, DecimalsAsMin = 0x08, 0x10, 0x20
    setMode = stored(int, "setMode", 0)
    decimalsOption = stored(int, "decimalsOption", 0)


class ctkDoubleSlider(W.QWidget):
    """Stands for ctkDoubleSlider. Left out: the drawn slider."""

    valueChanged = Signal(float)
    rangeChanged = Signal(float, float)

    def __init__(self, *args):
        super().__init__(next((a for a in args if isinstance(a, W.QWidget)), None))
        self._range, self._value = (0.0, 100.0), 0.0

    def setValue(self, value):
        value = min(max(float(value), self._range[0]), self._range[1])
        if value != self._value:
            self._value = value
            self.valueChanged.emit(value)

    def setRange(self, low, high):
        if (float(low), float(high)) != self._range:
            self._range = (float(low), float(high))
            self.rangeChanged.emit(*self._range)
            self.setValue(self._value)

    value = Property(float, lambda self: self._value, setValue)
    minimum = Property(float, lambda self: self._range[0], lambda self, v: self.setRange(v, self._range[1]))
    maximum = Property(float, lambda self: self._range[1], lambda self, v: self.setRange(self._range[0], v))
    singleStep = stored(float, "singleStep", 1.0)
    pageStep = stored(float, "pageStep", 10.0)
    orientation = stored(int, "orientation", 1)


class ctkSliderWidget(W.QWidget):
    """Stands for ctkSliderWidget: a slider and a spin box. Left out: synchronized siblings, popup, value proxies."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    valuesAboutToChange = Signal()
    decimalsChanged = Signal(int)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider, self._spin = W.QSlider(Qt.Horizontal), ctkDoubleSpinBox()
        layout = W.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._spin)
        self._spin.setKeyboardTracking(False)
        self._spin.setRange(0, 99)
        self._slider.setRange(0, STEPS)
        self._spin.valueChanged.connect(self._spun)
        self._slider.sliderMoved.connect(self._slid)

    def _spun(self, value):
        span = self._spin.maximum - self._spin.minimum
        if 0 < span < float("inf"):
            self._slider.setValue(round(STEPS * (value - self._spin.minimum) / span))
        self.valueChanged.emit(value)

    def _slid(self, position):
        low, high = self._spin.minimum, self._spin.maximum
        value = low + position * (high - low) / STEPS
        self.valueIsChanging.emit(value)
        self._spin.setValue(value)

    def spinBox(self):
        return self._spin

    def slider(self):
        return self._slider

    value = forwarded(float, "_spin", "value")
    minimum = forwarded(float, "_spin", "minimum")
    maximum = forwarded(float, "_spin", "maximum")
    singleStep = forwarded(float, "_spin", "singleStep")
    decimals = forwarded(int, "_spin", "decimals")
    suffix = forwarded(str, "_spin", "suffix")
    prefix = forwarded(str, "_spin", "prefix")
    spinBoxVisible = Property(
        bool, lambda self: not self._spin.isHidden(), lambda self, value: self._spin.setVisible(value)
    )
    pageStep = stored(float, "pageStep", 1.0)
    tickInterval = stored(float, "tickInterval", 0.0)
    tracking = stored(bool, "tracking", True)

    def setValue(self, value):
        self._spin.setValue(value)

    def setDecimals(self, count):
        self._spin.setDecimals(count)

    def setSpinBoxVisible(self, visible):
        self._spin.setVisible(visible)

    def reset(self):
        self._spin.setValue(0)
