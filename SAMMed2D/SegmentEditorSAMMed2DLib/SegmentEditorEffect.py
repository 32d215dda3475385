"""The Segment Editor effect "SAM-Med2D": mouse and keys in slice views become prompts; the rest is elsewhere."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import qt
import slicer
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from SAMMed2DSlicer.effect.controller import EffectController
    from SAMMed2DSlicer.effect.effect_panel import EffectPanel
    from SAMMed2DSlicer.effect.parameters import EffectOptions
    from SAMMed2DSlicer.effect.updater import EffectState
    from SAMMed2DSlicer.inference.service import ServiceState
    from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
    from SAMMed2DSlicer.propagation.propagation_panel import PropagationPanel

# A press and a release closer than this, in view px, are a click.
_CLICK_PX = 5
_KEYS = {"P": "positive", "N": "negative", "X": "box"}
# The effect, of all Segment Editors, that has the keys: two enabled shortcuts with one key would block each other.
_keys_owner: list[SegmentEditorEffect] = []


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """Points and boxes in a slice view give a mask at once; Enter writes it to the segment."""

    def __init__(self, scriptedEffect: slicer.qSlicerSegmentEditorScriptedEffect) -> None:
        """Name the effect; every Segment Editor has a copy, so that nothing is made before `activate`."""
        scriptedEffect.name = "SAM-Med2D"  # not translated: modules find effects by it
        scriptedEffect.title = _("SAM-Med2D")
        scriptedEffect.perSegment = True
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.panel: EffectPanel | None = None
        self.propagation: PropagationPanel | None = None
        self.controller: EffectController | None = None
        self._options: EffectOptions | None = None
        self._shortcuts: list[qt.QShortcut] = []
        self._escape: qt.QShortcut | None = None
        self._quieted: list[qt.QShortcut] = []
        self._key_calls: list[tuple[qt.QShortcut, Callable[[], object]]] = []
        self._press: tuple[slicer.qMRMLSliceWidget, tuple[int, int]] | None = None

    def register(self) -> None:
        """Join the Segment Editor, once for all of its copies."""
        AbstractScriptedSegmentEditorEffect.register(self)
        # A scene that was saved while the effect was active would show its prompts before the effect is active again.
        slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndImportEvent, _hide_prompts)

    def clone(self) -> slicer.qSlicerSegmentEditorScriptedEffect:
        """Make the copy for another Segment Editor."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        copy = effects.qSlicerSegmentEditorScriptedEffect(None)
        copy.setPythonSource(__file__.replace("\\", "/"))
        return copy

    def icon(self) -> qt.QIcon:
        """The picture on the effect's button."""
        path = os.path.join(os.path.dirname(__file__), "SegmentEditorEffect.png")
        return qt.QIcon(path) if os.path.exists(path) else qt.QIcon()

    def helpText(self) -> str:
        """What the Segment Editor shows below the effects."""
        return (
            "<html>"
            + _(
                "Segment a structure on the slice from points and boxes with SAM-Med2D.<br><ul>"
                "<li><b>Click</b> on the structure; <b>Ctrl+click</b> where the mask goes too far.</li>"
                "<li><b>Drag</b> a box around the structure.</li>"
                "<li>Prompts are markups: drag them, or point at one and press <b>Delete</b>.</li>"
                "<li><b>Enter</b> accepts, <b>Esc</b> clears the prompts. <b>P</b>, <b>N</b>, <b>X</b> choose inside, "
                "outside and box.</li></ul>"
                "Masking works as for other effects; other segments are protected until you say otherwise. "
                "After accepting, the next point or box begins another object; Ctrl+click, or choose its row under "
                "<b>Prompts</b> and move its prompts, to correct what was accepted. "
                "<b>Propagate</b> carries a segment from the slices that you have segmented to the others.<p>"
                "Not a medical device: every mask needs a look."
            )
            + "</html>"
        )

    # Options

    def setupOptionsFrame(self) -> None:
        """Make the options."""
        from SAMMed2DSlicer.effect.effect_panel import EffectPanel
        from SAMMed2DSlicer.inference import service
        from SAMMed2DSlicer.propagation.propagation_panel import PropagationPanel
        from SAMMed2DSlicer.propagation.segmentation_context import EffectContext

        calls: dict[str, Callable[..., None]] = {
            "accept": self.accept,
            "clear": self.clear,
            "cancel": self.cancel,
            "stop": self.stop_loading,
            "install": self.install_torch,
            "jump": self.jump_to,
            "remove": self.remove,
            "model": self.model_chosen,
        }
        self.panel = EffectPanel(self.scriptedEffect, service.shared(), calls)
        context = EffectContext(self.scriptedEffect, lambda: self.controller, self.panel.options)
        self.propagation = PropagationPanel(service.shared(), context, self.panel.status_line)
        self.panel.add_section(self.propagation.widget)

    def setMRMLDefaults(self) -> None:
        """Give the parameters their first values."""
        from SAMMed2DSlicer.effect.parameters import DEFAULTS

        for name, value in DEFAULTS.items():
            self.scriptedEffect.setParameterDefault(name, value)

    def updateGUIFromMRML(self) -> None:
        """Show the parameters; what the model sees may have changed with them."""
        if self.panel is None:  # the Segment Editor goes
            return
        self.panel.update_from_parameters()
        options = self.panel.options()
        if self.controller is not None and options != self._options:
            seen = (self._options.intensity, self._options.zoom) if self._options is not None else None
            self._options = options
            if seen != (options.intensity, options.zoom):
                self.controller.predict_again()

    def updateMRMLFromGUI(self) -> None:
        """Nothing: each widget writes its own parameter."""

    # Life

    def activate(self) -> None:
        """Show the prompts, and load the model."""
        from SAMMed2DSlicer.effect.controller import EffectController
        from SAMMed2DSlicer.inference import service
        from SAMMed2DSlicer.scene.write_history import shared_write_history

        if self.panel is None:  # the Segment Editor goes
            return
        self._service = service.shared()
        self._choice = self._service.choice
        self._options = self.panel.options()
        self.controller = EffectController(
            self.scriptedEffect,
            self._service,
            on_changed=self._show_work,
            on_closed=self._remove_shortcuts,
            write_history=shared_write_history(),
        )
        self._service.listen(self._show_service)
        self._install_shortcuts()
        self._check_torch()
        self.controller.start()
        self._show_service(self._service.state)

    def deactivate(self) -> None:
        """Leave nothing behind but the prompts' nodes."""
        if self.controller is None or self.propagation is None or self.panel is None:
            return
        self.propagation.stop()
        self.controller.stop()
        self.controller = None
        self.panel.close()
        self._press = None
        self._service.unlisten(self._show_service)
        self._remove_shortcuts()

    def cleanup(self) -> None:
        """Let go of everything when the Segment Editor goes."""
        self.deactivate()
        self.panel = self.propagation = None

    def sourceVolumeNodeChanged(self) -> None:
        """Follow the volume."""
        if self.controller is not None:
            self.controller.predict_again()

    def layoutChanged(self) -> None:
        """Follow the views."""
        if self.controller is not None:
            self._press = None
            self.controller.rebuild_views()

    def interactionNodeModified(self, interactionNode: slicer.vtkMRMLInteractionNode) -> None:
        """Stay active while the user places markups of any kind."""

    def createCursor(self, widget: qt.QWidget) -> qt.QCursor:
        """A cross over slice views."""
        return qt.QCursor(qt.Qt.CrossCursor)

    # Mouse

    def processInteractionEvents(
        self, callerInteractor: vtk.vtkRenderWindowInteractor, eventId: int, viewWidget: slicer.qMRMLSliceWidget
    ) -> bool:
        """Take clicks and drags in slice views; everything else is Slicer's."""
        if self.controller is None or viewWidget.className() != "qMRMLSliceWidget" or self._is_placing():
            return False
        if eventId == vtk.vtkCommand.LeftButtonPressEvent:
            return self._pressed(self.controller, callerInteractor, viewWidget)
        if eventId == vtk.vtkCommand.LeftButtonDoubleClickEvent:
            return self._is_ours(callerInteractor, viewWidget)  # else Slicer would maximise the view
        if eventId == vtk.vtkCommand.EnterEvent:
            self.controller.view_entered(viewWidget)
        if self._press is None or self._press[0] is not viewWidget:
            return False
        start = self._press[1]
        if eventId == vtk.vtkCommand.MouseMoveEvent:
            self._dragged(self.controller, viewWidget, start, callerInteractor.GetEventPosition())
            return True
        if eventId == vtk.vtkCommand.LeftButtonReleaseEvent:
            self._released(self.controller, viewWidget, start, callerInteractor)
            return True
        return False

    def processViewNodeEvents(self, callerViewNode: slicer.vtkMRMLNode, eventId: int, viewWidget: qt.QWidget) -> None:
        """Follow slice views that move."""
        if self.controller is not None and viewWidget.className() == "qMRMLSliceWidget":
            self.controller.view_moved()

    def _is_placing(self) -> bool:
        """Whether the user places markups with Slicer's own tools."""
        node = slicer.app.applicationLogic().GetInteractionNode()
        return node is not None and node.GetCurrentInteractionMode() == node.Place

    def _is_ours(self, interactor: vtk.vtkRenderWindowInteractor, viewWidget: slicer.qMRMLSliceWidget) -> bool:
        """Whether a press belongs to prompts: not to panning, and not to a markup that it would drag."""
        if interactor.GetShiftKey() or interactor.GetAltKey():
            return False
        return not _is_over_handle(viewWidget.mrmlSliceNode())

    def _pressed(
        self,
        controller: EffectController,
        interactor: vtk.vtkRenderWindowInteractor,
        viewWidget: slicer.qMRMLSliceWidget,
    ) -> bool:
        if not self._is_ours(interactor, viewWidget):
            return False
        if not controller.is_active:  # a scene was closed meanwhile
            controller.start()
            self._install_shortcuts()
        self._press = (viewWidget, interactor.GetEventPosition())
        self._arrange_keys()
        return True

    def _dragged(
        self,
        controller: EffectController,
        viewWidget: slicer.qMRMLSliceWidget,
        start: tuple[int, int],
        xy: tuple[int, int],
    ) -> None:
        preview = controller.preview_in(viewWidget)
        if preview is not None and _is_drag(start, xy):
            preview.show_band(start, xy)

    def _released(
        self,
        controller: EffectController,
        viewWidget: slicer.qMRMLSliceWidget,
        start: tuple[int, int],
        interactor: vtk.vtkRenderWindowInteractor,
    ) -> None:
        self._end_drag(controller, viewWidget)
        end, tool = interactor.GetEventPosition(), self.scriptedEffect.parameter("Tool")
        if _is_drag(start, end):
            controller.set_box(viewWidget, start, end)
        elif tool != "box":
            positive = (tool == "positive") != bool(interactor.GetControlKey())
            controller.add_point(viewWidget, start, positive)

    def _end_drag(self, controller: EffectController, viewWidget: slicer.qMRMLSliceWidget) -> None:
        self._press = None
        preview = controller.preview_in(viewWidget)
        if preview is not None:
            preview.hide_band()
        self._arrange_keys()

    # Actions

    def accept(self) -> None:
        """Write what is shown to the segment."""
        if self.controller is not None:
            self.controller.accept()

    def clear(self) -> None:
        """Take the open prompts away; while a box is dragged, only that."""
        if self.controller is not None and self._press is not None:
            self._end_drag(self.controller, self._press[0])
        elif self.controller is not None:
            self.controller.clear()

    def cancel(self) -> None:
        """Wait for no answer; prompts are kept."""
        if self.controller is not None:
            self.controller.cancel()

    def jump_to(self, group: PromptGroup) -> None:
        """Show the slice of some prompts."""
        if self.controller is not None:
            self.controller.jump_to(group)

    def remove(self, group: PromptGroup) -> None:
        """Take some prompts away."""
        if self.controller is not None:
            self.controller.remove(group)

    def model_chosen(self) -> None:
        """Load the model that was chosen."""
        if self.controller is not None:
            self._service.prepare()

    def stop_loading(self) -> None:
        """Wait for the model no longer; prompts are kept."""
        self.cancel()
        self._service.cancel_loading()

    def install_torch(self) -> None:
        """Install PyTorch, after asking."""
        from SAMMed2DSlicer.setup import pytorch

        pytorch.ensure_torch()
        self._check_torch()
        if self.controller is not None:
            self.controller.predict_again()

    def _check_torch(self) -> None:
        from SAMMed2DSlicer.setup import pytorch

        torch = pytorch.torch_state()
        if self.panel is not None:
            self.panel.show_missing(torch.text)
        if torch.is_ready:
            self._service.prepare()

    def _show_work(self, state: EffectState) -> None:
        """Show the state of the work."""
        if self.controller is not None and self.panel is not None and self.propagation is not None:
            self.panel.show(state)
            self.propagation.show()
            self._arrange_keys()

    def _show_service(self, state: ServiceState) -> None:
        if self.panel is None or self.controller is None:
            return
        self.panel.show_service()
        is_other = self._service.choice != self._choice  # chosen here or elsewhere
        self._choice = self._service.choice
        if is_other and self.controller.groups:
            qt.QTimer.singleShot(0, self._predict_again)

    def _predict_again(self) -> None:
        if self.controller is not None:
            self.controller.predict_again()

    # Keys

    def _install_shortcuts(self) -> None:
        for owner in list(_keys_owner):
            owner._remove_shortcuts()
        _keys_owner.append(self)
        self._shortcut_parent = slicer.util.mainWindow() or self.scriptedEffect.optionsFrame()
        actions: dict[str, Callable[[], None]] = {key: self._chooser_of(tool) for key, tool in _KEYS.items()}
        actions.update({"Return": self.accept, "Enter": self.accept})
        self._shortcuts = [self._shortcut(key, call) for key, call in actions.items()]
        self._escape = self._shortcut("Esc", self.clear)
        self._escape.setEnabled(False)
        slicer.app.connect("focusChanged(QWidget*,QWidget*)", self._focus_changed)
        self._arrange_keys()

    def _chooser_of(self, tool: str) -> Callable[[], None]:
        return lambda: self.scriptedEffect.setParameter("Tool", tool)

    def _shortcut(self, key: str, call: Callable[[], None]) -> qt.QShortcut:
        shortcut = qt.QShortcut(qt.QKeySequence(key), self._shortcut_parent)
        shortcut.connect("activated()", call)
        self._key_calls.append((shortcut, call))
        return shortcut

    def _remove_shortcuts(self) -> None:
        if self not in _keys_owner:
            return
        _keys_owner.remove(self)
        slicer.app.disconnect("focusChanged(QWidget*,QWidget*)", self._focus_changed)
        self._quiet_others(False)
        for shortcut, call in self._key_calls:
            shortcut.disconnect("activated()", call)  # or it would keep this effect alive
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts, self._escape, self._key_calls = [], None, []

    def _focus_changed(self, old: qt.QWidget, new: qt.QWidget) -> None:
        self._arrange_keys()

    def _arrange_keys(self) -> None:
        """Esc is for prompts while there are open ones, and all keys are for texts while the user types.

        Two enabled shortcuts with one key would block each other, so the Segment Editor, which ends the effect with
        Esc, has to give it up meanwhile.
        """
        if self.controller is None or not self.controller.is_active:
            return
        wants_escape = self._press is not None or self.controller.has_open_work
        if self not in _keys_owner:
            if wants_escape:  # the keys are for the editor that was worked with last
                self._install_shortcuts()
            return
        is_typing = _is_text_field(qt.QApplication.focusWidget())
        for shortcut in self._shortcuts:
            shortcut.setEnabled(not is_typing)
        self._quiet_others(wants_escape)
        if self._escape is not None:
            self._escape.setEnabled(wants_escape and not is_typing)

    def _quiet_others(self, quiet: bool) -> None:
        """Switch the other shortcuts with Esc in the window off, or on again."""
        if quiet and not self._quieted:
            children = [child for child in self._shortcut_parent.children() if child.className() == "QShortcut"]
            escapes = [child for child in children if child.key.toString() == "Esc" and child.enabled]
            self._quieted = [child for child in escapes if child is not self._escape and child != self._escape]
        for shortcut in self._quieted:
            shortcut.setEnabled(not quiet)
        if not quiet:
            self._quieted = []


