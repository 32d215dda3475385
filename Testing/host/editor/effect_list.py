"""The editor's own copies of the registered effects, and their buttons."""

from PySide6 import QtWidgets as W

from .factory import qSlicerSegmentEditorEffectFactory

NULL_EFFECT = "NULL"
DEFAULT_ORDER = (
    "Threshold",
    "Paint",
    "Draw",
    "Erase",
    "Level tracing",
    "Grow from seeds",
    "Fill between slices",
    "Margin",
    "Hollow",
    "Smoothing",
    "Scissors",
    "Islands",
    "Logical operators",
    "Mask volume",
)


class EffectList:
    """The part of qMRMLSegmentEditorWidget that clones effects and shows them. Left out: button styles."""

    def updateEffectList(self):
        if not self._order:
            self._order = DEFAULT_ORDER
        if not self._effect_group.buttons():
            self._add_button_for(None, NULL_EFFECT, "No editing")
        for effect in qSlicerSegmentEditorEffectFactory.instance().copies(self._effects):
            self._effects.append(effect)
            effect._logic, effect._editor = self._logic, self
            if self._node is not None:
                effect.setParameterSetNode(self._node)
                effect.setMRMLDefaults()
                self._watch["parameters"].add(self._node, self._node.EffectParameterModified, effect.updateGUIFromMRML)
            self._add_button_for(effect, effect.name, effect.title)
            effect.setupOptionsFrame()
            effect.optionsFrame().setVisible(False)
            self._options.layout().addWidget(effect.optionsFrame())
        self._show_buttons()

    def _add_button_for(self, effect, name, title):
        button = W.QToolButton(self._effects_box)
        button.setObjectName(name)
        button.setCheckable(True)
        button.setText(title if effect else "None")
        button.setToolTip(title)
        button.setSizePolicy(W.QSizePolicy.Minimum, W.QSizePolicy.Preferred)
        if effect:
            button.setIcon(effect.icon())
        self._effect_group.addButton(button)

    def _effect_of(self, button):
        return self.effectByName(button.objectName)

    def _shown_effects(self):
        """None first, then the effects in the asked order, then the others."""
        ordered = [effect for effect in map(self.effectByName, self._order) if effect]
        others = [effect for effect in self._effects if effect not in ordered] if self._unordered else []
        return [None, *ordered, *others]

    def _show_buttons(self):
        grid = self._effects_box.layout()
        buttons = {button.objectName: button for button in self._effect_group.buttons()}
        for button in buttons.values():
            button.hide()
            grid.removeWidget(button)
        for place, effect in enumerate(self._shown_effects()):
            button = buttons[effect.name if effect else NULL_EFFECT]
            button.show()
            grid.addWidget(button, place // self._columns, place % self._columns)

    def effectByName(self, name):
        return next((effect for effect in self._effects if effect.name == name), None) if name else None

    def availableEffectNames(self):
        return tuple(effect.name for effect in self._effects)

    def effectCount(self):
        return len(self._shown_effects())

    def effectByIndex(self, index):
        shown = self._shown_effects()
        return shown[index] if 0 <= index < len(shown) else None

    def effectNameOrder(self):
        return tuple(self._order)

    def setEffectNameOrder(self, names):
        self._order = tuple(names)
        self._show_buttons()

    def _set_unordered(self, visible):
        self._unordered = visible
        self._show_buttons()

    def setEffectColumnCount(self, count):
        self._columns = count
        self._show_buttons()

    def activeEffect(self):
        return self._active_effect

    def setActiveEffect(self, effect):
        """Raises: RuntimeError: there is no parameter node."""
        if self._node is not None:
            self._node.SetActiveEffectName(effect.name if effect else "")
        elif effect is not None:
            raise RuntimeError("the editor has no parameter node")

    def setActiveEffectByName(self, name):
        """Raises: ValueError: no such effect (the desktop would deactivate)."""
        effect = self.effectByName(name)
        if name and effect is None:
            raise ValueError(f"no effect {name!r}: {self.availableEffectNames()}")
        self.setActiveEffect(effect)
