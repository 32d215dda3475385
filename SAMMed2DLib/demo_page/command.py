"""The command `sammed2d demo`: a page in the browser to try a model on."""

from __future__ import annotations

import argparse
import importlib.util
import socket

from SAMMed2DLib.cli.common.options import Unstated, at_least
from SAMMed2DLib.registry.built_in import BUILT_IN, current_name

DESCRIPTION = """\
Open a page in the browser to try a model on: examples or your own images, clicks and boxes, several segments,
propagation, a 3D view, and files that `sammed2d segment --prompts` and 3D Slicer read. Only this computer can open it,
unless you give --host. Nothing is sent anywhere, and what was opened is gone with the page.

examples:
  sammed2d demo
  sammed2d demo --port 8000 --no-browser
  sammed2d demo --host 0.0.0.0 --visitors 4 --upload-mb 200"""


class PageError(ValueError):
    """The page cannot be opened here; the message says what to do."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d demo`."""
    parser.set_defaults(run=run)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s: this computer alone)")
    parser.add_argument("--port", type=_port, metavar="N", help="the first free one from 7860 on")
    parser.add_argument(
        "--model",
        type=current_name,
        default=Unstated(BUILT_IN),
        metavar="NAME|FILE",
        help="that is asked at first (%(default)s)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (%(default)s)")
    limits = (
        ("--upload-mb", 512, "largest file, MiB"),
        ("--image-mb", 1024, "largest image, unpacked, MiB"),
        ("--visitors", 8, "open pages at a time"),
    )
    for name, default, words in limits:
        parser.add_argument(name, type=at_least(1), default=default, metavar="N", help=f"{words} (%(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def run(args: argparse.Namespace) -> None:
    """Open the page, until Ctrl+C.

    Raises:
        PageError: Gradio is not installed, or the port is taken.
    """
    if importlib.util.find_spec("gradio") is None:
        raise PageError('the page is made by gradio, which is not installed: pip install "sammed2d[demo]"')
    where = f"{args.host}:{args.port or '7860 to 7959'}"
    refusal = f"{where} cannot be listened on: give another --port or --host"
    _check_address(args.host, args.port or 0, refusal)
    from SAMMed2DLib.demo_page.opening import Limits
    from SAMMed2DLib.demo_page.page import build, launch

    limits = Limits(upload_mb=args.upload_mb, image_mb=args.image_mb, visitors=args.visitors)
    demo = build(model=args.model, device=args.device, limits=limits)
    try:
        _, address = launch(demo, host=args.host, port=args.port, inbrowser=not args.no_browser)
    except OSError as error:
        raise PageError(refusal) from error
    print(f"The page is at {address} (Ctrl+C ends it).", flush=True)
    demo.block_thread()


def _port(text: str) -> int:
    """The number of a port."""
    number = at_least(1)(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 65535, not {text!r}")
    return number


def _check_address(host: str, port: int, refusal: str) -> None:
    """Try an address before anything is loaded: Gradio tries a hundred ports of one that is not of this computer.

    Args:
        host: name or address.
        port: 0 for any.
        refusal: what to say.

    Raises:
        PageError: nothing can listen there.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        raise PageError(refusal) from error
