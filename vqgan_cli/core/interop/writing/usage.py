"""Lines of Python that use an export: what goes in, and what is done with what comes out."""

from __future__ import annotations

from collections.abc import Sequence

from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["code", "input_lines", "picture_lines"]


def code(imports: Sequence[str], *parts: Sequence[str]) -> str:
    """Blocks of lines as one text, with an empty line between them, and what they need of PIL imported."""
    text = "\n\n".join("\n".join(part) for part in parts if part)
    pictures = [name for name in ("Image", "ImageOps") if f"{name}." in text]
    if pictures:
        imports = [*imports, f"from PIL import {', '.join(pictures)}"]
    return "\n".join(imports) + "\n\n" + text


def input_lines(tokenizer: Tokenizer, kind: str, height: int, width: int, name: str = "images") -> list[str]:
    """Lines that read a file as a tokenizer takes it: a float32 array [1, C, height, width] of numpy's.

    Args:
        tokenizer: that reads it.
        kind: of the data, such as ``image`` or ``segmentation``.
        height: pixels.
        width: pixels.
        name: of the array.
    """
    channels = tokenizer.config.in_channels
    shape = f"[1, {channels}, {height}, {width}]"
    if tokenizer.makes_labels:
        return [
            f'labels = ImageOps.fit(Image.open("labels.png"), ({width}, {height}), Image.Resampling.NEAREST)',
            f"{name} = np.eye({channels}, dtype=np.float32)[np.asarray(labels)]  # one-hot",
            f"{name} = {name}.transpose(2, 0, 1)[None]  # {shape}",
        ]
    if channels == 3:
        what = "photo" if kind == "image" else kind
        return [
            f'picture = ImageOps.fit(Image.open("{what}.png").convert("RGB"), ({width}, {height}))',
            f"{name} = np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1  # {shape}",
        ]
    return [f"{name} = np.zeros((1, {channels}, {height}, {width}), np.float32)  # of yours, in [-1, 1]"]


def picture_lines(tokenizer: Tokenizer, name: str) -> list[str]:
    """Lines that save the first of the pictures [B, 3, H, W] in [-1, 1] of an array; none where it has no colours."""
    if tokenizer.makes_labels or tokenizer.config.out_channels != 3:
        return []
    return [
        f"picture = np.uint8(np.rint(({name}[0].transpose(1, 2, 0) + 1) * 127.5))",
        'Image.fromarray(picture).save("again.png")',
    ]
