"""The options of the command `sammed2d train`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from SAMMed2DLib.cli.common.options import ROOT_HELP, at_least, number_in, output_folder
from SAMMed2DLib.registry.built_in import BUILT_IN, current_name

NONE = "none"
AUTO = "auto"
_POSITIVE = number_in(math.ulp(0.0), math.inf, "more than 0")

DESCRIPTION = """\
Train on images in the published layout (`sammed2d curate` makes it): the split "train" to learn from, the split
"validation" to choose the best weights by.

examples:
  sammed2d train DATA -o runs/mine                            fine-tune the built-in model, under an hour on a CPU
  sammed2d train DATA -o runs/mine --from sam-med2d_b --device cuda --precision bf16 --epochs 10 --batch 16
  sammed2d train DATA MORE_DATA -o runs/new --from none --sizes small --steps 20000
  torchrun --nproc-per-node 4 -m SAMMed2DLib train DATA -o runs/mine --device cuda

RUN gets best.pt and last.pt (for `sammed2d segment --model`, and for the module in 3D Slicer), checkpoint.pt,
config.json, log.csv, validation.csv and curves.png. Ctrl+C saves a checkpoint and ends with exit code 130; the same
command goes on from there, with the numbers it would have had."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d train`."""
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA", help="folder in the published layout")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help=ROOT_HELP)
    parser.add_argument("-o", "--output", required=True, type=output_folder, metavar="RUN", help="folder of the run")
    _add_model(parser.add_argument_group("what is trained"))
    _add_amount(parser.add_argument_group("how much"))
    _add_recipe(parser.add_argument_group("how"))
    _add_validation(parser.add_argument_group("validation"))
    _add_machine(parser.add_argument_group("where"))


def _add_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--from",
        dest="start",
        type=current_name,
        default=BUILT_IN,
        metavar="NAME|FILE|none",
        help="weights to begin with, none for random ones (%(default)s)",
    )
    group.add_argument("--sizes", choices=("small", "vit_b", "vit_l", "vit_h"), help="of a new model, --from none")
    group.add_argument(
        "--image-size", type=at_least(1), metavar="PX", help="side of the model frame (default: the weights')"
    )
    group.add_argument("--add-adapters", action="store_true", help="give SAM adapters, which begin without effect")
    group.add_argument(
        "--trained",
        choices=(AUTO, "adapters", "decoder", "all"),
        default=AUTO,
        help="adapters: with prompt encoder and decoder; decoder: with prompt encoder; auto: all of a small model, "
        "adapters of one of published size, decoder for a TinyViT such as that of the built-in model",
    )


def _add_amount(group: argparse._ArgumentGroup) -> None:
    length = group.add_mutually_exclusive_group()
    length.add_argument("--steps", type=at_least(1), default=300, metavar="N", help="optimiser steps (%(default)s)")
    length.add_argument(
        "--epochs", type=_POSITIVE, metavar="N", help="how often each image is shown, instead of --steps"
    )
    group.add_argument(
        "--batch", type=at_least(1), default=4, metavar="N", help="images in a pass of a process (%(default)s)"
    )
    group.add_argument("--masks", type=at_least(1), default=5, metavar="N", help="objects of each image (%(default)s)")
    group.add_argument(
        "--accumulate", type=at_least(1), default=1, metavar="N", help="passes before a step (%(default)s)"
    )
    group.add_argument(
        "--rounds", type=at_least(1), default=4, metavar="N", help="most rounds of prompts (%(default)s)"
    )


def _add_recipe(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--as-published", action="store_true", help="the published recipe in all that it does, see docs/training.md"
    )
    group.add_argument("--lr", type=_POSITIVE, metavar="RATE", help="learning rate (default: by model and recipe)")
    group.add_argument(
        "--ema",
        type=number_in(0, 1, "0 or more and less than 1"),
        metavar="DECAY",
        help="of the averaged weights, 0 for none (0.999)",
    )
    group.add_argument(
        "--zoom",
        action=argparse.BooleanOptionalAction,
        help="train for crops around the prompts (default: as the first weights were)",
    )
    group.add_argument(
        "--balance",
        choices=("images", "datasets"),
        default="images",
        help="images: each in turn; datasets: small ones more often (%(default)s)",
    )
    group.add_argument(
        "--synthetic",
        type=number_in(0, math.nextafter(1, 2), "a share from 0 to 1"),
        default=0.0,
        metavar="SHARE",
        help="of synthetic images (%(default)s)",
    )
    group.add_argument("--seed", type=at_least(0), default=0, help="of all random numbers (%(default)s)")


def _add_validation(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--validate-every", type=at_least(1), metavar="N", help="steps (default: a fifth of all)")
    group.add_argument(
        "--most-validation", type=at_least(0), default=20, metavar="N", help="images, 0 for none (%(default)s)"
    )


def _add_machine(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--device", default=AUTO, help="auto, cpu, cuda, cuda:N or mps (%(default)s)")
    group.add_argument(
        "--precision", default="float32", choices=("float32", "bf16", "fp16"), help="of the image encoder (%(default)s)"
    )
    group.add_argument(
        "--workers", type=at_least(0), default=2, metavar="N", help="processes that read images (%(default)s)"
    )
    group.add_argument("--save-every", type=at_least(1), default=250, metavar="N", help="steps (%(default)s)")
    group.add_argument("--tensorboard", action="store_true", help="log for TensorBoard too, in RUN/tensorboard")
