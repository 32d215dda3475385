"""What a hand does in a view: synthesised events of the render window's interactor.

Positions are device pixels from the view's lower left, as in VTK. ``shift``, ``control`` and ``alt`` hold a modifier.
"""

KEY_CODES = {"Return": "\r", "Escape": "\x1b", "space": " ", "Tab": "\t", "BackSpace": "\b", "Delete": "\x7f"}


class Hands:
    """Mouse and keys for a view; mixed into View."""

    def mouse(self, event, x, y, shift=False, control=False, alt=False, repeat=0):
        """One event of the interactor; the first brings EnterEvent, as the pointer comes in."""
        if not self._inside:
            self._inside = True
            self.mouse("EnterEvent", x, y)
        interactor = self._interactor
        interactor.SetEventInformation(round(x), round(y), int(control), int(shift), "\0", repeat, None)
        interactor.SetAltKey(int(alt))
        interactor.InvokeEvent(event)
        interactor.SetControlKey(0)
        interactor.SetShiftKey(0)
        interactor.SetAltKey(0)

    def hover(self, x, y, **modifiers):
        """Move the pointer here, with no button."""
        self.mouse("MouseMoveEvent", x, y, **modifiers)

    def leave(self):
        """Take the pointer out of the view."""
        if self._inside:
            self.mouse("LeaveEvent", *self._interactor.GetEventPosition())
            self._inside = False

    def press(self, x, y, button="Left", **modifiers):
        """Move here and press a button."""
        self.hover(x, y, **modifiers)
        self.mouse(f"{button}ButtonPressEvent", x, y, **modifiers)

    def release(self, x, y, button="Left", **modifiers):
        """Release a button here."""
        self.mouse(f"{button}ButtonReleaseEvent", x, y, **modifiers)

    def click(self, x, y, button="Left", **modifiers):
        """Press and release in one place."""
        self.press(x, y, button, **modifiers)
        self.release(x, y, button, **modifiers)

    def double_click(self, x, y, button="Left", **modifiers):
        """A click, then a double click, as Qt sends them: press, release, double click, release."""
        self.click(x, y, button, **modifiers)
        self.mouse(f"{button}ButtonDoubleClickEvent", x, y, repeat=1, **modifiers)
        self.release(x, y, button, **modifiers)

    def drag(self, start, end, steps=5, button="Left", **modifiers):
        """Press at the start, move in steps, release at the end."""
        self.press(*start, button, **modifiers)
        self.move(start, end, steps, **modifiers)
        self.release(*end, button, **modifiers)

    def move(self, start, end, steps=5, **modifiers):
        """Move along a line; the buttons stay as they are."""
        for n in range(1, steps + 1):
            self.hover(*[a + (b - a) * n / steps for a, b in zip(start, end, strict=True)], **modifiers)

    def wheel(self, x, y, steps=1, **modifiers):
        """Turn the wheel; positive steps are forward, away from the hand."""
        self.hover(x, y, **modifiers)
        for _ in range(abs(steps)):
            self.mouse("MouseWheelForwardEvent" if steps > 0 else "MouseWheelBackwardEvent", x, y, **modifiers)

    def key(self, symbol, shift=False, control=False, alt=False):
        """Press and release a key in the view, by VTK's symbol: "a", "A" (with shift), "Escape", "Left", "space".

        Shortcuts of the window do not see it: in the desktop they come first (see keys.press).
        """
        symbol = symbol.upper() if shift and len(symbol) == 1 else symbol
        code = symbol if len(symbol) == 1 else KEY_CODES.get(symbol, "\0")
        interactor = self._interactor
        events = ("KeyPressEvent", *(["CharEvent"] if code != "\0" else []), "KeyReleaseEvent")
        for event in events:
            interactor.SetKeyEventInformation(int(control), int(shift), code, 0, symbol)
            interactor.SetAltKey(int(alt))
            interactor.InvokeEvent(event)
        interactor.SetKeyEventInformation(0, 0, "\0", 0, "")
