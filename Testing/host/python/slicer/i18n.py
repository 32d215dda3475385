"""Stands for slicer.i18n where Slicer's own file is not at hand. Nothing is translated."""

import slicer


def translate(context, text):
    """The text in the application's language."""
    return slicer.app.translate(context, text)


def tr(text):
    """The text in the application's language.

    Raises:
        TypeError: not a plain string, which lupdate could not collect.
    """
    if not isinstance(text, str):
        raise TypeError(f"tr() takes a string, not {text!r}")
    return translate("", text)
