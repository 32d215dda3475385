"""The command `sammed2d export`: a model as files that other programs read."""

from __future__ import annotations

import argparse
from pathlib import Path

from SAMMed2DLib.cli.common.options import output_folder
from SAMMed2DLib.export.networks import load_network
from SAMMed2DLib.export.onnx_files import INSTALL, OnnxOptions, check_installed, frame_px, write_onnx
from SAMMed2DLib.export.published import write_published
from SAMMed2DLib.registry.built_in import BUILT_IN
from SAMMed2DLib.system.memory import in_gib

DESCRIPTION = """\
Write a model as files that other programs read. docs/export.md says which program reads which, and what goes in and
comes out.

examples:
  sammed2d export onnx --model sam-med2d_b -o exported
  sammed2d export onnx --with-preprocessing -o exported
  sammed2d export onnx --x-anylabeling -o exported
  sammed2d export published fine-tuned.pth --model runs/liver/best.pt"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d export`."""
    kinds = parser.add_subparsers(metavar="KIND", required=True, parser_class=type(parser))
    onnx = kinds.add_parser("onnx", help=f"NAME.encoder.onnx and NAME.decoder.onnx; needs {INSTALL}")
    _add_model(onnx)
    onnx.add_argument("-o", "--output", required=True, type=output_folder, metavar="DIR", help="folder of the files")
    text = "the encoder takes 8-bit colour images (H, W, 3) of any size"
    onnx.add_argument("--with-preprocessing", action="store_true", help=text)
    text = "the encoder computes in 8-bit integers: NAME.encoder.quant.onnx, smaller and a little less exact"
    onnx.add_argument("--quantize", action="store_true", help=text)
    text = "the decoder returns all three masks instead of the best one"
    onnx.add_argument("--multimask", action="store_true", help=text)
    text = "for X-AnyLabeling: embeddings of the shape that it expects, and the YAML file that it loads"
    onnx.add_argument("--x-anylabeling", action="store_true", help=text)
    onnx.set_defaults(run=export_onnx)
    published = kinds.add_parser("published", help="a checkpoint for the original code, and ISAT")
    published.add_argument("file", metavar="FILE.pth", type=Path)
    _add_model(published)
    published.set_defaults(run=export_published)


def export_onnx(args: argparse.Namespace) -> None:
    """Write the ONNX files of a model."""
    options = OnnxOptions(args.with_preprocessing, args.quantize, args.multimask, args.x_anylabeling)
    check_installed()
    network = load_network(args.model)
    files = write_onnx(network.model, network.config, network.name, args.output, options, network.facts)
    for file in files:
        size = f" ({in_gib(file.stat().st_size)})" if file.suffix == ".onnx" else ""
        print(f"{file} written{size}")
    side = frame_px(network.config, options)
    print(
        f"Points and boxes are counted in px of the image stretched to {side} x {side}; docs/export.md has an example."
    )


def export_published(args: argparse.Namespace) -> None:
    """Write a checkpoint in the published layout."""
    variant = write_published(load_network(args.model), args.file)
    print(f"{args.file} written: {variant} ({in_gib(args.file.stat().st_size)})")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default=BUILT_IN, metavar="NAME|FILE", help="weights (%(default)s)")
