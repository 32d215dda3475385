"""qSlicerModuleManager and the entries of slicer.modules."""

import slicer
from PySide6.QtCore import QObject, Signal


class qSlicerLoadableModule(QObject):
    """Stands for the C++ modules: name, title, logic. Left out: their widgets, which are Qt and not in slicer-core."""

    def __init__(self, name, logic):
        super().__init__()
        self._name, self._logic = name, logic
        self.setObjectName(name)

    name = title = property(lambda self: self._name)
    path = property(lambda self: "")

    def logic(self):
        return self._logic

    def widgetRepresentation(self):
        raise NotImplementedError(f"the host has no widget of the C++ module {self._name}")

    createNewWidgetRepresentation = widgetRepresentation


class qSlicerModuleFactoryManager(QObject):
    """Stands for qSlicerModuleFactoryManager: names and loading of scripted modules."""

    modulesRegistered = Signal("QStringList")

    def __init__(self, manager):
        super().__init__(manager)
        self._manager = manager

    def loadedModuleNames(self):
        return tuple(self._manager.modulesNames())

    instantiatedModuleNames = registeredModuleNames = loadedModuleNames

    def isLoaded(self, name):
        return name in self.loadedModuleNames()


class qSlicerModuleManager(QObject):
    """Stands for qSlicerModuleManager. Left out: factories, dependencies between modules, unloading one module."""

    moduleAboutToBeUnloaded = Signal(str)
    moduleLoaded = Signal(str)
    modulesLoaded = Signal("QStringList")

    def __init__(self):
        super().__init__()
        self._factory = qSlicerModuleFactoryManager(self)

    def add(self, name, module):
        """Put a module into slicer.modules and slicer.moduleNames."""
        setattr(slicer.modules, name.lower(), module)
        setattr(slicer.moduleNames, name, name)
        self.moduleLoaded.emit(name)

    def add_loadable(self, name, logic):
        """Add a C++ module by its logic."""
        self.add(name, qSlicerLoadableModule(name, logic))

    def factoryManager(self):
        return self._factory

    def modulesNames(self):
        return tuple(name for name in vars(slicer.moduleNames) if not name.startswith("_"))

    def module(self, name):
        return getattr(slicer.modules, name.lower(), None)

    def loadedModulePaths(self):
        return {name: self.module(name).path for name in self.modulesNames()}
