"""What nnU-Net writes about a data set: names of cases, channels and classes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from SAMMed2DLib.data.curation.cases import CurationError
from SAMMed2DLib.system.files import read_json, stem_of

_CHANNEL = re.compile(r"(.+)_(\d{4})$")


def without_channel(image: Path) -> str:
    """The name of a case from that of an image, NAME of NAME_0000."""
    channel = _CHANNEL.match(stem_of(image))
    return channel[1] if channel else stem_of(image)


def modality_of(image: Path, about: dict[str, Any]) -> str:
    """The modality of an image by its channel; empty if there is only the name of a way to normalise."""
    channels = about.get("channel_names") or about.get("modality") or {}
    number = _CHANNEL.match(stem_of(image))
    name = str(channels.get(str(int(number[2])) if number else "0", "")) if isinstance(channels, dict) else ""
    return "" if name.lower() in ("nonorm", "rescale_to_0_1", "zscore") else name


def classes_of(about: dict[str, Any]) -> dict[int, str]:
    """Names by value: {"1": "liver"} of old, {"liver": 1} of new; regions of several values have no one value."""
    classes: dict[int, str] = {}
    labels = about.get("labels")
    for key, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(value, int):
            classes[value] = str(key)
        elif str(key).isdigit():
            classes[int(key)] = str(value)
    return {value: name for value, name in classes.items() if value != 0}


def read_dataset_json(path: Path) -> dict[str, Any]:
    """Read dataset.json; empty if there is none.

    Raises:
        CurationError: it cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        about = read_json(path)
    except (OSError, ValueError) as error:
        raise CurationError(f"{path} cannot be read ({error}); repair it, or remove it and use --labels") from error
    return about if isinstance(about, dict) else {}
