"""Each .ui file says only what Slicer's loader understands; and the lint that sees to it can fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from slicer_widgets import CUSTOM_WIDGETS, SIGNALS_AND_SLOTS, lineage
from ui_lint import meta_object, problems_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "SAMMed2D" / "Resources" / "UI"
FILES = sorted(path.name for path in FOLDER.glob("*.ui"))


def test_there_are_ui_files() -> None:
    assert FILES != []


@pytest.mark.parametrize("file", FILES)
def test_the_loader_understands_everything_in(file: str) -> None:
    assert problems_of((FOLDER / file).read_text(encoding="utf-8")) == []


GOOD = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0">
 <class>Panel</class>
 <widget class="qMRMLWidget" name="Panel">
  <layout class="QVBoxLayout" name="outer">
   <property name="leftMargin"><number>0</number></property>
   <item>
    <widget class="ctkCollapsibleButton" name="section">
     <property name="text"><string>Model</string></property>
     <property name="collapsed"><bool>true</bool></property>
     <layout class="QFormLayout" name="form">
      <item row="0" column="0" alignment="Qt::AlignRight">
       <widget class="QLabel" name="label">
        <property name="alignment"><set>Qt::AlignRight|Qt::AlignVCenter</set></property>
        <property name="buddy"><cstring>nodes</cstring></property>
       </widget>
      </item>
      <item row="0" column="1">
       <widget class="qMRMLNodeComboBox" name="nodes">
        <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
        <property name="SlicerParameterName" stdset="0"><string>volume</string></property>
       </widget>
      </item>
      <item row="1" column="1">
       <widget class="QComboBox" name="choice">
        <item><property name="text"><string>first</string></property></item>
       </widget>
      </item>
     </layout>
    </widget>
   </item>
   <item>
    <spacer name="space"><property name="orientation"><enum>Qt::Vertical</enum></property></spacer>
   </item>
  </layout>
 </widget>
 <customwidgets>
  <customwidget><class>qMRMLWidget</class><extends>QWidget</extends></customwidget>
  <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends></customwidget>
  <customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends></customwidget>
 </customwidgets>
 <tabstops><tabstop>nodes</tabstop></tabstops>
 <connections>
  <connection>
   <sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>nodes</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot>
  </connection>
  <connection>
   <sender>section</sender><signal>toggled(bool)</signal>
   <receiver>choice</receiver><slot>setEnabled(bool)</slot>
  </connection>
 </connections>
</ui>
"""

# What is wrong: a replacement in the good file, and what the lint says.
WRONG = {
    "no XML": ("</ui>", "", "not XML"),
    "another name than the class": ("<class>Panel<", "<class>Other<", "its widget Panel"),
    "an unknown class": ('class="QLabel"', 'class="QLabbel"', "unknown class, QLabbel"),
    "an unknown class of CTK": ("ctkCollapsibleButton", "ctkColapsibleButton", "unknown class, ctkColapsibleButton"),
    "an unknown layout": ("QFormLayout", "QFromLayout", "unknown layout class"),
    "an unknown property of Qt": ('name="alignment"', 'name="aligment"', "no property aligment"),
    "an unknown property of CTK": ('name="collapsed"', 'name="colapsed"', "no property colapsed"),
    "an unknown property of Slicer": ('name="nodeTypes"', 'name="nodeType"', "no property nodeType"),
    "an unknown property of a spacer": ('name="orientation"', 'name="text"', "no property text"),
    "a property of another layout's time": ('name="leftMargin"', 'name="margin"', "no property margin"),
    "a parameter name that Qt would look for": (' stdset="0"', "", "needs stdset"),
    "a value that is not there": ("|Qt::AlignVCenter", "|Qt::AlignVMiddle", "no value"),
    "a value in the words of Qt 6": ("<set>Qt::AlignRight|", "<set>Qt::AlignmentFlag::AlignRight|", "Qt 5"),
    "an alignment in the words of Qt 6": ('t="Qt::AlignRight', 't="Qt::AlignmentFlag::AlignRight', "Qt 5"),
    "a name twice": ('name="label"', 'name="nodes"', "nodes is there 2 times"),
    "a missing buddy": ("<cstring>nodes", "<cstring>node", "node is referred to"),
    "a missing tab stop": ("<tabstop>nodes", "<tabstop>node", "node is referred to"),
    "an unknown entry": ('<item><property name="text"', '<item><property name="txt"', "no txt"),
    "an undeclared class": ("<class>qMRMLNodeComboBox<", "<class>qMRMLSpinBox<", "qMRMLNodeComboBox is not declared"),
    "an unused class": ("<class>qMRMLNodeComboBox<", "<class>qMRMLSpinBox<", "declared and not used"),
    "another base": ("<extends>QWidget", "<extends>QFrame", "does not extend QFrame"),
    "a missing sender": ("<sender>Panel", "<sender>Panl", "sender, Panl"),
    "a missing receiver": ("<receiver>nodes", "<receiver>node", "receiver, node"),
    "a missing signal": ("mrmlSceneChanged", "sceneChanged", "no sceneChanged"),
    "a missing slot": ("setMRMLScene", "setScene", "no setScene"),
    "a slot that wants more": ("setEnabled(bool)", "resize(int,int)", "does not fit"),
    "an icon file": ("<string>Model</string>", "<iconset>a.png</iconset>", "set icons in code"),
}


def test_the_lint_accepts_what_is_right() -> None:
    assert problems_of(GOOD) == []


@pytest.mark.parametrize("old, new, complaint", WRONG.values(), ids=WRONG)
def test_the_lint_finds(old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    assert complaint in " / ".join(problems_of(GOOD.replace(old, new)))


@pytest.mark.parametrize("name", sorted(CUSTOM_WIDGETS))
def test_every_class_of_the_table_leads_to_one_of_qt(name: str) -> None:
    *_, qt_class = lineage(name)
    assert meta_object(qt_class) is not None
    assert len(set(CUSTOM_WIDGETS[name].properties.split())) == len(CUSTOM_WIDGETS[name].properties.split())


def test_signals_and_slots_are_of_classes_of_the_table() -> None:
    assert set(SIGNALS_AND_SLOTS) <= set(CUSTOM_WIDGETS)
