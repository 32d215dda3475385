"""Networks as ONNX files: which files there are, what goes in and comes out of each, and writing them."""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMMed2DLib.system.files import StagedFiles

if TYPE_CHECKING:
    from torch import Tensor, nn

    from SAMMed2DLib.model.config.model_config import ModelConfig
    from SAMMed2DLib.model.sam import Sam

INSTALL = 'pip install "sammed2d[onnx]"'
OPSET = 17
X_ANYLABELING_CHANNELS, X_ANYLABELING_STRIDE = 256, 16  # what that program takes for granted of an embedding
_MOST_BYTES = 2_000_000_000  # of one file; the format ends at 2 GiB
_DECODER_INPUTS = (
    "image_embeddings",
    "point_coords",
    "point_labels",
    "mask_input",
    "has_mask_input",
    "orig_im_size",
)


class ExportError(ValueError):
    """A model cannot be exported; the message says why and what to do."""


@dataclass(frozen=True)
class OnnxOptions:
    """What the files are to be like.

    Attributes:
        with_preprocessing: the encoder, and the refiner, take uint8 images (H, W, 3) of any size.
        quantize: the encoder's products of matrices in 8-bit integers.
        multimask: the decoder returns all three masks, not the best one.
        x_anylabeling: the flavour of X-AnyLabeling, with a YAML file.
    """

    with_preprocessing: bool = False
    quantize: bool = False
    multimask: bool = False
    x_anylabeling: bool = False

    def __post_init__(self) -> None:
        """Refuse what X-AnyLabeling cannot use."""
        if self.x_anylabeling and (self.with_preprocessing or self.multimask):
            raise ExportError(
                "X-AnyLabeling does the preprocessing itself and reads one mask: leave out --with-preprocessing and "
                "--multimask"
            )


_Sizes = dict[str, dict[int, str]]  # input or output -> what its axes that may have any size are called


@dataclass(frozen=True)
class _Part:
    """One file to be: its graph, an example of each input by its name, and what may vary in size."""

    name: str
    graph: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: _Sizes


def check_installed() -> None:
    """Look for the packages of the extra.

    Raises:
        ExportError: one is missing.
    """
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"an export to ONNX needs {' and '.join(missing)}: {INSTALL}")


def frame_px(config: ModelConfig, options: OnnxOptions) -> int:
    """Side of the frame that callers bring images into and count points in, px."""
    return X_ANYLABELING_STRIDE * config.grid if options.x_anylabeling else config.image_size


def write_onnx(
    model: Sam, config: ModelConfig, name: str, folder: Path, options: OnnxOptions, facts: Mapping[str, Any]
) -> list[Path]:
    """Write a network as `NAME.encoder.onnx`, `NAME.decoder.onnx`, and `NAME.refiner.onnx` where it has a refiner.

    A quantised encoder is called `NAME.encoder.quant.onnx`. The flavour of X-AnyLabeling has no refiner, which that
    program does not know, and `NAME.yaml`.

    Args:
        model: float32 on the CPU, with the published names: no predictor may have prepared it.
        config: its sizes.
        name: how the files begin.
        folder: to write into; it is made, and files of these names are replaced.
        options: what the files are to be like.
        facts: about the model, plain JSON types, written into each file beside what this function knows.

    Returns:
        the files, the encoder first.

    Raises:
        ExportError: a package is missing, or the network is too large or of a kind that the flavour has no room for.
    """
    check_installed()
    _check_sizes(model, config, options)
    folder.mkdir(parents=True, exist_ok=True)
    parts = _parts(model.eval().requires_grad_(False), config, options)
    told = {"preprocessing": "in the graph" if options.with_preprocessing else model.preprocessing, **facts}
    told["frame_px"] = frame_px(config, options)
    files = []
    with StagedFiles() as staged:
        for part in parts:
            is_quantized = options.quantize and part.name == "encoder"
            files.append(folder / f"{name}.{part.name}{'.quant' if is_quantized else ''}.onnx")
            written = staged.place(files[-1])
            _trace(part, written)
            if is_quantized:
                _quantize(written)
            _describe(written, {**told, "part": part.name, "quantized": is_quantized})
        if options.x_anylabeling:
            files.append(folder / f"{name}.yaml")
            staged.place(files[-1]).write_text(_yaml(name, files, config, options), encoding="utf-8")
    return files


def _check_sizes(model: Sam, config: ModelConfig, options: OnnxOptions) -> None:
    if sum(weights.nbytes for weights in model.state_dict().values()) > _MOST_BYTES:
        raise ExportError("the weights are larger than 2 GB, which one ONNX file cannot hold: choose a smaller model")
    if options.x_anylabeling and config.out_dim > X_ANYLABELING_CHANNELS:
        raise ExportError(
            f"X-AnyLabeling takes embeddings of {X_ANYLABELING_CHANNELS} channels, this model has {config.out_dim}: "
            "leave out --x-anylabeling"
        )


def _parts(model: Sam, config: ModelConfig, options: OnnxOptions) -> list[_Part]:
    parts = [_encoder(model, config, options), _decoder(model, config, options)]
    if model.refiner is not None and not options.x_anylabeling:
        parts.append(_refiner(model, config, options))
    return parts


