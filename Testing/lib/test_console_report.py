"""Progress is one line on stderr, where somebody sees it."""

from __future__ import annotations

from argparse import Namespace

from SAMMed2DLib.cli.common.console_report import ProgressLine, progress_line


def test_a_shorter_line_erases_the_longer_one_and_the_block_ends_it(capsys):
    with ProgressLine(Namespace(progress=True)) as line:
        line.show("10 of 10")
        line.show("done")
    assert capsys.readouterr().err == "\r10 of 10\rdone    \n"


def test_nothing_is_written_into_a_log_or_where_nothing_was_done(capsys):
    with progress_line(Namespace(progress=False), "{done} of {total}") as progress:
        progress(1, 2)
    with progress_line(Namespace(progress=True), "{done} of {total}"):
        pass
    assert capsys.readouterr().err == ""
