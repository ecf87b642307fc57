"""Codebooks of taming-transformers of which only some codes count (its ``remap`` option, ``quantize.used``).

The original looks for the nearest of all rows and then gives its place among the used ones: codes in its files and in
its transformers are such places. For a nearest row that is not used it gives a random code (``unknown_index``, which
its models always leave at ``random``). A codebook of the used rows alone gives the same code wherever the nearest of
all rows is a used one, and decodes every code to the same vector. Its Gumbel quantizer looks at the logits of used
codes only, so there nothing differs at all.
"""

from __future__ import annotations

from torch import Tensor

from vqgan_cli.core.config import TokenizerConfig
from vqgan_cli.core.errors import ModelError, UsageError

__all__ = ["keep_used"]

_ROWS = {
    "vq": ("embedding.weight",),
    "ema": ("embedding", "cluster_size", "embed_avg"),
    "gumbel": ("proj.weight", "proj.bias", "embed.weight"),
}
"""Our tensors with a row per code, by kind of quantizer."""


def keep_used(
    config: TokenizerConfig, state: dict[str, Tensor], used: Tensor, wanted: int | None = None
) -> tuple[TokenizerConfig, tuple[str, ...]]:
    """Cut a codebook to its used rows, in their order.

    Args:
        config: of the tokenizer with the whole codebook.
        state: its tensors under our names; those of the codebook are replaced.
        used: rows of the codebook, integers [n], each once.
        wanted: codebook size that the user asked for: n (also None), or all.

    Returns:
        The config of what is now in ``state``, and what the user should know.

    Raises:
        ModelError: ``used`` is no such list.
        UsageError: ``wanted`` is neither.
    """
    size = config.codebook_size
    if used.ndim != 1 or used.is_floating_point() or not 2 <= used.shape[0] <= size:
        raise ModelError(
            f"quantize.used is {used.dtype} {list(used.shape)}, not a list of rows of a codebook of {size}"
        )
    count = used.shape[0]
    if not used.is_meta and (
        len(used.unique()) != count or not 0 <= int(used.min()) <= int(used.max()) < size
    ):
        raise ModelError(f"quantize.used does not list rows of a codebook of {size}, each once")
    if wanted not in (None, count, size):
        raise UsageError(
            f"--set tokenizer.codebook_size={wanted}: the codebook has {size} rows, of which {count} are used",
            hint=f"give {count} for codes as the original numbers them, or {size} for all rows",
        )
    if wanted == size:
        return config, (
            f"codes are rows of the whole codebook of {size}; the original numbers only the {count} used ones "
            "(quantize.used), so its codes and transformers do not fit this model",
        )
    kind = config.quantizer.kind
    for name in _ROWS[kind]:
        rows = state[f"quantizer.{name}"]
        state[f"quantizer.{name}"] = rows.index_select(0, used.long().to(rows.device))
    note = f"of {size} codes only the {count} used ones are kept, numbered as in the original (quantize.used)"
    if kind != "gumbel":
        note += (
            "; where the nearest of all rows is not among them, the nearest of them is taken, and the original took a "
            "random one"
        )
    return config.model_copy(update={"codebook_size": count}), (
        f"{note}; --set tokenizer.codebook_size={size} keeps all, numbered otherwise",
    )
