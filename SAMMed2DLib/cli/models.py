"""The command `sammed2d models`: which weights there are, and getting, adding and removing them."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from SAMMed2DLib.cli.common.console_report import ProgressLine
from SAMMed2DLib.registry.download import DownloadError, DownloadPolicy
from SAMMed2DLib.registry.known_models import find, install, is_installed, models_dir, path_of
from SAMMed2DLib.registry.store import StoredModel, add_model, remove_model, stored_models
from SAMMed2DLib.system.memory import in_gib

POLICY = DownloadPolicy()


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
    adding = actions.add_parser("add", help="add a file that you have: SAM, FT-SAM, SAM-Med2D or our own")
    adding.add_argument("name", metavar="NAME", help="a known model's name, or a new one")
    adding.add_argument("file", metavar="FILE", type=Path)
    adding.add_argument("--half", action="store_true", help="keep the weights in 16 bits: half the size")
    adding.set_defaults(run=add)
    removing = actions.add_parser("remove", help="remove a downloaded or added model")
    removing.add_argument("name", metavar="NAME")
    removing.set_defaults(run=remove)


def list_models(args: argparse.Namespace) -> None:
    """Print the known and the added models."""
    models = [_as_json(model) for model in stored_models()]
    if args.json:
        print(json.dumps(models, indent=2))
        return
    for model in models:
        state = "installed" if model["installed"] else f"not installed: sammed2d models download {model['name']}"
        size = f", {in_gib(model['size_bytes'])}" if model["size_bytes"] else ""
        print(f"{model['name']}: {model['title']} ({state}{size})")
        for address in model["sources"]:
            print(f"    from {address}")
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
    print(f"connecting to {urlsplit(entry.sources[0]).hostname} …", file=sys.stderr, flush=True)
    try:
        with ProgressLine(args) as line:
            path = install(entry, progress=_progress(line), policy=replace(POLICY, on_retry=_say_again))
    except KeyboardInterrupt:
        print("\nwhat has arrived is kept; the same command goes on from there", file=sys.stderr)
        raise
    except DownloadError as error:
        addresses = " or ".join(entry.sources)
        advice = f"The file is at {addresses}; once you have it: sammed2d models add {entry.name} FILE"
        raise DownloadError(f"{error} {advice}") from error
    print(f"{entry.name} is installed: {path} ({in_gib(path.stat().st_size)})")


def add(args: argparse.Namespace) -> None:
    """Keep the weights of a file under a name."""
    model = add_model(args.name, args.file, half=args.half)
    print(f"{model.name} is added: {model.path} ({in_gib(model.size_bytes or 0)})")


def remove(args: argparse.Namespace) -> None:
    """Remove a model from the folder of the models, and what broken downloads of it left."""
    print(f"{args.name} is removed ({in_gib(remove_model(args.name))} freed)")


def _as_json(model: StoredModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "title": model.title,
        "what": model.what,
        "installed": model.is_installed,
        "path": str(model.path) if model.path else None,
        "size_bytes": model.size_bytes,
        "sources": list(model.entry.sources) if model.entry else [],
        "weights_licence": model.weights_licence,
        "data_licence": model.data_licence,
    }


def _say_again(number: int, count: int) -> None:
    print(f"trying again, {number} of at most {count} times …", file=sys.stderr, flush=True)


def _progress(line: ProgressLine) -> Callable[[int, int | None], None]:
    def show(arrived: int, total: int | None) -> None:
        of = f" of {in_gib(total)} ({100 * arrived // total} %)" if total else ""
        line.show(f"downloading: {in_gib(arrived)}{of}")

    return show
