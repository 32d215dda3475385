"""The command `sammed2d models`: which weights there are, and getting, adding and removing them."""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from ..catalogue import (
    CATALOGUE,
    CatalogueError,
    added_models,
    added_path,
    find,
    install,
    is_installed,
    models_dir,
    path_of,
    remove,
)
from ..checkpoints import convert_to_lean, read_checkpoint
from ..files import stem_of
from ..memory import in_gib


class ModelNameError(ValueError):
    """A name that no added model can have, or has; the message says which."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d models`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, parser_class=type(parser))
    listing = actions.add_parser("list", help="known and added models, and which are installed")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(run=list_models)
    download = actions.add_parser("download", help="download a known model; goes on where it was broken off")
    download.add_argument("name", metavar="NAME")
    download.add_argument("--progress", action="store_true", help="show progress also where stderr is no terminal")
    download.set_defaults(run=download_model)
    add = actions.add_parser("add", help="add a file that you have: SAM, FT-SAM, SAM-Med2D or our own")
    add.add_argument("name", metavar="NAME", help="a known model's name, or a new one")
    add.add_argument("file", metavar="FILE", type=Path)
    add.add_argument("--half", action="store_true", help="keep the weights in 16 bits: half the size")
    add.set_defaults(run=add_model)
    remove = actions.add_parser("remove", help="remove a downloaded or added model")
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(run=remove_model)


def list_models(args: argparse.Namespace) -> None:
    """Print the known and the added models."""
    models = [_known(name) for name in CATALOGUE] + [_added(path) for path in added_models()]
    if args.json:
        print(json.dumps(models, indent=2))
        return
    for model in models:
        state = "installed" if model["installed"] else f"not installed: sammed2d models download {model['name']}"
        size = f", {in_gib(model['size_bytes'])}" if model["size_bytes"] else ""
        print(f"{model['name']}: {model['title']} ({state}{size})")
        licences = [f"{key.replace('_', ' ')}: {model[key]}" for key in ("weights_licence", "data_licence")]
        for text in [model["what"], *(text for text in licences if not text.endswith(": "))]:
            print(textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="        "))
    print(f"Downloaded and added models are kept in {models_dir()}")


def download_model(args: argparse.Namespace) -> None:
    """Download a model; its licences are said first."""
    entry = find(args.name)
    if is_installed(entry):
        print(f"{entry.name} is installed: {path_of(entry)}")
        return
    print(f"weights licence: {entry.weights_licence}\ndata licence: {entry.data_licence}", file=sys.stderr)
    shown = args.progress or sys.stderr.isatty()
    try:
        path = install(entry, progress=_show if shown else None)
    except KeyboardInterrupt:
        print("\nwhat has arrived is kept; the same command goes on from there", file=sys.stderr)
        raise
    finally:
        if shown:
            print(file=sys.stderr)
    print(f"{entry.name} is installed: {path} ({in_gib(path.stat().st_size)})")


def add_model(args: argparse.Namespace) -> None:
    """Keep the weights of a file under a name, after a look whether they fit a network."""
    from ..predictor import load_predictor

    entry = CATALOGUE.get(args.name)
    if not re.fullmatch(r"[\w+-][\w.+-]*", args.name):
        raise ModelNameError(f"{args.name!r} is no name for a model; use letters, digits, '-', '_', '+' and '.'")
    target = path_of(entry) if entry else added_path(args.name)
    if target.exists() or (entry and entry.embedded):
        raise ModelNameError(f"there is a model {args.name!r} already; remove it first, or choose another name")
    checkpoint = read_checkpoint(args.file)
    load_predictor(args.file, device="cpu", precision="float32")  # its error says what does not fit
    licences = {"weights_licence": entry.weights_licence, "data_licence": entry.data_licence} if entry else {}
    target.parent.mkdir(parents=True, exist_ok=True)
    dtype = "float16" if args.half else None
    convert_to_lean(args.file, target, checkpoint.config, licences, dtype=dtype)
    print(f"{args.name} is added: {target} ({in_gib(target.stat().st_size)})")


def remove_model(args: argparse.Namespace) -> None:
    """Remove a model from the folder of the models, and what broken downloads of it left."""
    entry, added = CATALOGUE.get(args.name), added_path(args.name)
    if entry is None and added not in added_models():
        names = ", ".join(stem_of(one) for one in added_models()) or "none"
        raise CatalogueError(f"there is no model {args.name!r} to remove; added models: {names}")
    size = sum(path.stat().st_size for path in ([path_of(entry)] if entry else [added]) if path.is_file())
    if entry is None:
        added.unlink()
    elif not remove(entry):
        raise CatalogueError(f"{args.name!r} is not installed, so there is nothing to remove")
    print(f"{args.name} is removed ({in_gib(size)} freed)")


def _known(name: str) -> dict[str, Any]:
    entry = CATALOGUE[name]
    installed = is_installed(entry)
    return {
        "name": name,
        "title": entry.title,
        "what": entry.what,
        "installed": installed,
        "path": str(path_of(entry)) if installed else None,
        "size_bytes": path_of(entry).stat().st_size if installed else entry.size_bytes,
        "weights_licence": entry.weights_licence,
        "data_licence": entry.data_licence,
    }


def _added(path: Path) -> dict[str, Any]:
    return {
        "name": stem_of(path),
        "title": "added by you",
        "what": str(path),
        "installed": True,
        "path": str(path),
        "size_bytes": path.stat().st_size,
        "weights_licence": "",
        "data_licence": "",
    }


def _show(arrived: int, total: int | None) -> None:
    of = f" of {in_gib(total)} ({100 * arrived // total} %)" if total else ""
    print(f"\rdownloading: {in_gib(arrived)}{of}   ", end="", file=sys.stderr, flush=True)
