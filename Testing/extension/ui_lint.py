"""Finds in a .ui file what Slicer's loader would pass over without a word.

The loader ignores unknown properties and connections, and replaces unknown classes by plain widgets or nothing. Files
have to be right for Qt 5 and Qt 6. Qt's own classes are asked by their meta-objects, those of Slicer and CTK by the
table in `slicer_widgets.py`.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import QMetaObject, QMetaProperty
from slicer_widgets import CUSTOM_WIDGETS, DYNAMIC_PROPERTIES, SIGNALS_AND_SLOTS, lineage

# What a .ui file says of things that have no class of their own, or more than their class says.
LAYOUT_EXTRAS = {"leftMargin", "topMargin", "rightMargin", "bottomMargin", "horizontalSpacing", "verticalSpacing"}
CLASS_EXTRAS = {"Line": {"orientation"}, "QLabel": {"buddy"}}
SPACER_PROPERTIES = {"orientation", "sizeHint", "sizeType"}
ITEM_PROPERTIES = {"text", "toolTip", "statusTip", "whatsThis", "checkState", "textAlignment", "flags"}
PAGE_ATTRIBUTES = {"title", "label", "toolTip", "whatsThis", "buttonGroup"}
HEADER_ATTRIBUTES = ("horizontalHeader", "verticalHeader", "header")
SHORT_ENUM = re.compile(r"\w+::\w+(\|\w+::\w+)*")


@dataclass
class Lint:
    """One pass over one file; the problems gather in `problems`."""

    root: ElementTree.Element
    problems: list[str] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)

    def run(self) -> list[str]:
        """Check everything, once."""
        self.check_root()
        self.check_names()
        for element in self.root.iter():
            self.check_element(element)
        self.check_custom_widgets()
        self.check_references()
        for connection in self.root.iterfind("connections/connection"):
            self.check_connection(connection)
        return self.problems

    def check_root(self) -> None:
        """One top widget, which carries the name of the file's class."""
        tops = self.root.findall("widget")
        if self.root.tag != "ui" or len(tops) != 1:
            self.problems.append("not a .ui file with one top widget")
        elif self.root.findtext("class") != tops[0].get("name"):
            self.problems.append(f"the class is {self.root.findtext('class')}, its widget {tops[0].get('name')}")

    def check_names(self) -> None:
        """Every object has a name of its own, because code finds it by that."""
        elements = [e for e in self.root.iter() if e.tag in ("widget", "layout", "spacer", "action", "buttongroup")]
        names = [str(e.get("name")) for e in elements]
        self.classes = {str(e.get("name")): class_of(e) for e in elements}
        self.problems += [f"{name} is there {n} times" for name, n in Counter(names).items() if n > 1]

    def check_element(self, element: ElementTree.Element) -> None:
        """The class, properties and attributes of one object."""
        name = element.get("name", element.tag)
        if element.tag in ("widget", "layout", "spacer", "action", "buttongroup"):
            self.check_class(element)
            for prop in element.iterfind("property"):
                self.check_property(name, class_of(element), prop)
            for attribute in element.iterfind("attribute"):
                self.check_attribute(name, str(attribute.get("name")))
            if element.tag == "widget":
                self.check_items(element)
        if element.tag == "item":
            self.check_enum_form("an item", element.get("alignment", ""))
        if element.tag == "iconset":
            self.problems.append("an icon: its path is taken from wherever Slicer runs, so set icons in code")

    def check_class(self, element: ElementTree.Element) -> None:
        """The class exists."""
        name = class_of(element)
        if element.tag == "widget" and name not in CUSTOM_WIDGETS and meta_object(name) is None:
            self.problems.append(f"{element.get('name')} is of an unknown class, {name}")
        if element.tag == "layout" and meta_object(name) is None:
            self.problems.append(f"{element.get('name')} is of an unknown layout class, {name}")

    def check_property(self, owner: str, owner_class: str, prop: ElementTree.Element) -> None:
        """The property exists, and an enumerator of it too."""
        name = str(prop.get("name"))
        if name in DYNAMIC_PROPERTIES:
            if prop.get("stdset") != "0":
                self.problems.append(f'{owner}.{name} is dynamic: it needs stdset="0"')
            return
        if not has_property(owner_class, name):
            self.problems.append(f"{owner}: {owner_class} has no property {name} that can be set")
            return
        for value in (*prop.iterfind("enum"), *prop.iterfind("set")):
            self.check_enum_form(f"{owner}.{name}", value.text or "")
            found = qt_property(owner_class, name)
            if found is not None and not has_enumerators(found, value.text or ""):
                self.problems.append(f"{owner}.{name} has no value {value.text}")

    def check_enum_form(self, where: str, value: str) -> None:
        """`Qt::AlignLeft`, which both Qt read, not `Qt::AlignmentFlag::AlignLeft`, which Qt 5 does not."""
        if value and not SHORT_ENUM.fullmatch(value):
            self.problems.append(f"{where}: Qt 5 does not read {value}")

    def check_attribute(self, owner: str, name: str) -> None:
        """Attributes of pages, of button groups and of headers of item views."""
        if name not in PAGE_ATTRIBUTES and not name.startswith(HEADER_ATTRIBUTES):
            self.problems.append(f"{owner}: unknown attribute {name}")

    def check_items(self, widget: ElementTree.Element) -> None:
        """The entries of lists, combo boxes, trees and tables."""
        for entry in (*widget.iterfind("item"), *widget.iterfind("column"), *widget.iterfind("row")):
            names = {str(prop.get("name")) for prop in entry.iterfind("property")}
            self.problems += [f"{widget.get('name')}: an entry has no {n}" for n in sorted(names - ITEM_PROPERTIES)]

    def check_custom_widgets(self) -> None:
        """Classes that Qt does not know are declared, with the base that they have."""
        declared = {str(c.findtext("class")): c for c in self.root.iterfind("customwidgets/customwidget")}
        used = {class_of(e) for e in self.root.iter("widget")} & CUSTOM_WIDGETS.keys()
        self.problems += [f"{name} is not declared as a custom widget" for name in sorted(used - declared.keys())]
        self.problems += [f"{name} is declared and not used" for name in sorted(declared.keys() - used)]
        for name in used & declared.keys():
            base = declared[name].findtext("extends")
            if base not in ancestors(name):
                self.problems.append(f"{name} does not extend {base}")

    def check_references(self) -> None:
        """Tab stops, buddies and button groups are objects of this file."""
        names = [stop.text for stop in self.root.iterfind("tabstops/tabstop")]
        names += [p.findtext("cstring") for p in self.root.iter("property") if p.get("name") == "buddy"]
        names += [a.findtext("string") for a in self.root.iter("attribute") if a.get("name") == "buttonGroup"]
        names += [str(action.get("name")) for action in self.root.iter("addaction")]
        missing = [name for name in names if name not in self.classes and name != "separator"]
        self.problems += [f"{name} is referred to, and not there" for name in missing]

    def check_connection(self, connection: ElementTree.Element) -> None:
        """Both ends exist, and the signal and the slot on them, with arguments that fit."""
        signal, slot = connection.findtext("signal", ""), connection.findtext("slot", "")
        for end, signature in (("sender", signal), ("receiver", slot)):
            name = connection.findtext(end, "")
            if name not in self.classes:
                self.problems.append(f"a connection's {end}, {name}, is not there")
            elif not has_method(self.classes[name], signature, is_signal=end == "sender"):
                self.problems.append(f"{name}: {self.classes[name]} has no {signature}")
        if not arguments_of(signal).startswith(arguments_of(slot)):
            self.problems.append(f"{signal} does not fit {slot}")


