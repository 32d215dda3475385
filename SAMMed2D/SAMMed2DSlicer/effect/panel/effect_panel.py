"""The options of the effect: widgets to parameters and back, the table of prompts, and what the model sees."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer import resources
from SAMMed2DSlicer.effect.context.parameters import (
    AT_ONCE,
    BOX,
    DEFAULTS,
    INTENSITY,
    LASSO,
    NEGATIVE,
    NEW_SEGMENTS,
    POSITIVE,
    PREFETCH,
    SCRIBBLE,
    SIMILAR_IN_VOLUME,
    TOOL,
    ZOOM,
    EffectOptions,
)
from SAMMed2DSlicer.effect.panel.proposal_row import ProposalRow
from SAMMed2DSlicer.effect.panel.thumbnail import Thumbnail
from SAMMed2DSlicer.effect.panel.tour import Tour
from SAMMed2DSlicer.inference.service import InferenceService, ModelChoice
from SAMMed2DSlicer.prompts import prompt_nodes
from SAMMed2DSlicer.scene import overwrite_mode
from SAMMed2DSlicer.setup import engines, models
from SAMMed2DSlicer.widgets import combo_boxes, messages
from SAMMed2DSlicer.widgets.scrolling import follow_section
from SAMMed2DSlicer.widgets.status_line import MODEL_LOADING, PREDICTION, StatusLine
from SAMMed2DSlicer.widgets.timers import import_when_idle

if TYPE_CHECKING:
    from SAMMed2DSlicer.effect.display import EffectState
    from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup

_LONGEST_NAME = 24
_NUMPY_TOLD = "SAMMed2D/NumPyTold"  # in the settings: whether the user was told once that it runs without PyTorch

# What the first activation and the first click would import, in an order in which no import takes long.
_USED_SOON = (
    "SAMMed2DSlicer.effect.context.group_chooser",
    "SAMMed2DSlicer.effect.acceptance",
    "SAMMed2DSlicer.effect.objects.proposer",
    "SAMMed2DSlicer.effect.controller",
    "SAMMed2DSlicer.effect.panel.key_overlay",
    "SAMMed2DSlicer.effect.panel.help_text",
    "SAMMed2DSlicer.recovery.autosave",
    "SAMMed2DSlicer.recovery.restoring",
    "SAMMed2DSlicer.effect.mouse_press",
)


class EffectPanel:
    """The widgets below the effects' buttons; it changes parameters and calls what it is given."""

    def __init__(
        self,
        effect: slicer.qSlicerSegmentEditorScriptedEffect,
        service: InferenceService,
        calls: dict[str, Callable[..., None]],
    ) -> None:
        """Make the widgets.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect, whose options frame they go into.
            service: whose model and device are chosen here.
            calls: "accept", "clear", "cancel" (what is asked for), "install", "model" (was chosen), "stop" (loading
                it) and "keys" (are to be shown) without arguments; "jump" and "remove" with a prompt group;
                "propose" with "search_similar", "search_all" or "cancel".
        """
        self._effect, self._service, self._calls = effect, service, calls
        self._state: EffectState | None = None
        self._groups: list[PromptGroup] = []
        self._rows: list[tuple[str, ...]] = []
        # Translating takes so long that a table of many rows would be felt.
        self._texts = {
            prompt_nodes.OPEN: _("open"),
            prompt_nodes.WRITTEN: _("written"),
            prompt_nodes.ACCEPTED: _("accepted"),
            "shown": _("shown"),
            "box": _("box"),
            "stroke": _("stroke"),
            "strokes": _("strokes"),
            "removed": _("(removed)"),
            "hidden": _("hidden"),
        }
        self.status_line, self.tour = StatusLine(), Tour()
        self._status: Any = None
        self._is_waiting = False
        self.widget = slicer.util.loadUI(resources.ui_path("SAMMed2DEffect"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._tools = {
            POSITIVE: self.ui.positiveButton,
            NEGATIVE: self.ui.negativeButton,
            BOX: self.ui.boxButton,
            SCRIBBLE: self.ui.scribbleButton,
            LASSO: self.ui.lassoButton,
        }
        self._proposals = ProposalRow(self.status_line, calls["propose"])
        self._checks = {
            AT_ONCE: self.ui.acceptsAtOnceCheckBox,
            NEW_SEGMENTS: self.ui.newSegmentsCheckBox,
            PREFETCH: self.ui.looksAheadCheckBox,
            SIMILAR_IN_VOLUME: self._proposals.in_volume,
            overwrite_mode.PROTECT: self.ui.protectsOthersCheckBox,
        }
        self._lists = {
            INTENSITY: (self.ui.intensityComboBox, combo_boxes.intensity_names()),
            ZOOM: (self.ui.zoomComboBox, combo_boxes.zoom_names()),
        }
        self._thumbnail = Thumbnail(self.ui.thumbnailLabel)
        self._fill()
        self._connect()
        self.status_line.set_hint(_("Click on the structure, or drag a box around it."))
        effect.addOptionsWidget(self.status_line.widget)
        effect.addOptionsWidget(self.widget)
        self._proposals.add_before(self.ui.wholeButton)  # there is no room beside *Accept*
        self.add_section(self._proposals.widget)
        self.ui.installRow.setVisible(False)
        import_when_idle(_USED_SOON)

    def add_section(self, widget: Any) -> None:
        """Put a section before the others, which are needed less often."""
        layout = self.widget.layout()
        layout.insertWidget(layout.indexOf(self.ui.promptsButton), widget)

    # Parameters

    def options(self) -> EffectOptions:
        """What the user has chosen."""
        return EffectOptions.of(self._effect)

    def update_from_parameters(self) -> None:
        """Show the parameters."""
        self._tools.get(self._effect.parameter(TOOL), self.ui.positiveButton).setChecked(True)
        for name, (box, names) in self._lists.items():
            combo_boxes.fill(box, names, self._effect.parameter(name))
        for name, check in self._checks.items():
            blocked = check.blockSignals(True)
            check.setChecked(bool(self._effect.integerParameter(name)))
            check.blockSignals(blocked)
        if self._effect.parameterSetNode() is not None:
            self.ui.protectsOthersCheckBox.setText(overwrite_mode.rule_text(self._effect))

    # What is going on

    def show(self, state: EffectState) -> None:
        """Show the state of the work."""
        self._show_status(state)
        self._proposals.show(state)
        can_clear = state.can_clear or state.has_object or state.proposals > 0
        can_accept = bool(state.pending) or state.is_waiting or state.has_object or bool(state.unfinished)
        self.ui.acceptButton.setEnabled(can_accept)
        self.ui.acceptButton.setToolTip(
            _("Write what is shown to the segment (Enter).")
            if can_accept
            else _("Nothing is shown yet: click on the structure, or drag a box around it.")
        )
        self.ui.clearButton.setEnabled(can_clear)
        self.ui.clearButton.setToolTip(
            _("Take the prompts of this slice away (Esc); the segment stays as it is.")
            if can_clear
            else _("There are no prompts here.")
        )
        self._state = state
        self.ui.promptsButton.setText(_("Prompts ({count})").format(count=len(state.groups)))
        self._show_groups()
        self._show_thumbnail()

    def _show_status(self, state: EffectState) -> None:
        """Show what is new, and whether a prediction is on its way."""
        line, was_waiting, self._is_waiting = self.status_line, self._is_waiting, state.is_waiting
        text = _("A first look: the outline follows.") if state.has_coarse else _("Segmenting...")
        if state.is_waiting and not was_waiting:
            tip = _("Wait for no answer; the prompts stay.")
            line.begin(PREDICTION, text, self._calls["cancel"], tip, soon=True)
        elif state.is_waiting:
            line.update(PREDICTION, text)
        elif was_waiting:
            line.end(PREDICTION)
        is_new = state.status is not self._status or was_waiting != state.is_waiting
        if is_new and not state.status.text and self._status is not None and line.message != self._status.text:
            self._status, is_new = state.status, False  # something else was said meanwhile, and still holds
        if line.show_in_context(state.place, state.status.text, state.status.level, is_new, state.status.score):
            self._status = state.status

    def show_service(self) -> None:
        """Show which model is used, and whether it is ready."""
        self._fill_models()
        state = self._service.state
        self.ui.modelStateLabel.setText(messages.breaking_anywhere(state.text))
        name = os.path.basename(self._service.choice.model)
        self.ui.modelButton.setText(_("Model: {name}").format(name=messages.elided(name, _LONGEST_NAME)))
        self.ui.modelButton.setToolTip(self._service.choice.model)
        if state.name == "loading":
            tip = _("Wait for the model no longer; the next prompt loads it.")
            self.status_line.begin(MODEL_LOADING, _("Loading the model..."), self._calls["stop"], tip)
        else:
            self.status_line.end(MODEL_LOADING)
        if state.name == "failed":
            self.status_line.show_message(state.text, messages.ERROR)
        hint = engines.numpy_hint() if state.device == engines.NUMPY_NAME else ""
        self.ui.modelStateLabel.setToolTip(hint)
        if hint and not int(slicer.app.settings().value(_NUMPY_TOLD, 0)):
            slicer.app.settings().setValue(_NUMPY_TOLD, 1)
            self.status_line.show_message(hint)

    def close(self) -> None:
        """Show no status any more, since the effect ends."""
        self.status_line.close()
        self.tour.close()
        self._status, self._is_waiting = None, False

    def can_compute(self) -> bool:
        """Tell whether what the chosen model needs is there; if PyTorch is missing, say it, and offer to install it."""
        choice = self._service.choice
        missing = engines.missing_torch(choice.model, choice.device)
        self.ui.installRow.setVisible(missing is not None)
        self.ui.installLabel.setText("" if missing is None else missing.text)
        return missing is None

    def _show_groups(self) -> None:
        """Bring the table up to date while it is seen."""
        if self._state is None or self.ui.promptsButton.collapsed:
            return
        rows = [self._row_of(group, self._state) for group in self._state.groups]
        if rows != self._rows:
            table = self.ui.promptsTable
            table.setRowCount(len(rows))
            for row, texts in enumerate(rows):
                for column, text in enumerate(texts):
                    table.setItem(row, column, qt.QTableWidgetItem(text))
        self._rows, self._groups = rows, list(self._state.groups)
        self._enable_table_buttons()

    def _row_of(self, group: PromptGroup, state: EffectState) -> tuple[str, ...]:
        segment = group.segmentation.GetSegmentation().GetSegment(group.segment_id)
        positive, negative, boxes = group.counts()
        parts = [f"{positive}+"] * bool(positive) + [f"{negative}\N{MINUS SIGN}"] * bool(negative)
        parts += [self._texts["box"]] * bool(boxes)
        count = len(group.strokes)
        parts += [f"{count} {self._texts['stroke' if count == 1 else 'strokes']}"] * bool(count)
        counts = " ".join(parts)
        if segment is None:  # its prompts are seen nowhere; Undo may bring it back
            return self._texts["removed"], group.slice_text(), counts, self._texts["hidden"]
        shown = self._texts["shown" if group in state.predictions else group.state]
        return segment.GetName(), group.slice_text(), counts, shown

    def _enable_table_buttons(self) -> None:
        chosen = bool(self._chosen())
        for button, text in (
            (self.ui.jumpButton, _("Show the slice of the chosen row.")),
            (self.ui.deleteButton, _("Take the prompts of the chosen rows away; the segment stays as it is.")),
        ):
            button.setEnabled(chosen)
            button.setToolTip(text if chosen else _("Choose a row first."))

    def _show_thumbnail(self) -> None:
        """Show what the model sees while it is looked at."""
        state = self._state
        if state is not None and not self.ui.modelButton.collapsed:
            self._thumbnail.show(state.pending[-1] if state.pending else None, state.pending_view)

    # Widgets

    def _fill(self) -> None:
        icons = {POSITIVE: "PositivePoint", NEGATIVE: "NegativePoint", BOX: "Box", SCRIBBLE: "Scribble", LASSO: "Lasso"}
        for button, name in icons.items():
            self._tools[button].setIcon(qt.QIcon(resources.icon_path(name)))
        for name, button in (("Accept", self.ui.acceptButton), ("Clear", self.ui.clearButton)):
            button.setIcon(qt.QIcon(resources.icon_path(name)))
        for name, (box, names) in self._lists.items():
            combo_boxes.fill(box, names, str(DEFAULTS[name]))
        table = self.ui.promptsTable
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels([_("Segment"), _("Slice"), _("Prompts"), _("State")])
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.horizontalHeader().setStretchLastSection(True)
        table.verticalHeader().setVisible(False)
        self._fill_models()

    def _connect(self) -> None:
        ui = self.ui
        for tool, button in self._tools.items():
            button.connect("clicked()", lambda tool=tool: self._effect.setParameter(TOOL, tool))
        for name, check in self._checks.items():
            check.connect("toggled(bool)", lambda on, name=name: self._effect.setParameter(name, int(on)))
        for name, (box, _names) in self._lists.items():
            box.connect(
                "currentIndexChanged(int)",
                lambda index, name=name, box=box: self._effect.setParameter(name, combo_boxes.current_value(box)),
            )
        ui.acceptButton.connect("clicked()", self._calls["accept"])
        ui.clearButton.connect("clicked()", self._calls["clear"])
        ui.installButton.connect("clicked()", self._calls["install"])
        ui.keysButton.connect("clicked()", self._calls["keys"])
        ui.tourButton.connect("clicked()", self.tour.show)
        ui.manageButton.connect("clicked()", lambda: slicer.util.selectModule("SAMMed2D"))
        ui.promptsButton.connect("contentsCollapsed(bool)", lambda collapsed: self._show_groups())
        follow_section(ui.promptsButton)
        follow_section(ui.modelButton)
        ui.modelButton.connect("contentsCollapsed(bool)", lambda collapsed: self._show_thumbnail())
        ui.promptsTable.connect("itemSelectionChanged()", self._enable_table_buttons)
        ui.promptsTable.connect("cellDoubleClicked(int,int)", lambda row, column: self._jump())
        ui.jumpButton.connect("clicked()", self._jump)
        ui.deleteButton.connect("clicked()", self._remove)
        ui.modelComboBox.connect("activated(int)", lambda index: self._choose_model())
        ui.deviceComboBox.connect("activated(int)", lambda index: self._choose_model())

    def _fill_models(self) -> None:
        ui, service = self.ui, self._service
        combo_boxes.fill(ui.modelComboBox, models.model_names(service.choice.model), service.choice.model)
        devices = models.device_names(service.choice.device, is_ready=service.state.is_ready)
        combo_boxes.fill(ui.deviceComboBox, devices, service.choice.device)

    def _choose_model(self) -> None:
        model, device = (
            combo_boxes.current_value(self.ui.modelComboBox),
            combo_boxes.current_value(self.ui.deviceComboBox),
        )
        self._service.choose(ModelChoice(model, device, self._service.choice.cache_mib))
        self._calls["model"]()

    def _chosen(self) -> list[PromptGroup]:
        rows = sorted({index.row() for index in self.ui.promptsTable.selectionModel().selectedRows()})
        return [self._groups[row] for row in rows if row < len(self._groups)]

    def _jump(self) -> None:
        for group in self._chosen()[:1]:
            self._calls["jump"](group)

    def _remove(self) -> None:
        for group in self._chosen():
            self._calls["remove"](group)