def _encoder(model: Sam, config: ModelConfig, options: OnnxOptions) -> _Part:
    import torch

    from SAMMed2DLib.export.graphs import EncoderGraph, PreprocessingGraph

    frame = frame_px(config, options)
    # X-AnyLabeling gives what the published weights want; for others its normalisation is undone.
    is_other = options.x_anylabeling and (model.preprocessing != "published" or frame != config.image_size)
    prepare = None
    if options.with_preprocessing or is_other:
        prepare = PreprocessingGraph(model.preprocessing, config.image_size)
    channels = X_ANYLABELING_CHANNELS if options.x_anylabeling else None
    graph = EncoderGraph(model, prepare, channels, is_normalised=is_other)
    image, dynamic = torch.zeros(1, 3, frame, frame), _Sizes()
    if options.with_preprocessing:
        image, dynamic = _any_image(config.image_size)
    return _Part("encoder", graph, {"input_image": image}, ("image_embeddings",), dynamic)


def _decoder(model: Sam, config: ModelConfig, options: OnnxOptions) -> _Part:
    import torch

    from SAMMed2DLib.export.graphs import DecoderGraph

    frame, grid = frame_px(config, options), config.grid
    channels = X_ANYLABELING_CHANNELS if options.x_anylabeling else config.out_dim
    values = (
        torch.zeros(1, channels, grid, grid),
        *_example_points(),
        torch.zeros(1, 1, 4 * grid, 4 * grid),
        torch.zeros(1),
        torch.tensor([config.image_size + 7.0, config.image_size + 9.0]),
    )
    return _Part(
        "decoder",
        DecoderGraph(model, config.out_dim, frame, options.multimask),
        dict(zip(_DECODER_INPUTS, values, strict=True)),
        ("masks", "iou_predictions", "low_res_masks"),
        {**_any_points(), "masks": {2: "height", 3: "width"}},
    )


def _refiner(model: Sam, config: ModelConfig, options: OnnxOptions) -> _Part:
    import torch

    from SAMMed2DLib.export.graphs import PreprocessingGraph, RefinerGraph

    side = model.prompt_encoder.mask_input_size
    image, dynamic, prepare = torch.zeros(1, 3, 2 * side, 2 * side), _Sizes(), None
    if options.with_preprocessing:
        (image, dynamic), prepare = _any_image(2 * side), PreprocessingGraph("min-max", 2 * side)
    coords, labels = _example_points()
    inputs = {
        "input_image": image,
        "low_res_masks": torch.zeros(1, 1, side, side),
        "point_coords": coords,
        "point_labels": labels,
        "orig_im_size": torch.tensor([2 * side + 7.0, 2 * side + 9.0]),
    }
    graph = RefinerGraph(model, frame_px(config, options), prepare)
    return _Part("refiner", graph, inputs, ("masks",), {**dynamic, **_any_points(), "masks": {2: "height", 3: "width"}})


def _example_points() -> tuple[Tensor, Tensor]:
    import torch

    return torch.tensor([[[5.0, 6.0], [9.0, 3.0], [2.0, 2.0]]]), torch.tensor([[1.0, 0.0, 1.0]])


def _any_points() -> _Sizes:
    return {"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}}


def _any_image(side: int) -> tuple[Tensor, _Sizes]:
    """An image that is no square and of no size that the graph itself has, so that none is taken for fixed."""
    import torch

    image = torch.arange((side + 3) * (side + 5) * 3).remainder(251).to(torch.uint8).view(side + 3, side + 5, 3)
    return image, {"input_image": {0: "image_height", 1: "image_width"}}


def _trace(part: _Part, path: Path) -> None:
    """Write a graph by the exporter that follows one run: it makes opset 17, and needs torch alone."""
    import torch

    known = inspect.signature(torch.onnx.export).parameters
    follows_one_run: dict[str, Any] = {"dynamo": False} if "dynamo" in known else {}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of sizes that are the same in each run, and of the exporter's age
        part.graph(*part.inputs.values())  # what is computed once for a network is then no part of the graph
        torch.onnx.export(
            part.graph,
            tuple(part.inputs.values()),
            str(path),
            opset_version=OPSET,
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            dynamic_axes=part.dynamic,
            **follows_one_run,
        )


def _quantize(path: Path) -> None:
    """Replace the weights of the products of matrices by 8-bit integers, one scale for each output channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # advice on an optimisation that this network does not need
    kinds = ["MatMul", "Gemm"]  # convolutions of integers are slower than those of floats on most CPUs
    try:
        quantize_dynamic(str(path), str(path), kinds, per_channel=True, weight_type=QuantType.QInt8)
    finally:
        logging.disable(before)


def _describe(path: Path, facts: Mapping[str, Any]) -> None:
    """Write facts into a file, where `InferenceSession.get_modelmeta` finds them, and check the file."""
    import onnx

    model = onnx.load(str(path))
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _yaml(name: str, files: list[Path], config: ModelConfig, options: OnnxOptions) -> str:
    """The description that X-AnyLabeling loads as a custom model; texts of JSON are texts of YAML."""
    encoder, decoder = (json.dumps(file.name) for file in files[:2])
    known_as = re.sub(r"[^A-Za-z0-9._-]+", "-", name)  # it refuses other names
    return (
        f"type: sam_med2d\nname: {json.dumps(known_as)}\ndisplay_name: {json.dumps(name)}\nprovider: SAMMed2D\n"
        f"encoder_model_path: {encoder}\ndecoder_model_path: {decoder}\ninput_size: {frame_px(config, options)}\n"
    )
