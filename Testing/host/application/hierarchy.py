"""Subject hierarchy items, which Qt plug-ins make in the desktop; the segment editor logic asks for them."""

import slicer
import vtk


class SubjectHierarchy:
    """Stands for qSlicerSubjectHierarchyPluginLogic. Left out: plug-ins, parents by reference, attributes, views."""

    def __init__(self, scene):
        self._scene = scene

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def added(caller, event, node):
            self._added(node)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def about_to_be_removed(caller, event, node):
            self._about_to_be_removed(node)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def removed(caller, event, node):
            self._removed(node)

        scene.AddObserver(scene.NodeAddedEvent, added)
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, about_to_be_removed)
        scene.AddObserver(scene.NodeRemovedEvent, removed)
        scene.AddObserver(scene.EndImportEvent, lambda *_: self._complete())
        scene.AddObserver(scene.EndCloseEvent, lambda *_: self._resolve())

    def _resolve(self):
        return slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self._scene)

    def _added(self, node):
        if node.IsA("vtkMRMLSubjectHierarchyNode"):
            self._resolve()
        elif not self._scene.IsImporting() and not node.GetHideFromEditors():
            self._add(node)

    def _add(self, node):
        tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)
        if tree and node.IsA("vtkMRMLDisplayableNode") and not tree.GetItemByDataNode(node):
            tree.CreateItem(tree.GetSceneItemID(), node)

    def _about_to_be_removed(self, node):
        if self._scene.IsClosing() or not node.IsA("vtkMRMLDisplayableNode"):
            return
        tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)
        if tree and tree.GetItemByDataNode(node):
            tree.RemoveItem(tree.GetItemByDataNode(node), False, False)

    def _removed(self, node):
        if node.IsA("vtkMRMLSubjectHierarchyNode") and not self._scene.IsClosing():
            self._complete()

    def _complete(self):
        """Merge an imported hierarchy into the scene's, and add what is in none."""
        self._resolve()
        for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode", self._scene):
            if not node.GetHideFromEditors():
                self._add(node)
