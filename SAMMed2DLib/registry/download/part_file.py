"""A file that has partly arrived, and what is needed to go on with it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass
class PartFile:
    """The bytes so far, beside the final file, and a note of the version they belong to.

    Attributes:
        path: `<target>.<short hash of the source>.part`.
        version: the server's mark of the version, a strong ETag, for If-Range.
        total: the whole file's size, where the server said it.
        sha256: the whole file's checksum, where the server said it.
        is_joined: whether the bytes are from several answers.
    """

    path: Path
    version: str | None = None
    total: int | None = None
    sha256: str | None = None
    is_joined: bool = False

    @classmethod
    def beside(cls, target: Path, source: str) -> PartFile:
        """Find what an earlier attempt at this source left. Sources do not share: their files may differ."""
        short = hashlib.sha256(source.encode()).hexdigest()[:8]
        part = cls(target.with_name(f"{target.name}.{short}.part"))
        try:
            note = json.loads(part._note.read_text(encoding="utf-8"))
            part.begin(note["version"], note["total"], note["sha256"], is_joined=note["is_joined"])
        except (OSError, ValueError, KeyError, TypeError):
            part.discard()  # without its note, nobody knows what the bytes belong to
        return part

    @property
    def _note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, version: str | None, total: int | None, sha256: str | None, is_joined: bool = False) -> None:
        """Note which version the bytes belong to, before the first of them arrives.

        Args:
            version: the server's mark of the file's version; None if it gives none.
            total: size of the whole file in bytes; None if it is not told.
            sha256: checksum that the server gives, in hex; None if it gives none.
            is_joined: bytes of an earlier answer come before these.
        """
        self.version, self.total, self.sha256, self.is_joined = version, total, sha256, is_joined
        note = {"version": version, "total": total, "sha256": sha256, "is_joined": is_joined}
        self._note.write_text(json.dumps(note), encoding="utf-8")

    def join(self) -> None:
        """Note that further bytes come from another answer, before the first of them arrives."""
        self.begin(self.version, self.total, self.sha256, is_joined=True)

    def open(self) -> BinaryIO:
        """Open to write on from the end."""
        return self.path.open("ab")

    def head(self, count: int) -> bytes:
        """The first bytes."""
        with self.path.open("rb") as file:
            return file.read(count)

    def discard(self) -> None:
        """Remove the bytes and the note."""
        self.version = self.total = self.sha256 = None
        self.is_joined = False
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def rename(self, target: Path) -> None:
        """Give the complete file its final name, once its bytes are on the disk."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.path, target)
        self._note.unlink(missing_ok=True)
