"""The Segment Editor effect "SAM-Med2D": mouse and keys in slice views become prompts; the rest is elsewhere."""

from __future__ import annotations

import math
import os

import qt
import slicer
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

# A press and a release closer than this, in view px, are a click.
_CLICK_PX = 5
_KEYS = {"P": "positive", "N": "negative", "X": "box"}
# The effect, of all Segment Editors, that has the keys: two enabled shortcuts with one key would block each other.
_keys_owner = []


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """Points and boxes in a slice view give a mask at once; Enter writes it to the segment."""

    def __init__(self, scriptedEffect):
        """Name the effect; every Segment Editor has a copy, so that nothing is made before `activate`."""
        scriptedEffect.name = "SAM-Med2D"  # not translated: modules find effects by it
        scriptedEffect.title = _("SAM-Med2D")
        scriptedEffect.perSegment = True
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.panel = None
        self.propagation = None
        self.annotator = None
        self._shortcuts, self._escape, self._quieted, self._key_calls = [], None, [], []
        self._press = None

    def register(self):
        """Join the Segment Editor, once for all of its copies."""
        AbstractScriptedSegmentEditorEffect.register(self)
        # A scene that was saved while the effect was active would show its prompts before the effect is active again.
        slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndImportEvent, _hide_prompts)

    def clone(self):
        """Make the copy for another Segment Editor."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        copy = effects.qSlicerSegmentEditorScriptedEffect(None)
        copy.setPythonSource(__file__.replace("\\", "/"))
        return copy

    def icon(self):
        """The picture on the effect's button."""
        path = os.path.join(os.path.dirname(__file__), "SegmentEditorEffect.png")
        return qt.QIcon(path) if os.path.exists(path) else qt.QIcon()

    def helpText(self):
        """What the Segment Editor shows below the effects."""
        return "<html>" + _(
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
        ) + "</html>"

    # Options

    def setupOptionsFrame(self):
        """Make the options."""
        from SAMMed2DSlicer.effect.effect_panel import EffectPanel
        from SAMMed2DSlicer.inference import service
        from SAMMed2DSlicer.propagation.propagation_panel import PropagationPanel
        from SAMMed2DSlicer.propagation.segmentation_context import EffectPlace

        calls = {
            "accept": self.accept,
            "clear": self.clear,
            "cancel": lambda: self.annotator.cancel(),
            "stop": self.stop_loading,
            "install": self.install_torch,
            "jump": lambda one: self.annotator.jump_to(one),
            "remove": lambda one: self.annotator.remove(one),
            "model": self.model_chosen,
        }
        self.panel = EffectPanel(self.scriptedEffect, service.shared(), calls)
        place = EffectPlace(self.scriptedEffect, lambda: self.annotator, self.panel.options)
        self.propagation = PropagationPanel(service.shared(), place, self.panel.status_line)
        self.panel.add_section(self.propagation.widget)

    def setMRMLDefaults(self):
        """Give the parameters their first values."""
        from SAMMed2DSlicer.effect.effect_panel import DEFAULTS

        for name, value in DEFAULTS.items():
            self.scriptedEffect.setParameterDefault(name, value)

    def updateGUIFromMRML(self):
        """Show the parameters; what the model sees may have changed with them."""
        if self.panel is None:  # the Segment Editor goes
            return
        self.panel.update_from_parameters()
        options = self.panel.options()
        if self.annotator is not None and options != self._options:
            seen = (self._options.intensity, self._options.zoom) if self._options is not None else None
            self._options = options
            if seen != (options.intensity, options.zoom):
                self.annotator.ask_again()

    def updateMRMLFromGUI(self):
        """Nothing: each widget writes its own parameter."""

    # Life

    def activate(self):
        """Show the prompts, and load the model."""
        from SAMMed2DSlicer.effect.controller import Annotator
        from SAMMed2DSlicer.inference import service
        from SAMMed2DSlicer.scene.segments import shared_ledger

        self._engine = service.shared()
        self._choice = self._engine.choice
        self._options = self.panel.options()
        self.annotator = Annotator(
            self.scriptedEffect,
            self._engine,
            self.panel.options,
            on_changed=self._show_work,
            on_closed=self._remove_shortcuts,
            ledger=shared_ledger(),
        )
        self._engine.listen(self._show_engine)
        self._install_shortcuts()
        self._check_torch()
        self.annotator.start()
        self._show_engine(self._engine.state)

    def deactivate(self):
        """Leave nothing behind but the prompts' nodes."""
        if self.annotator is None:
            return
        self.propagation.stop()
        self.annotator.stop()
        self.annotator = None
        self.panel.close()
        self._press = None
        self._engine.unlisten(self._show_engine)
        self._remove_shortcuts()

    def cleanup(self):
        """Let go of everything when the Segment Editor goes."""
        self.deactivate()
        self.panel = self.propagation = None

    def sourceVolumeNodeChanged(self):
        """Follow the volume."""
        if self.annotator is not None:
            self.annotator.ask_again()

    def layoutChanged(self):
        """Follow the views."""
        if self.annotator is not None:
            self._press = None
            self.annotator.rebuild_views()

    def interactionNodeModified(self, interactionNode):
        """Stay active while the user places markups of any kind."""

    def createCursor(self, widget):
        """A cross over slice views."""
        return qt.QCursor(qt.Qt.CrossCursor)

    # Mouse

    def processInteractionEvents(self, callerInteractor, eventId, viewWidget):
        """Take clicks and drags in slice views; everything else is Slicer's."""
        if self.annotator is None or viewWidget.className() != "qMRMLSliceWidget" or self._is_placing():
            return False
        if eventId == vtk.vtkCommand.LeftButtonPressEvent:
            return self._pressed(callerInteractor, viewWidget)
        if eventId == vtk.vtkCommand.LeftButtonDoubleClickEvent:
            return self._is_ours(callerInteractor, viewWidget)  # else Slicer would maximise the view
        if eventId == vtk.vtkCommand.EnterEvent:
            self.annotator.view_entered(viewWidget)
        if self._press is None or self._press[0] is not viewWidget:
            return False
        if eventId == vtk.vtkCommand.MouseMoveEvent:
            self._dragged(callerInteractor.GetEventPosition())
            return True
        if eventId == vtk.vtkCommand.LeftButtonReleaseEvent:
            self._released(callerInteractor)
            return True
        return False

    def processViewNodeEvents(self, callerViewNode, eventId, viewWidget):
        """Follow slice views that move."""
        if self.annotator is not None and viewWidget.className() == "qMRMLSliceWidget":
            self.annotator.view_moved()

    def _is_placing(self):
        """Whether the user places markups with Slicer's own tools."""
        node = slicer.app.applicationLogic().GetInteractionNode()
        return node is not None and node.GetCurrentInteractionMode() == node.Place

    def _is_ours(self, interactor, viewWidget):
        """Whether a press belongs to prompts: not to panning, and not to a markup that it would drag."""
        if interactor.GetShiftKey() or interactor.GetAltKey():
            return False
        return not _is_over_handle(viewWidget.mrmlSliceNode())

    def _pressed(self, interactor, viewWidget):
        if not self._is_ours(interactor, viewWidget):
            return False
        if not self.annotator.is_active:  # a scene was closed meanwhile
            self.annotator.start()
            self._install_shortcuts()
        self._press = (viewWidget, tuple(interactor.GetEventPosition()))
        self._arrange_keys()
        return True

    def _dragged(self, xy):
        viewWidget, start = self._press
        preview = self.annotator.preview_in(viewWidget)
        if preview is not None and _is_drag(start, xy):
            preview.show_band(start, xy)

    def _released(self, interactor):
        viewWidget, start = self._press
        self._end_drag()
        end, tool = tuple(interactor.GetEventPosition()), self.scriptedEffect.parameter("Tool")
        if _is_drag(start, end):
            self.annotator.set_box(viewWidget, start, end)
        elif tool != "box":
            positive = (tool == "positive") != bool(interactor.GetControlKey())
            self.annotator.add_point(viewWidget, start, positive)

    def _end_drag(self):
        viewWidget, self._press = self._press[0], None
        preview = self.annotator.preview_in(viewWidget)
        if preview is not None:
            preview.hide_band()
        self._arrange_keys()

    # Actions

    def accept(self):
        """Write what is shown to the segment."""
        if self.annotator is not None:
            self.annotator.accept()

    def clear(self):
        """Take the open prompts away; while a box is dragged, only that."""
        if self.annotator is not None and self._press is not None:
            self._end_drag()
        elif self.annotator is not None:
            self.annotator.clear()

    def model_chosen(self):
        """Load the model that was chosen."""
        if self.annotator is not None:
            self._engine.prepare()

    def stop_loading(self):
        """Wait for the model no longer; prompts are kept."""
        self.annotator.cancel()
        self._engine.cancel_loading()

    def install_torch(self):
        """Install PyTorch, after asking."""
        from SAMMed2DSlicer.setup import pytorch

        pytorch.ensure_torch()
        self._check_torch()
        if self.annotator is not None:
            self.annotator.ask_again()

    def _check_torch(self):
        from SAMMed2DSlicer.setup import pytorch

        torch = pytorch.torch_state()
        self.panel.show_missing(torch.text)
        if torch.is_ready:
            self._engine.prepare()

    def _show_work(self):
        """Show the state of the work."""
        if self.annotator is not None:
            self.panel.show(self.annotator)
            self.propagation.show()
            self._arrange_keys()

    def _show_engine(self, state):
        self.panel.show_engine()
        is_other = self._engine.choice != self._choice  # chosen here or elsewhere
        self._choice = self._engine.choice
        if is_other and self.annotator.sets:
            qt.QTimer.singleShot(0, self._ask_again)

    def _ask_again(self):
        if self.annotator is not None:
            self.annotator.ask_again()

    # Keys

    def _install_shortcuts(self):
        for owner in list(_keys_owner):
            owner._remove_shortcuts()
        _keys_owner.append(self)
        self._shortcut_parent = slicer.util.mainWindow() or self.scriptedEffect.optionsFrame()
        actions = {key: lambda tool=tool: self.scriptedEffect.setParameter("Tool", tool) for key, tool in _KEYS.items()}
        actions.update({"Return": self.accept, "Enter": self.accept})
        self._shortcuts = [self._shortcut(key, call) for key, call in actions.items()]
        self._escape = self._shortcut("Esc", self.clear)
        self._escape.setEnabled(False)
        slicer.app.connect("focusChanged(QWidget*,QWidget*)", self._focus_changed)
        self._arrange_keys()

    def _shortcut(self, key, call):
        shortcut = qt.QShortcut(qt.QKeySequence(key), self._shortcut_parent)
        shortcut.connect("activated()", call)
        self._key_calls.append((shortcut, call))
        return shortcut

    def _remove_shortcuts(self):
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

    def _focus_changed(self, old, new):
        self._arrange_keys()

    def _arrange_keys(self):
        """Esc is for prompts while there are open ones, and all keys are for texts while the user types.

        Two enabled shortcuts with one key would block each other, so the Segment Editor, which ends the effect with
        Esc, has to give it up meanwhile.
        """
        if self.annotator is None or not self.annotator.is_active:
            return
        is_busy = self._press is not None or self.annotator.is_waiting
        wants_escape = is_busy or bool(self.annotator.pending) or bool(self.annotator.unfinished)
        if self not in _keys_owner:
            if wants_escape:  # the keys are for the editor that was worked with last
                self._install_shortcuts()
            return
        is_typing = _is_text_field(qt.QApplication.focusWidget())
        for shortcut in self._shortcuts:
            shortcut.setEnabled(not is_typing)
        self._quiet_others(wants_escape)
        self._escape.setEnabled(wants_escape and not is_typing)

    def _quiet_others(self, quiet):
        """Switch the other shortcuts with Esc in the window off, or on again."""
        if quiet and not self._quieted:
            children = [child for child in self._shortcut_parent.children() if child.className() == "QShortcut"]
            escapes = [child for child in children if child.key.toString() == "Esc" and child.enabled]
            self._quieted = [child for child in escapes if child is not self._escape and child != self._escape]
        for shortcut in self._quieted:
            shortcut.setEnabled(not quiet)
        if not quiet:
            self._quieted = []


def _hide_prompts(scene, event):
    """Show no prompts; an effect that is active shows those of its own views afterwards."""
    from SAMMed2DSlicer.prompts.prompt_groups import prompt_nodes

    for node in prompt_nodes():
        if node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(False)


def _is_text_field(widget):
    """Whether keys that are pressed are meant as text."""
    kinds = ("QLineEdit", "QAbstractSpinBox", "QTextEdit", "QPlainTextEdit")
    return widget is not None and any(widget.inherits(kind) for kind in kinds)


def _is_drag(start, end):
    return math.dist(start, end) >= _CLICK_PX


def _is_over_handle(slice_node):
    """Whether the mouse is over something of a markup that a press would drag: a point or a handle."""
    display = slicer.vtkMRMLMarkupsDisplayNode
    handles = (display.ComponentControlPoint, display.ComponentScaleHandle, display.ComponentTranslationHandle)
    return any(
        node.GetActiveComponentType() in handles
        for node in slicer.util.getNodesByClass("vtkMRMLMarkupsDisplayNode")
        if node.IsDisplayableInView(slice_node.GetID())
    )
