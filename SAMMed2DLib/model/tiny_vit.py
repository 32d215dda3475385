"""TinyViT (Wu et al. 2022, arXiv 2207.10666) as an image encoder: convolutions at full size, then window attention.

Positions enter by the convolutions and by biases within windows only, so one set of weights takes images of any size.
The names of the weights are those of LiteMedSAM's checkpoint, whose stem leaves the image at its size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from SAMMed2DLib.model.config.tiny_vit_sizes import HEAD_DIM, TinyVitSizes
from SAMMed2DLib.model.layers import LayerNorm2d

_EXPANSION = 4  # hidden width of every block over its width, as published
# Of a map of the first stage, whose widened map is too large for a processor's cache. Found by measurement.
_BAND_PIXELS = 2048


class TinyVit(nn.Module):
    """Images to feature maps: stem, four stages with merging between them, neck.

    Attributes:
        most_at_once: images that a CPU encodes as fast as more; its large maps make a larger batch no faster.
    """

    most_at_once = 2

    def __init__(self, image_size: int, sizes: TinyVitSizes, out_dim: int) -> None:
        """Create the encoder.

        Args:
            image_size: side of the model frame, px; a hint for callers, `forward` takes other sizes too.
            sizes: widths, depths and windows.
            out_dim: channels of the features.
        """
        super().__init__()
        self.image_size = image_size
        self.width = max(sizes.dims)
        self.feature_bytes = 4 * (image_size // sizes.stride) ** 2 * out_dim  # of one image, float32
        # A pass takes most for the widened maps of the first stage; found by measurement at 112 and 256 px.
        self._working_bytes = 4 * image_size**2 * 18 * sizes.dims[0]
        dims = sizes.dims
        self.patch_embed = Stem(dims[0])
        stages: list[nn.Module] = []
        for i, (dim, depth, window) in enumerate(zip(dims, sizes.depths, sizes.windows, strict=True)):
            blocks: list[nn.Module] = [AttentionBlock(dim, window) if i else ConvBlock(dim) for _ in range(depth)]
            merging = Merging(dim, dims[i + 1], sizes.strides[i]) if i + 1 < len(dims) else None
            stages.append(Stage(blocks, merging))
        self.layers = nn.ModuleList(stages)
        self.neck = nn.Sequential(
            nn.Conv2d(dims[-1], out_dim, 1, bias=False),
            LayerNorm2d(out_dim),
            nn.Conv2d(out_dim, out_dim, 3, padding=1, bias=False),
            LayerNorm2d(out_dim),
        )

    @property
    def blocks(self) -> list[nn.Module]:
        """All blocks, in their order."""
        return [block for stage in self.layers if isinstance(stage, Stage) for block in stage.blocks]

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, out_dim, H / stride, W / stride); H and W are multiples of the stride."""
        return self.neck(self.tokens(images))

    def tokens(self, images: Tensor) -> Tensor:
        """What the neck reads: (B, dims[-1], H / stride, W / stride), channels last in memory."""
        x = self.patch_embed(images.contiguous(memory_format=torch.channels_last))
        for stage in self.layers:
            x = stage(x)
        return x

    def working_bytes(self, images: int) -> int:
        """Forecast what a pass over so many images takes while it lasts, bytes, about."""
        return images * self._working_bytes

    def prepare_for_cpu(self) -> None:
        """Prepare for inference, and compute the first stage band by band; see `ConvBlock`."""
        self.prepare_for_inference()
        for block in self.blocks:
            if isinstance(block, ConvBlock):
                block.in_bands = True

    def prepare_for_inference(self) -> None:
        """Fold the batch norms and look the biases of attention up; the encoder is then not for training or saving."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()
            elif isinstance(module, WindowAttention):
                module.fix_biases()


class ConvNorm(nn.Module):
    """A convolution without bias and a batch norm, in the statistics of training."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        """Create the pair; the map keeps its size but for the stride.

        Args:
            in_dim: channels in.
            out_dim: channels out.
            kernel: side of the kernel, px; odd.
            stride: px from one output pixel to the next.
            groups: groups of channels that are convolved apart.
        """
        super().__init__()
        self.c = nn.Conv2d(in_dim, out_dim, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn: nn.BatchNorm2d | None = nn.BatchNorm2d(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_dim, H, W) to (B, out_dim, H / stride, W / stride)."""
        if self.bn is not None:
            return self.bn(self.c(x))
        if self.c.kernel_size != (1, 1):
            return self.c(x)
        # A product of matrices: twice as fast on CPUs as the convolution of one pixel.
        weight = self.c.weight.flatten(1)
        return functional.linear(x.permute(0, 2, 3, 1), weight, self.c.bias).permute(0, 3, 1, 2)

    @torch.no_grad()
    def fold(self) -> None:
        """Make one convolution with a bias of the two."""
        if self.bn is None:
            return
        mean, variance = self.bn.get_buffer("running_mean"), self.bn.get_buffer("running_var")
        scale = self.bn.weight / torch.sqrt(variance + self.bn.eps)
        weight = (self.c.weight * scale[:, None, None, None]).contiguous(memory_format=torch.channels_last)
        self.c.weight = nn.Parameter(weight, requires_grad=False)
        self.c.bias = nn.Parameter(self.bn.bias - mean * scale, requires_grad=False)
        self.bn = None


