"""Connections that end by themselves: when an answer takes too long, stands still, or says too much before the file.

A timeout of a socket is that of one read, so that a server which sends a byte now and then holds a call for ever:
in its headers, in answers that only announce another one, in the framing of chunks. Here every byte of an answer
passes a meter, whatever it belongs to.
"""

from __future__ import annotations

import io
import socket
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import requests

_LEAST_WAIT_S = 0.001  # 0 would make the socket non-blocking
# What may come beside a file and as much as it: sizes of chunks, trailers, and what was received and not yet taken.
_BESIDE_FILE_BYTES = 4 << 20


class Meter:
    """Bounds the time and the bytes of what a server sends.

    Attributes:
        fault: why the connection was ended, in words that complete "the server ..."; None if it was not.
        is_final: whether another attempt is of no use.
    """

    def __init__(self) -> None:
        """Bound nothing yet."""
        self.fault: str | None = None
        self.is_final = False
        self._deadline = float("inf")
        self._bytes_left = float("inf")
        self._stall_s: float | None = None
        self._stall_bytes = self._moved_bytes = 0

    def expect_answer(self, seconds: float) -> None:
        """Give the server so long, from now, until its answer begins to bring the file."""
        self.fault, self.is_final = None, False
        self._deadline, self._stall_s = time.monotonic() + seconds, None

    def allow(self, most_bytes: int) -> None:
        """Allow so many bytes from now on."""
        self._bytes_left = most_bytes

    def expect_file(self, stall_s: float, stall_bytes: int) -> None:
        """From now on, end the connection where `stall_s` pass with fewer than `stall_bytes` of the file.

        It also ends where far more comes beside the file, as trailers without end do.
        """
        self._bytes_left = _BESIDE_FILE_BYTES
        self._stall_s, self._stall_bytes, self._moved_bytes = stall_s, stall_bytes, 0
        self._deadline = time.monotonic() + stall_s

    def moved(self, count: int) -> None:
        """Note that so many bytes of the file arrived."""
        self._moved_bytes += count
        self._bytes_left += 2 * count
        if self._stall_s is not None and self._moved_bytes >= self._stall_bytes:
            self._deadline, self._moved_bytes = time.monotonic() + self._stall_s, 0

    def wait_s(self) -> float:
        """How long the next read may take, seconds.

        Raises:
            TimeoutError: the time is over.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            self.end_late()
        return max(left, _LEAST_WAIT_S)

    def end_late(self) -> None:
        """Note that time is over.

        Raises:
            TimeoutError: always.
        """
        self.fault = "took too long to answer" if self._stall_s is None else "stalled"
        raise TimeoutError(self.fault)

    def count(self, read_bytes: int) -> None:
        """Note that so many bytes of anything arrived.

        Raises:
            ConnectionError: they are too many.
        """
        self._bytes_left -= read_bytes
        if self._bytes_left < 0:
            self.fault, self.is_final = "answers without end", True
            raise ConnectionError(self.fault)


class _MeteredStream(io.RawIOBase):
    """What a socket receives, past a meter."""

    def __init__(self, sock: socket.socket, meter: Meter) -> None:
        self._sock = sock
        self._meter = meter
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._meter.wait_s())
        try:
            count = self._raw.readinto(buffer)
        except TimeoutError:
            self._meter.end_late()
            raise
        self._meter.count(count or 0)
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Receiver:
    """Stands for a socket where the standard library asks it for a file to read the answer from."""

    def __init__(self, sock: socket.socket, meter: Meter) -> None:
        self._sock = sock
        self._meter = meter

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_MeteredStream(self._sock, self._meter))


def metered_session(meter: Meter) -> requests.Session:
    """Open a session of which every answer passes the meter; it follows no redirect by itself."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

    class Response(HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(cast("socket.socket", _Receiver(sock, meter)), *args, **kwargs)

    pools = {}
    for scheme, pool in (("http", HTTPConnectionPool), ("https", HTTPSConnectionPool)):
        connection = type("Connection", (pool.ConnectionCls,), {"response_class": Response})
        pools[scheme] = type("Pool", (pool,), {"ConnectionCls": connection})

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, **kwargs)
            manager.pool_classes_by_scheme = pools
            return manager

    session = requests.Session()
    for prefix in ("http://", "https://"):
        session.mount(prefix, Adapter())
    return session
