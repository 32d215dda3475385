"""Writing by ITK: what it makes of a full disk is told as a full disk."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.cli.common.errors import message_of
from SAMMed2DLib.io.itk_io import write_image


@pytest.mark.parametrize(
    ("free", "code", "words"),
    [(0, errno.ENOSPC, "No space left on device; free some"), (1 << 30, errno.EIO, "Input/output error")],
)
def test_an_image_that_cannot_be_written_is_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, code: int, words: str
) -> None:
    def fail(*rest: object, **more: object) -> None:
        raise RuntimeError("Exception thrown in SimpleITK ImageFileWriter_Execute: fwrite wrote only 61149 things")

    monkeypatch.setattr(SimpleITK, "WriteImage", fail)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(OSError) as raised:
        write_image(SimpleITK.GetImageFromArray(np.zeros((2, 2), np.uint8)), tmp_path / "a.png")
    assert raised.value.errno == code
    assert message_of(raised.value).startswith(f"{tmp_path}: {words}")
