"""The Segment Editor effect "SAM-Med2D": mouse and keys in slice views become prompts; the rest is elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

import qt
import slicer
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from SAMMed2DSlicer.effect.context.parameters import EffectOptions
    from SAMMed2DSlicer.effect.controller import EffectController
    from SAMMed2DSlicer.effect.display import EffectState
    from SAMMed2DSlicer.effect.mouse_press import MousePress
    from SAMMed2DSlicer.effect.panel.effect_panel import EffectPanel
    from SAMMed2DSlicer.effect.panel.key_overlay import KeyOverlay
    from SAMMed2DSlicer.inference.service import ServiceState
    from SAMMed2DSlicer.propagation.panel.propagation_panel import PropagationPanel
    from SAMMed2DSlicer.propagation.panel.whole_object import WholeObjectTool
    from SAMMed2DSlicer.widgets.shortcuts import ExclusiveShortcuts

# The Segment Editor's keys for its undo.
_UNDO_KEYS = ("Ctrl+Z", "Z")
# With Shift, turns of the wheel (sideways on some systems): to the next larger mask, or to a smaller one.
_LARGER = (vtk.vtkCommand.MouseWheelForwardEvent, vtk.vtkCommand.MouseWheelRightEvent)
_SMALLER = (vtk.vtkCommand.MouseWheelBackwardEvent, vtk.vtkCommand.MouseWheelLeftEvent)


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """Points, boxes, scribbles and lassos in a slice view give a mask at once; Enter writes it to the segment."""

    def __init__(self, scriptedEffect: slicer.qSlicerSegmentEditorScriptedEffect) -> None:
        """Name the effect; every Segment Editor has a copy, so that nothing is made before `activate`."""
        scriptedEffect.name = "SAM-Med2D"  # not translated: modules find effects by it
        scriptedEffect.title = _("SAM-Med2D")
        scriptedEffect.perSegment = True
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.panel: EffectPanel | None = None
        self.propagation: PropagationPanel | None = None
        self.whole: WholeObjectTool | None = None
        self.controller: EffectController | None = None
        self._options: EffectOptions | None = None
        self._shortcuts: ExclusiveShortcuts | None = None
        self._overlay: KeyOverlay | None = None
        self._press: MousePress | None = None
        self._is_at_work = self._has_open_work = self._has_new_prompts = False  # as the controller has told

    def register(self) -> None:
        """Join the Segment Editor, once for all of its copies."""
        from SAMMed2DSlicer.prompts.prompt_nodes import hide_prompts

        AbstractScriptedSegmentEditorEffect.register(self)
        # A scene that was saved while the effect was active would show its prompts before the effect is active again.
        slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndImportEvent, lambda scene, event: hide_prompts())

    def clone(self) -> slicer.qSlicerSegmentEditorScriptedEffect:
        """Make the copy for another Segment Editor."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        copy = effects.qSlicerSegmentEditorScriptedEffect(None)
        copy.setPythonSource(__file__.replace("\\", "/"))
        return copy

    def icon(self) -> qt.QIcon:
        """The icon on the effect's button."""
        return qt.QIcon(os.path.join(os.path.dirname(__file__), "SegmentEditorEffect.png"))

    def helpText(self) -> str:
        """What the Segment Editor shows below the effects."""
        from SAMMed2DSlicer.effect.panel.help_text import help_html

        return help_html()

    # Options

    def setupOptionsFrame(self) -> None:
        """Make the options."""
        from SAMMed2DSlicer.effect.panel.effect_panel import EffectPanel
        from SAMMed2DSlicer.inference import service
        from SAMMed2DSlicer.propagation.panel.propagation_panel import PropagationPanel
        from SAMMed2DSlicer.propagation.panel.whole_object import WholeObjectTool
        from SAMMed2DSlicer.propagation.segmentation_context import EffectContext

        calls: dict[str, Callable[..., None]] = {
            "accept": self.accept,
            "clear": self.clear,
            "cancel": partial(self._act, "cancel"),
            "stop": self.stop_loading,
            "install": self.install_torch,
            **{name: partial(self._act, action) for name, action in (("jump", "jump_to"), ("remove", "remove"))},
            "keys": self.toggle_keys,
            "propose": self.on_propose,
            "model": self.model_chosen,
        }
        self.panel = EffectPanel(self.scriptedEffect, service.shared(), calls)
        context = EffectContext(self.scriptedEffect, lambda: self.controller, self.panel.options)
        self.propagation = PropagationPanel(service.shared(), context, self.panel.status_line)
        self.panel.add_section(self.propagation.widget)
        tool = WholeObjectTool(context, self.panel.status_line, lambda: self.controller, self.propagation)
        self.whole, tool.on_changed = tool, self._arrange_keys
        self.panel.ui.wholeButton.connect("clicked()", self.segment_whole)

    def setMRMLDefaults(self) -> None:
        """Give the parameters their first values."""
        from SAMMed2DSlicer.effect.context.parameters import DEFAULTS

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
        from SAMMed2DSlicer.effect.panel.key_overlay import new_shortcuts
        from SAMMed2DSlicer.inference import service
        from SAMMed2DSlicer.recovery import restoring
        from SAMMed2DSlicer.scene.edit_history import shared_edit_history
        from SAMMed2DSlicer.widgets.scrolling import scroll_to_all_soon

        if self.panel is None or self.propagation is None:  # the Segment Editor goes
            return
        self._service = service.shared()
        self._choice = self._service.choice
        self._options = self.panel.options()
        self.controller = EffectController(
            self.scriptedEffect,
            self._service,
            on_changed=self._show_work,
            on_closed=self._rest,
            edit_history=shared_edit_history(),
        )
        parent = slicer.util.mainWindow() or self.scriptedEffect.optionsFrame()
        borrowed = {"Esc": self.clear} | dict.fromkeys(_UNDO_KEYS, self.take_back)
        self._shortcuts, self._overlay = new_shortcuts(self, parent, borrowed)
        self._shortcuts.install()
        self._check_torch()
        self._start(self.controller)
        qt.QTimer.singleShot(0, restoring.offer_left_work)
        self._service.listen(self._show_service)
        self._show_service(self._service.state)
        qt.QTimer.singleShot(0, self.panel.tour.show_once)
        shown = self.panel.status_line.widget, self.propagation.ui.propagateButton
        scroll_to_all_soon(*shown, lambda: self.controller is not None)

    def _start(self, controller: EffectController) -> None:
        self._is_at_work = True
        controller.start()

    def _rest(self) -> None:
        self._is_at_work, self._press = False, None
        if self._shortcuts is not None:
            self._shortcuts.remove()
        if self._overlay is not None:
            self._overlay.hide()

    def deactivate(self) -> None:
        """Leave nothing behind but the prompts' nodes."""
        if self.controller is None or self.propagation is None or self.panel is None or self.whole is None:
            return
        self.propagation.stop()
        self.whole.discard()
        self.controller.stop()
        self.controller = None
        self.panel.close()
        self._press = None
        self._service.unlisten(self._show_service)
        self._rest()
        self._shortcuts = None

    def cleanup(self) -> None:
        """Let go of everything when the Segment Editor goes."""
        self.deactivate()
        self.panel = self.propagation = self.whole = None

    def sourceVolumeNodeChanged(self) -> None:
        """Follow the volume."""
        self._act("predict_again")

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
        from SAMMed2DSlicer.scene.slice_views import is_for_prompts, is_placing

        if self.controller is None or viewWidget.className() != "qMRMLSliceWidget" or is_placing():
            return False
        if self._press is None:
            self.controller.hover.see(eventId, callerInteractor, viewWidget, self.scriptedEffect.parameter("Tool"))
            if eventId == vtk.vtkCommand.MouseMoveEvent:
                self.controller.proposer.mark_at(viewWidget, callerInteractor.GetEventPosition())
        if eventId == vtk.vtkCommand.LeftButtonPressEvent:
            return self._pressed(self.controller, callerInteractor, viewWidget)
        if eventId == vtk.vtkCommand.LeftButtonDoubleClickEvent:
            return is_for_prompts(callerInteractor, viewWidget)  # else Slicer would maximise the view
        if eventId == vtk.vtkCommand.KeyPressEvent and is_for_prompts(callerInteractor, viewWidget):
            return self.controller.prompt_undo.takes_key(callerInteractor.GetKeySym())
        if eventId == vtk.vtkCommand.EnterEvent:
            self.controller.view_entered(viewWidget)
        if eventId in _LARGER + _SMALLER and callerInteractor.GetShiftKey():
            return self.controller.take_candidate(1 if eventId in _LARGER else -1)
        if self._press is None or self._press.widget is not viewWidget:
            return False
        place = callerInteractor.GetEventPosition()
        # With Shift, too, it is the click whose mask is shown at the mouse.
        is_other_side = bool(callerInteractor.GetControlKey() and not callerInteractor.GetShiftKey())
        if eventId == vtk.vtkCommand.MouseMoveEvent:
            self._press.move(place, is_other_side)
            return True
        if eventId == vtk.vtkCommand.LeftButtonReleaseEvent:
            press, self._press = self._press, None
            self._arrange_keys()
            press.release(place, is_other_side)
            return True
        return False

    def processViewNodeEvents(self, callerViewNode: slicer.vtkMRMLNode, eventId: int, viewWidget: qt.QWidget) -> None:
        """Follow slice views that move."""
        if self.controller is not None and viewWidget.className() == "qMRMLSliceWidget":
            self.controller.view_moved()

    def _pressed(
        self,
        controller: EffectController,
        interactor: vtk.vtkRenderWindowInteractor,
        viewWidget: slicer.qMRMLSliceWidget,
    ) -> bool:
        from SAMMed2DSlicer.effect.mouse_press import MousePress
        from SAMMed2DSlicer.scene.slice_views import is_for_prompts

        if not is_for_prompts(interactor, viewWidget):
            return False
        if not self._is_at_work:  # a scene was closed meanwhile
            self._start(controller)
            if self._shortcuts is not None:
                self._shortcuts.install()
        tool = self.scriptedEffect.parameter("Tool")
        self._press = MousePress(controller, viewWidget, interactor.GetEventPosition(), tool)
        self._arrange_keys()
        return True

    def _end_drag(self) -> None:
        press, self._press = self._press, None
        if press is not None:
            press.end()
        self._arrange_keys()

    # Actions

    def on_propose(self, action: str) -> None:
        """Act on objects that the model proposes: "search_similar", "search_all", "cancel", "take" or "refuse"."""
        self._act(f"proposer.{action}")

    def _act(self, action: str, *args: object) -> None:
        """Call a method of the controller, or of a part of it, as long as the effect is active."""
        if self.controller is not None:
            attrgetter(action)(self.controller)(*args)

    def accept(self) -> None:
        """Write what is shown to the segment."""
        if self.whole is None or not self.whole.accept():
            self._act("accept")

    def segment_whole(self) -> None:
        """Find the whole object, from what is accepted of it, or in the box of an ROI."""
        if self.whole is not None:
            self.whole.begin()

    def clear(self) -> None:
        """Take the open prompts away; while a box or line is dragged, only that."""
        if self._press is not None:
            self._end_drag()
        elif self.whole is None or not self.whole.discard():
            self._act("clear")

    def choose_tool(self, tool: str) -> None:
        """Choose what a click is taken for."""
        self.scriptedEffect.setParameter("Tool", tool)

    def take_candidate(self, steps: int) -> None:
        """Show a larger one of the masks that the prompts may mean; a smaller one for -1."""
        self._act("take_candidate", steps)

    def toggle_prompts(self) -> None:
        """Hide the prompts, or show them again."""
        self._act("toggle_prompts")

    def toggle_keys(self) -> None:
        """Show the sheet of keys, or hide it."""
        if self._overlay is not None:
            self._overlay.toggle()

    def remove_last(self) -> None:
        """Take the last prompt back."""
        self._act("prompt_undo.remove_last")

    def take_back(self) -> None:
        """Undo what was not written yet: a line that is drawn, an object that is shown, or the last prompt."""
        if self._press is not None or (self.whole is not None and self.whole.is_open):
            self.clear()
        else:
            self.remove_last()

    def model_chosen(self) -> None:
        """Load the model that was chosen, if what it needs is there."""
        if self.controller is not None:
            self._check_torch()

    def stop_loading(self) -> None:
        """Wait for the model no longer; prompts are kept."""
        self._act("cancel")
        self._service.cancel_loading()

    def install_torch(self) -> None:
        """Install PyTorch, after asking."""
        from SAMMed2DSlicer.setup import pytorch

        pytorch.ensure_torch()
        self._check_torch()
        self._act("predict_again")

    def _check_torch(self) -> None:
        if self.panel is not None and self.panel.can_compute():
            self._service.prepare()

    def _show_work(self, state: EffectState) -> None:
        """Show the state of the work, which is kept in case of a crash."""
        if self.controller and self.panel and self.propagation and self.whole:
            before = (self._has_open_work, self._has_new_prompts)
            self._has_open_work, self._has_new_prompts = state.has_open_work, state.has_new_prompts
            self.panel.show(state)
            self.propagation.show()
            self.whole.keep_work()
            if before != (self._has_open_work, self._has_new_prompts):
                self._arrange_keys()

    def _show_service(self, state: ServiceState) -> None:
        if self.panel is None or self.controller is None:
            return
        self.panel.show_service()
        is_other = self._service.choice != self._choice  # chosen here or elsewhere
        self._choice = self._service.choice
        if is_other and self.controller.groups:
            qt.QTimer.singleShot(0, partial(self._act, "predict_again"))

    # Keys

    def _arrange_keys(self) -> None:
        """Esc is for prompts, a drag or an object that is shown while there are any, and so are the keys for undo."""
        if self._shortcuts is None:
            return
        needed: set[str] = set()
        if self._is_at_work:
            shows_more = bool(self._press or (self.whole and self.whole.is_open))
            needed |= {"Esc"} if shows_more or self._has_open_work else set()
            needed |= set(_UNDO_KEYS) if shows_more or self._has_new_prompts else set()
        self._shortcuts.arrange(needed)