def _hide_prompts(scene: slicer.vtkMRMLScene, event: str) -> None:
    """Show no prompts; an effect that is active shows those of its own views afterwards."""
    from SAMMed2DSlicer.prompts.prompt_groups import prompt_nodes

    for node in prompt_nodes():
        display = node.GetDisplayNode()
        if display is not None:
            display.SetVisibility(False)


def _is_text_field(widget: qt.QWidget | None) -> bool:
    """Whether keys that are pressed are meant as text."""
    kinds = ("QLineEdit", "QAbstractSpinBox", "QTextEdit", "QPlainTextEdit")
    return widget is not None and any(widget.inherits(kind) for kind in kinds)


def _is_drag(start: Sequence[int], end: Sequence[int]) -> bool:
    return math.dist(start, end) >= _CLICK_PX


def _is_over_handle(slice_node: slicer.vtkMRMLSliceNode) -> bool:
    """Whether the mouse is over something of a markup that a press would drag: a point or a handle."""
    display = slicer.vtkMRMLMarkupsDisplayNode
    handles = (display.ComponentControlPoint, display.ComponentScaleHandle, display.ComponentTranslationHandle)
    return any(
        node.GetActiveComponentType() in handles
        for node in slicer.util.getNodesByClass("vtkMRMLMarkupsDisplayNode")
        if node.IsDisplayableInView(slice_node.GetID())
    )
