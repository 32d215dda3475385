"""Takes back the prompts that were given last, one by one, as long as they were not accepted."""

from __future__ import annotations

from slicer.i18n import tr as _

from SAMMed2DSlicer.effect.updater import EffectUpdater
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.scene.slice_views import renders_once
from SAMMed2DSlicer.widgets.messages import WARNING


class PromptUndo:
    """Knows in which order prompts were given to which group."""

    def __init__(self, updater: EffectUpdater) -> None:
        """Begin without prompts; `updater` has the groups."""
        self._updater = updater
        self._given: list[PromptGroup] = []

    def note(self, group: PromptGroup) -> None:
        """Note that a group has got a prompt."""
        self._given.append(group)

    def takes_key(self, symbol: str) -> bool:
        """Do what a key in a slice view is for, by VTK's symbol of it; tells whether it is for anything."""
        if symbol != "BackSpace":
            return False
        self.remove_last()
        return True

    @renders_once
    def remove_last(self) -> None:
        """Take back the last prompt of the groups that are not accepted.

        Of groups whose prompts came with the scene, the last one counts as the newest.
        """
        still_open = self._updater.groups.still_open(self._updater.begin())
        self._given = [group for group in self._given if any(group is other for other in still_open)]
        if not still_open:
            self._updater.display.notify(_("There is no prompt to take back."), WARNING)
            return
        group = self._given.pop() if self._given else still_open[-1]
        if sum(group.counts()) + len(group.strokes) == 1 or not group.remove_last_prompt():
            self._updater.remove(group)
        self._updater.refresh()
