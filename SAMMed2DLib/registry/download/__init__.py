"""Download a large file over connections that break: resumed, verified, and never half under its final name."""

from SAMMed2DLib.registry.download.transfer import (
    ChecksumError,
    DownloadCancelled,
    Downloaded,
    DownloadError,
    DownloadPolicy,
    NoConnectionError,
    Progress,
    download,
    exclusive,
)

__all__ = [
    "ChecksumError",
    "DownloadCancelled",
    "DownloadError",
    "DownloadPolicy",
    "Downloaded",
    "NoConnectionError",
    "Progress",
    "download",
    "exclusive",
]
