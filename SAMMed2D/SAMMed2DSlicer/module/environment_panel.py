"""The environment panel: checks PyTorch, packages, devices, memory and weights."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.module.background_job import BackgroundJob, ProgressReport
from SAMMed2DSlicer.setup import pytorch
from SAMMed2DSlicer.widgets import messages, tables
from SAMMed2DSlicer.widgets.busy_bar import BusyBar
from SAMMed2DSlicer.widgets.window_status import WindowProgress, WindowStatus

if TYPE_CHECKING:
    from SAMMed2DLib.doctor import Finding

_LEVELS = {"OK": messages.GOOD, "WARN": messages.WARNING, "FAIL": messages.ERROR}


class EnvironmentPanel:
    """Shows what is installed, what is broken, and what to do about it."""

    def __init__(self, widget: Any, on_install: Callable[[], None]) -> None:
        """Connect the widgets.

        Args:
            widget: of Environment.ui.
            on_install: installs PyTorch.
        """
        self.widget = widget
        self.ui = slicer.util.childWidgetVariables(widget)
        self.background = BackgroundJob()
        tables.set_columns(self.ui.findingsTable, ["", _("What"), _("State")], stretched=2)
        self._busy, self._window_status = BusyBar(self.ui.checkProgress), WindowStatus()
        self.ui.findingsTable.visible = False
        self.ui.checkButton.connect("clicked()", self.check)
        self.ui.torchButton.connect("clicked()", on_install)

    def enter(self, node: Any) -> None:
        """Show the state of PyTorch; the parameter node is not used."""
        self.refresh()

    def exit(self) -> None:
        """Do nothing: nothing is observed."""

    def forget(self) -> None:
        """Do nothing: nothing here refers to the scene."""

    def cleanup(self) -> None:
        """Stop timers and threads."""
        self._busy.stop()
        self._window_status.close()
        self.background.stop()

    def refresh(self) -> None:
        """Show whether PyTorch is installed."""
        state = pytorch.torch_state()
        version = _("PyTorch {version} is installed.").format(version=state.version)
        is_quiet = state.is_ready or state.name == "missing"  # the built-in model does without
        messages.show(self.ui.torchLabel, state.text or version, messages.INFO if is_quiet else messages.WARNING)
        self.ui.torchButton.enabled = not state.is_ready
        self.ui.torchButton.text = _("Repair PyTorch...") if state.name == "broken" else _("Install PyTorch...")
        self.ui.torchButton.toolTip = (
            _("PyTorch is there. To replace it, uninstall it in the module PyTorch Utils first.")
            if state.is_ready
            else _(
                "The built-in model runs on NumPy without it. The published models and graphics cards need PyTorch: "
                "Slicer's extension PyTorch installs what fits this computer, after asking."
            )
        )

    def check(self) -> None:
        """Run all checks, in the background."""
        if self.background.is_running:
            return
        self.ui.checkButton.enabled = False
        self._busy.start()
        self._window_status.show(_("Checking the installation..."), WindowProgress())
        self.background.start(_examine, self.show, self._failed)

    def show(self, findings: Sequence[Finding]) -> None:
        """Show the findings in the table."""
        self._end()
        table = self.ui.findingsTable
        rows = [(finding.level, finding.subject, _state_of(finding)) for finding in findings]
        table.visible = True
        tables.fill(table, rows)
        for number, finding in enumerate(findings):
            color = messages.color_on(table, _LEVELS[finding.level])
            table.item(number, 0).setForeground(qt.QBrush(qt.QColor(color)))
        self.refresh()

    def _failed(self, error: BaseException) -> None:
        self._end()
        messages.show_error(self.ui.torchLabel, error)

    def _end(self) -> None:
        self.ui.checkButton.enabled = True
        self._busy.stop()
        self._window_status.close()


def _state_of(finding: Finding) -> str:
    return finding.state if not finding.advice else f"{finding.state}\n\N{RIGHTWARDS ARROW} {finding.advice}"


def _examine(report: ProgressReport, should_stop: Callable[[], bool]) -> list[Finding]:
    """All findings, in a thread; ends early if it is to stop."""
    from SAMMed2DLib.doctor import examine

    found = []
    for finding in examine(remedies=_remedies()):
        found.append(finding)
        if should_stop():
            break
    return found


def _remedies() -> Any:
    """Advice for problems, where Python is part of Slicer."""
    from SAMMed2DLib.doctor import Remedies

    in_console = _("in Slicer's Python console: {command}")
    return Remedies(
        python=shutil.which("PythonSlicer") or sys.executable,  # in the desktop, sys.executable is Slicer itself
        install=in_console.format(command="slicer.util.pip_install('{package}')"),
        reinstall=in_console.format(command="slicer.util.pip_install('--force-reinstall {package}')"),
        uninstall=in_console.format(command="slicer.util.pip_uninstall('{package}')"),
        torch=_("install PyTorch with the button above; restart Slicer first if it is in use"),
        download=_("select {model} under Manage models, and press Download"),
        program=_("install the extension SAMMed2D again"),
    )