class Stem(nn.Module):
    """Pixels to the channels of the first stage, each pixel by itself."""

    def __init__(self, dim: int) -> None:
        """Create two pointwise convolutions, 3 to dim / 2 to dim."""
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, dim // 2), nn.GELU(), ConvNorm(dim // 2, dim))

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, dim, H, W)."""
        return self.seq(images)


class Stage(nn.Module):
    """Blocks of one width, and the merging that leads to the next width."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        """Join blocks and merging."""
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, H, W) to (B, next dim, H / stride, W / stride)."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class ConvBlock(nn.Module):
    """An inverted bottleneck: widen, look at the neighbours channel by channel, narrow, add.

    Attributes:
        in_bands: compute a few rows at a time and in place, so that the widened map stays in a processor's cache. The
            result is the same, and has no gradient.
    """

    in_bands = False

    def __init__(self, dim: int) -> None:
        """Create a block of `dim` channels."""
        super().__init__()
        hidden = dim * _EXPANSION
        self.conv1 = ConvNorm(dim, hidden)
        self.conv2 = ConvNorm(hidden, hidden, kernel=3, groups=hidden)
        self.conv3 = ConvNorm(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, H, W) to the same shape."""
        height, width = x.shape[2:]
        rows = max(_BAND_PIXELS // width, 1) if self.in_bands else height
        if rows >= height:
            return self._all(x)
        out = torch.empty_like(x)
        for image, into in zip(x.split(1), out.split(1), strict=True):
            for top in range(0, height, rows):
                first = max(top - 1, 0)  # a row more on either side for the neighbours
                band = self._all(image[:, :, first : top + rows + 1])
                into[:, :, top : top + rows] = band[:, :, top - first :][:, :, :rows]
        return out

    def _all(self, x: Tensor) -> Tensor:
        gelu = torch.ops.aten.gelu_ if self.in_bands else functional.gelu
        hidden = gelu(self.conv2(gelu(self.conv1(x))))
        return gelu(x + self.conv3(hidden))


class Merging(nn.Module):
    """To another width, and to a coarser map where the stride is 2."""

    def __init__(self, dim: int, out_dim: int, stride: int) -> None:
        """Create the three convolutions.

        Args:
            dim: channels in.
            out_dim: channels out.
            stride: px from one output pixel to the next, 1 or 2.
        """
        super().__init__()
        self.conv1 = ConvNorm(dim, out_dim)
        self.conv2 = ConvNorm(out_dim, out_dim, kernel=3, stride=stride, groups=out_dim)
        self.conv3 = ConvNorm(out_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, H, W) to (B, out_dim, H / stride, W / stride)."""
        return self.conv3(functional.gelu(self.conv2(functional.gelu(self.conv1(x)))))


class AttentionBlock(nn.Module):
    """Window attention, a convolution channel by channel, and an MLP."""

    def __init__(self, dim: int, window: int) -> None:
        """Create a block of `dim` channels with windows of `window` x `window` tokens."""
        super().__init__()
        self.attn = WindowAttention(dim, dim // HEAD_DIM, window)
        self.local_conv = ConvNorm(dim, dim, kernel=3, groups=dim)
        self.mlp = Feedforward(dim, dim * _EXPANSION)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, H, W) to the same shape."""
        tokens = x.permute(0, 2, 3, 1)
        tokens = tokens + self.attn(tokens)
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (tokens + self.mlp(tokens)).permute(0, 3, 1, 2)


class Feedforward(nn.Module):
    """Norm and two linear layers with GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        """Create dim -> hidden -> dim."""
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to the same shape."""
        return self.fc2(functional.gelu(self.fc1(self.norm(x))))


class WindowAttention(nn.Module):
    """Attention within windows, with a bias for each distance along rows and columns, whatever its sign.

    A map that the windows do not divide is padded with zeros below and to the right before the norm; the padding takes
    part as keys, as in training. Sides of 28, 42 or 56 tokens need none.
    """

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        """Create attention within windows.

        Args:
            dim: channels.
            num_heads: attention heads.
            window: side of the windows, tokens.
        """
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)  # head by head: its query, key and value
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window * window))
        self._bias_index: Tensor | None = None
        self._biases: Tensor | None  # (heads, n * n, n * n), once they are fixed
        self.register_buffer("_biases", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        batch, height, width, dim = x.shape
        side = self.window
        padded = functional.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = padded.shape[1] // side, padded.shape[2] // side
        windows = padded.view(batch, rows, side, columns, side, dim).transpose(2, 3)
        out = self._attend(self.norm(windows.reshape(-1, side * side, dim)))
        out = out.view(batch, rows, columns, side, side, dim).transpose(2, 3)
        return out.reshape(padded.shape)[:, :height, :width]

    def _attend(self, tokens: Tensor) -> Tensor:
        """Attention among the tokens of each window, (N, n * n, C)."""
        query, key, value = self.qkv(tokens).unflatten(-1, (self.num_heads, 3, -1)).permute(3, 0, 2, 1, 4)
        biases = self.attention_biases[:, self._distances()] if self._biases is None else self._biases
        out = functional.scaled_dot_product_attention(query, key, value, attn_mask=biases)
        return self.proj(out.transpose(1, 2).flatten(2))

    @torch.no_grad()
    def fix_biases(self) -> None:
        """Look the biases up for good; they are not learned any more then."""
        self._biases = self.attention_biases[:, self._distances()].clone()

    def _distances(self) -> Tensor:
        """Number of the distance between any two of the n * n tokens of a window: rows apart times n, plus columns."""
        device = self.attention_biases.device
        if self._bias_index is None or self._bias_index.device != device:
            # A tensor made in inference mode could not be used in a later step of training.
            with torch.inference_mode(False):
                tokens = torch.arange(self.window**2, device=device)
                row, column = tokens // self.window, tokens % self.window
                rows, columns = (row[:, None] - row[None]).abs(), (column[:, None] - column[None]).abs()
                self._bias_index = rows * self.window + columns
        return self._bias_index
