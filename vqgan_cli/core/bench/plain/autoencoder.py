"""The tokenizer the straightforward way: swish and attention written out, contiguous float32, all distances at once."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.models.autoencoder import Decoder, Encoder
from vqgan_cli.core.models.layers import AttentionBlock, Downsample, Level, ResBlock, Upsample
from vqgan_cli.core.models.quantizers.ema import EMAQuantizer
from vqgan_cli.core.models.quantizers.euclidean import EuclideanQuantizer
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["PlainTokenizer"]


class PlainTokenizer(nn.Module):
    """A tokenizer with the weights of ours.

    Args:
        tokenizer: copied, to float32 and the usual layout.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = copy.deepcopy(tokenizer).float()
        for parameter in self.tokenizer.parameters():
            parameter.data = parameter.data.contiguous()

    def features(self, images: Tensor) -> Tensor:
        """Vectors before the quantizer, [B, D, h, w], of images [B, C, H, W]."""
        return self.tokenizer.quant_conv(_encoder(self.tokenizer.encoder, images))

    def encode(self, images: Tensor) -> Tensor:
        """Codes int64 [B, h, w]."""
        return self._nearest(self.features(images))

    def decode(self, codes: Tensor) -> Tensor:
        """Images [B, C, H, W], clamped."""
        vectors = self.tokenizer.quantizer.decode(codes).contiguous()
        return _decoder(self.tokenizer.decoder, self.tokenizer.post_quant_conv(vectors)).clamp(-1, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction [B, C, H, W] and the loss of the codebook, a scalar; gradients pass the quantizer.

        Quantizers other than those with a learned codebook are taken as they are: theirs is a small part of the work.
        """
        quantizer = self.tokenizer.quantizer
        z = self.features(images)
        if isinstance(quantizer, EuclideanQuantizer):
            z = quantizer.prepared(z)
            chosen = quantizer.decode(self._nearest(z)).contiguous()
            pull, push = ((chosen.detach() - z) ** 2).mean(), ((chosen - z.detach()) ** 2).mean()
            loss = pull + quantizer.beta * push if quantizer.legacy else quantizer.beta * pull + push
            vectors = z + (chosen - z).detach()
        else:
            quantized = quantizer(z)
            vectors, loss = quantized.vectors, quantized.loss
        return _decoder(self.tokenizer.decoder, self.tokenizer.post_quant_conv(vectors)), loss

    def _nearest(self, z: Tensor) -> Tensor:
        match quantizer := self.tokenizer.quantizer:
            case EuclideanQuantizer():
                z, codebook = quantizer.prepared(z), quantizer.codebook
            case EMAQuantizer():
                codebook = quantizer.embedding
            case _:
                return quantizer.encode(z)
        rows = z.permute(0, 2, 3, 1).contiguous().view(-1, codebook.shape[1])
        distances = (
            torch.sum(rows**2, dim=1, keepdim=True)
            + torch.sum(codebook**2, dim=1)
            - 2 * torch.matmul(rows, codebook.t())
        )  # [N, K]
        return torch.argmin(distances, dim=1).view(z.shape[0], *z.shape[2:])


def _swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def _encoder(encoder: Encoder, x: Tensor) -> Tensor:
    if encoder.unit_pixels:
        x = (x + 1) / 2
    h = encoder.conv_in(x)
    for level in encoder.down:
        assert isinstance(level, Level)
        for stage in level.stages():
            h = _stage(stage, h)
    for stage in encoder.mid.stages():
        h = _stage(stage, h)
    return encoder.conv_out(_swish(encoder.norm_out(h)))


def _decoder(decoder: Decoder, z: Tensor) -> Tensor:
    h = decoder.conv_in(z)
    for stage in decoder.stages():
        h = _stage(stage, h)
    x = decoder.conv_out(_swish(decoder.norm_out(h)))
    return x * 2 - 1 if decoder.unit_pixels else x


def _stage(stage: nn.Module, x: Tensor) -> Tensor:
    match stage:
        case ResBlock():
            h = stage.conv1(_swish(stage.norm1(x)))
            h = stage.conv2(stage.dropout(_swish(stage.norm2(h))))
            return (x if stage.nin_shortcut is None else stage.nin_shortcut(x)) + h
        case AttentionBlock():
            return _attention(stage, x)
        case Downsample():
            return stage.conv(F.pad(x, (0, 1, 0, 1), mode="constant", value=0))
        case Upsample():
            return stage.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        case _:
            return stage(x)


def _attention(block: AttentionBlock, x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    h = block.norm(x)
    q = block.q(h).reshape(batch, channels, height * width).permute(0, 2, 1)
    k = block.k(h).reshape(batch, channels, height * width)
    v = block.v(h).reshape(batch, channels, height * width)
    weights = F.softmax(torch.bmm(q, k) * channels**-0.5, dim=2)  # [B, HW, HW]
    h = torch.bmm(v, weights.permute(0, 2, 1)).reshape(batch, channels, height, width)
    return x + block.proj_out(h)