def problems_of(text: str) -> list[str]:
    """What is wrong with the text of a .ui file; empty if it is right."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        return [f"not XML: {error}"]
    return Lint(root).run()


def class_of(element: ElementTree.Element) -> str:
    """The class of an object, or a word for things without one."""
    plain = {"spacer": "spacer", "action": "QAction", "buttongroup": "QButtonGroup"}
    return plain.get(element.tag, str(element.get("class")))


def ancestors(name: str) -> Iterator[str]:
    """The bases of a class: those of the table, then those of Qt."""
    *_, qt_class = lineage(name)
    yield from lineage(name)
    meta = meta_object(qt_class)
    while meta is not None:
        yield str(meta.className())
        meta = meta.superClass()


def meta_object(name: str) -> QMetaObject | None:
    """Qt's description of a class of its own, `Line` included."""
    qt_name = "QFrame" if name == "Line" else name
    found = getattr(QtWidgets, qt_name, None) or getattr(QtGui, qt_name, None)
    return getattr(found, "staticMetaObject", None)


def qt_property(class_name: str, name: str) -> QMetaProperty | None:
    """Qt's description of a property of a class or of its base in Qt."""
    *_, qt_class = lineage(class_name)
    meta = meta_object(qt_class)
    index = -1 if meta is None else meta.indexOfProperty(name)
    return meta.property(index) if meta is not None and index >= 0 else None


def has_property(class_name: str, name: str) -> bool:
    """Whether a .ui file can set this property."""
    if class_name == "spacer":
        return name in SPACER_PROPERTIES
    if name in CLASS_EXTRAS.get(class_name, ()):
        return True
    if any(name in CUSTOM_WIDGETS[c].properties.split() for c in lineage(class_name) if c in CUSTOM_WIDGETS):
        return True
    found = qt_property(class_name, name)
    is_layout = class_name.endswith("Layout")
    return (found is not None and found.isWritable()) or (is_layout and name in LAYOUT_EXTRAS)


def has_enumerators(prop: QMetaProperty, value: str) -> bool:
    """Whether all parts of `A::x|A::y` are values of an enumeration or set of Qt's."""
    if not (prop.isEnumType() or prop.isFlagType()):
        return False
    keys = [part.split("::")[-1] for part in value.split("|")]
    return all(prop.enumerator().keyToValue(key)[1] for key in keys)


def has_method(class_name: str, signature: str, is_signal: bool) -> bool:
    """Whether a class has a signal, or a slot, of this signature."""
    plain = normalized(signature)
    if any(plain in map(normalized, SIGNALS_AND_SLOTS.get(c, ())) for c in lineage(class_name)):
        return True
    *_, qt_class = lineage(class_name)
    meta = meta_object(qt_class)
    if meta is None:
        return False
    return (meta.indexOfSignal(plain) if is_signal else meta.indexOfMethod(plain)) >= 0


def normalized(signature: str) -> str:
    """A signature as Qt compares it."""
    return bytes(QMetaObject.normalizedSignature(signature).data()).decode()


def arguments_of(signature: str) -> str:
    """The types between the brackets."""
    return normalized(signature).partition("(")[2].rstrip(")")
