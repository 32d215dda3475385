"""qSlicerSegmentEditorEffectFactory."""

from PySide6.QtCore import QObject, Signal


class qSlicerSegmentEditorEffectFactory(QObject):
    """Stands for qSlicerSegmentEditorEffectFactory."""

    effectRegistered = Signal(str)
    _instance = None

    @classmethod
    def instance(cls):
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    def __init__(self):
        super().__init__()
        self._effects = []

    def registerEffect(self, effect):
        """False for a name that is known already, as on the desktop.

        Raises:
            ValueError: no effect, or one without a name.
        """
        if effect is None or not effect.name:
            raise ValueError("an effect cannot be registered with an empty name")
        if any(known.name == effect.name for known in self._effects):
            return False
        self._effects.append(effect)
        self.effectRegistered.emit(effect.name)
        return True

    def registeredEffects(self):
        return list(self._effects)

    def copies(self, known):
        """Clones of the registered effects whose names are not known (C++: copyEffects)."""
        names = {effect.name for effect in known}
        return [effect.clone() for effect in self._effects if effect.name not in names]
