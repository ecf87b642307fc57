"""The tokenizer: encoder, quantizer and decoder as one module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.config import TokenizerConfig
from vqgan_cli.core.errors import DataError, UsageError
from vqgan_cli.core.models.autoencoder import Decoder, Encoder
from vqgan_cli.core.models.layers import use_channels_last
from vqgan_cli.core.models.quantizers import Quantized, build_quantizer

__all__ = ["Tokenizer", "TokenizerOutput", "laid_out"]


@dataclass(frozen=True)
class TokenizerOutput:
    """Reconstruction [B, out_channels, H, W] and what the quantizer gave."""

    reconstruction: Tensor
    quantized: Quantized


class Tokenizer(nn.Module):
    """Images [B, 3, H, W] in [-1, 1] to codes int64 [B, H/f, W/f] and back.

    Also label maps, one-hot [B, classes, H, W] in and logits out, and single values in [-1, 1] such as depth: one
    channel is a value, three are a picture, any other number is one of classes.

    Examples:
        >>> import torch
        >>> from vqgan_cli import load_tokenizer
        >>> tokenizer = load_tokenizer("runs/my-ae")
        >>> tokenizer.codebook_size, tokenizer.downsampling
        (64, 2)
        >>> codes = tokenizer.encode(torch.zeros(2, 3, 16, 24))
        >>> codes.shape, codes.dtype
        (torch.Size([2, 8, 12]), torch.int64)
        >>> tokenizer.decode(codes).shape
        torch.Size([2, 3, 16, 24])
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quant_conv = nn.Conv2d(config.z_channels, config.codebook_dim, 1)
        self.quantizer = build_quantizer(config)
        self.post_quant_conv = nn.Conv2d(config.codebook_dim, config.z_channels, 1)
        self.decoder = Decoder(config)

    @property
    def downsampling(self) -> int:
        """f: pixels of image side per code."""
        return self.config.downsampling

    @property
    def codebook_size(self) -> int:
        """K: codes are integers below this."""
        return self.quantizer.codebook_size

    @property
    def makes_labels(self) -> bool:
        """Whether the output are logits of classes."""
        return self.config.out_channels not in (1, 3)

    @property
    def last_layer(self) -> Tensor:
        """Weight of the decoder's last convolution, where the adaptive GAN weight is measured."""
        return self.decoder.conv_out.weight

    def forward(self, images: Tensor) -> TokenizerOutput:
        """Reconstruct for training, with gradients through the quantizer."""
        quantized = self.quantizer(self.features(images))
        return TokenizerOutput(self.decoder(self.post_quant_conv(quantized.vectors)), quantized)

    def features(self, images: Tensor) -> Tensor:
        """Vectors before the quantizer, [B, codebook_dim, H/f, W/f]."""
        return self.quant_conv(self.encoder(images))

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Codes of images.

        Args:
            images: float [B, in_channels, H, W] in [-1, 1] (one-hot for label maps), H and W multiples of f.

        Returns:
            int64 [B, H/f, W/f] in row-major order.

        Raises:
            UsageError: the shape does not fit the tokenizer.
        """
        f = self.downsampling
        if images.ndim != 4 or images.shape[1] != self.config.in_channels:
            raise UsageError(
                f"expected images of shape [B, {self.config.in_channels}, H, W], got {list(images.shape)}"
            )
        height, width = images.shape[-2:]
        if height % f or width % f or not height or not width:
            raise UsageError(f"image size {height}x{width} is not a multiple of this tokenizer's f = {f}")
        return self.quantizer.encode(self.features(images))

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """Images of codes.

        Args:
            codes: integers [B, h, w], each below ``codebook_size``.

        Returns:
            float32 [B, 3 or 1, h*f, w*f] clamped to [-1, 1]; for label maps class indices, int64 [B, h*f, w*f].

        Raises:
            UsageError: the shape is wrong or a code is outside the codebook.
        """
        if codes.ndim != 3 or codes.is_floating_point():
            raise UsageError(
                f"expected integer codes of shape [B, h, w], got {codes.dtype} {list(codes.shape)}"
            )
        codes = codes.long()
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.codebook_size:
            raise UsageError(
                f"codes range from {int(codes.min())} to {int(codes.max())}, "
                f"but this codebook has codes 0 to {self.codebook_size - 1}"
            )
        output = self.decoder(self.post_quant_conv(self.quantizer.decode(codes))).float()
        return self.pixels(output)

    def pixels(self, output: Tensor) -> Tensor:
        """What the decoder's raw output shows: clamped images, or the likeliest class of each pixel."""
        return output.argmax(1) if self.makes_labels else output.clamp(-1, 1)

    def one_hot(self, labels: Tensor) -> Tensor:
        """Label maps [B, H, W] to the tokenizer's input, float32 [B, in_channels, H, W].

        Raises:
            DataError: a label is not below ``in_channels``.
        """
        classes = self.config.in_channels
        if labels.numel() and int(labels.max()) >= classes:
            raise DataError(
                f"a label map holds class {int(labels.max())}, but there are {classes} classes, 0 to {classes - 1}",
                hint="set tokenizer.in_channels and out_channels to the number of classes, an ignored class included",
            )
        return F.one_hot(labels.long(), classes).permute(0, 3, 1, 2).float()


def laid_out(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer with the weights of its convolutions as their kernels take them; values stay."""
    use_channels_last(tokenizer.encoder)
    use_channels_last(tokenizer.decoder)
    return tokenizer
