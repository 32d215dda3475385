"""qSlicerCoreIOManager: what slicer.util's load and save functions call."""

import os

import slicer
from PySide6.QtCore import QObject


class qSlicerIOManager(QObject):
    """Stands for qSlicerIOManager, over the modules' own C++ logics and storage nodes.

    Left out: dialogs, file types found by extension, progress.
    """

    def loadNodes(self, file_type, parameters, nodes=None, messages=None):
        path = parameters["fileName"]
        name = parameters.get("name") or os.path.basename(path).split(".")[0]
        if file_type == "SceneFile":
            return self._load_scene(path, parameters.get("clear", False))
        node = self._reader(file_type)(path, name, parameters)
        if node is not None and nodes is not None:
            nodes.AddItem(node)
        return node is not None

    def _reader(self, file_type):
        scene, modules = slicer.mrmlScene, slicer.modules
        readers = {
            "VolumeFile": lambda path, name, p: modules.volumes.logic().AddArchetypeVolume(
                path, name, 1 if p.get("labelmap") else 0
            ),
            "SegmentationFile": lambda path, name, p: modules.segmentations.logic().LoadSegmentationFromFile(
                path, True, name
            ),
            "MarkupsFile": lambda path, name, p: scene.GetNodeByID(
                modules.markups.logic().LoadMarkups(path, name) or ""
            ),
            "TransformFile": lambda path, name, p: modules.transforms.logic().AddTransform(path, scene),
        }
        if file_type not in readers:
            raise NotImplementedError(f"the host does not load {file_type}")
        return readers[file_type]

    def _load_scene(self, path, clear):
        scene = slicer.mrmlScene
        if clear:
            scene.Clear(0)
        if path.endswith(".mrb"):
            return scene.ReadFromMRB(path, False)
        scene.SetURL(path)
        return bool(scene.Import())

    def loadScene(self, path, clear=True):
        return self._load_scene(path, clear)

    def fileWriterFileType(self, node):
        return "NodeFile"

    def saveNodes(self, file_type, parameters, messages=None):
        path, scene = parameters["fileName"], slicer.mrmlScene
        if file_type == "SceneFile":
            return self._save_scene(path, scene)
        node = scene.GetNodeByID(parameters["nodeID"])
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))

    def _save_scene(self, path, scene):
        for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
            if node.GetSaveWithScene() and not node.GetStorageNode():
                node.AddDefaultStorageNode()
        if path.endswith(".mrb"):
            return scene.WriteToMRB(path)
        return scene.SaveSceneToSlicerDataBundleDirectory(path) if os.path.isdir(path) else bool(scene.Commit(path))
