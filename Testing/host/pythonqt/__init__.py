"""PythonQt's rules on top of PySide6.

The desktop's scripts reach Qt through PythonQt, not through PySide6. What differs and what scripts rely on:
  * every Q_PROPERTY is a Python attribute (``w.text``, ``w.checked = True``); its setter slot stays callable;
  * ``w.connect("clicked(bool)", callable)`` and ``disconnect``; ``w.clicked.connect(callable)`` works as well;
  * a callable gets as many arguments as its positional parameters can take, and is held strongly;
  * attributes that the C++ class lacks cannot be made; slots and signals cannot be overwritten;
  * ``w.name``, ``w.className()``, ``exec_()``, ``w.delete()``; enumerators are flat and are integers.
"""

from .module import make_qt
from .properties import patch_properties

__all__ = ["make_qt", "patch_properties"]
