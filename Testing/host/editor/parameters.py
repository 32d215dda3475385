"""An effect's parameters and node references, kept in the segment editor node."""

import slicer


class ParameterError(KeyError):
    """A parameter that was never set, or no parameter node; the desktop says so with qCritical and goes on."""


def as_text(value):
    """What setParameter's overloads for QString, int and double write.

    Raises:
        TypeError: PythonQt has no overload for this type (NumPy's numbers, None, lists).
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return format(value, "g")  # QString::number(double): six digits
    raise TypeError(f"setParameter takes str, int or float, not {type(value).__name__}")


class Parameters:
    """The part of qSlicerSegmentEditorAbstractEffect that reads and writes parameters."""

    def parameterSetNode(self):
        return self._node

    def setParameterSetNode(self, node):
        self._node = node

    def scene(self):
        return self._node.GetScene() if self._node else None

    def _key(self, name):
        return f"{self._effect_name}.{name}"

    def _writable(self):
        if self._node is None:
            raise ParameterError(f"effect {self._effect_name} has no parameter node")
        return self._node

    def parameter(self, name):
        if self._node is None:
            return ""
        value = self._node.GetAttribute(self._key(name))
        value = self._node.GetAttribute(name) if value is None else value
        if value is None:
            raise ParameterError(f"effect {self._effect_name} has no parameter {name}")
        return value

    def integerParameter(self, name):
        return int(self.parameter(name)) if self._node else 0

    def doubleParameter(self, name):
        return float(self.parameter(name)) if self._node else 0.0

    def parameterDefined(self, name):
        return self.commonParameterDefined(self._key(name))

    def commonParameterDefined(self, name):
        return bool(self._node and self._node.GetAttribute(name))

    def setCommonParameter(self, name, value):
        node, value = self._writable(), as_text(value)
        if (node.GetAttribute(name) or "") == value:
            return
        disabled = node.GetDisableModifiedEvent()
        node.SetDisableModifiedEvent(1)
        node.SetAttribute(name, value)
        node.SetDisableModifiedEvent(disabled)
        node.InvokeCustomModifiedEvent(slicer.vtkMRMLSegmentEditorNode.EffectParameterModified)

    def setParameter(self, name, value):
        self.setCommonParameter(self._key(name), value)

    def setParameterDefault(self, name, value):
        if not self.parameterDefined(name):
            self.setParameter(name, value)

    def setCommonParameterDefault(self, name, value):
        if not self.commonParameterDefined(name):
            self.setCommonParameter(name, value)

    def nodeReference(self, name):
        if self._node is None:
            return None
        return self._node.GetNodeReference(self._key(name)) or self._node.GetNodeReference(name)

    def setCommonNodeReference(self, name, node):
        own = self._writable()
        if own.GetNodeReference(name) is not node:
            own.SetNodeReferenceID(name, node.GetID() if node else None)
            own.InvokeCustomModifiedEvent(slicer.vtkMRMLSegmentEditorNode.EffectParameterModified)

    def setNodeReference(self, name, node):
        self.setCommonNodeReference(self._key(name), node)
