"""Small read-only tables, as high as their rows."""

from __future__ import annotations

from collections.abc import Sequence

import qt

_MOST_ROWS_PX = 320


def set_columns(table: qt.QTableWidget, titles: Sequence[str], stretched: int) -> None:
    """Set the columns; one of them is stretched.

    Args:
        table: the QTableWidget.
        titles: of all columns.
        stretched: number of the column that takes the remaining width, from 0.
    """
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(list(titles))
    header = table.horizontalHeader()
    for column in range(len(titles)):
        mode = qt.QHeaderView.Stretch if column == stretched else qt.QHeaderView.ResizeToContents
        header.setSectionResizeMode(column, mode)
    header.setDefaultAlignment(qt.Qt.AlignLeft | qt.Qt.AlignVCenter)
    header.highlightSections = False
    table.verticalHeader().visible = False
    table.wordWrap = True


def fill(table: qt.QTableWidget, rows: Sequence[Sequence[str]]) -> None:
    """Show rows of texts; keeps the selected row number, and sets the height of the table."""
    table.setRowCount(len(rows))
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            item = table.item(number, column)
            if item is None:
                item = qt.QTableWidgetItem()
                table.setItem(number, column, item)
            item.setText(text)
            item.setToolTip(text)
    fit(table)


def fit(table: qt.QTableWidget) -> None:
    """Set the height of a table to that of its rows, at most `_MOST_ROWS_PX`."""
    table.resizeRowsToContents()
    rows = sum(table.rowHeight(number) for number in range(table.rowCount))
    table.setFixedHeight(min(rows, _MOST_ROWS_PX) + table.horizontalHeader().height + 2 * table.frameWidth)
