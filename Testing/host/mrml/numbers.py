"""qMRMLSliderWidget, qMRMLSpinBox, qMRMLRangeWidget: CTK's widgets with units. Left out: the units themselves."""

from PySide6.QtCore import Property, Signal

from ..ctk_widgets.ranges import ctkRangeWidget
from ..ctk_widgets.sliders import ctkDoubleSpinBox, ctkSliderWidget
from ..declared import stored
from .base import WithScene


class _Units(WithScene):
    Nothing, ShowUnit, ShowAll = 0x00, 0x01, 0x1F
    Prefix, Suffix, Precision, MinimumValue, MaximumValue, Scaling = 0x01, 0x02, 0x10, 0x04, 0x08, 0x20

    def setQuantity(self, quantity):
        self.quantity = quantity

    def setUnitAwareProperties(self, flags):
        self.unitAwareProperties = flags


class qMRMLSliderWidget(_Units, ctkSliderWidget):
    """Stands for qMRMLSliderWidget."""

    mrmlSceneChanged = Signal(object)
    quantity = stored(str, "quantity", "")
    unitAwareProperties = stored(int, "unitAwareProperties", 0)
    orientation = Property(int, lambda self: 1)


class qMRMLSpinBox(_Units, ctkDoubleSpinBox):
    """Stands for qMRMLSpinBox."""

    mrmlSceneChanged = Signal(object)
    quantity = stored(str, "quantity", "")
    unitAwareProperties = stored(int, "unitAwareProperties", 0)


class qMRMLRangeWidget(_Units, ctkRangeWidget):
    """Stands for qMRMLRangeWidget."""

    mrmlSceneChanged = Signal(object)
    quantity = stored(str, "quantity", "")
    unitAwareProperties = stored(int, "unitAwareProperties", 0)
