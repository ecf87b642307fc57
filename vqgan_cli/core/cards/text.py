"""The text of a model card, which follows from what the model file says of itself: the same model has the same card."""

from __future__ import annotations

from collections.abc import Iterable

from vqgan_cli.core.cards.sections import (
    architecture,
    asks_for_maps,
    figures,
    front_matter,
    is_transformer,
    licence,
    limits,
    plain,
    summary,
    table,
    training,
)
from vqgan_cli.core.model_info import ModelInfo

__all__ = ["card_text"]


def card_text(info: ModelInfo) -> str:
    """The card of a model as Markdown, with the front matter that the Hugging Face Hub reads.

    Args:
        info: of the model. Names of data are given without the folders that they lie in.

    Raises:
        ModelError: what the file says of its sizes cannot be.
    """
    sections = [
        _front_matter(info),
        f"# {plain(info.config.name)}\n\n{summary(info)}",
        "## Architecture\n\n" + table(architecture(info)),
        *training(info),
        *figures(info),
        "## Use\n\nFOLDER is the folder of this file.\n\n" + _use(info),
        "## Intended use and limits\n\n" + limits(info),
        "## Licence\n\n" + licence(info),
        "## Identity\n\n"
        + table(
            [
                ("fingerprint of the weights", f"`{info.fingerprint}`"),
                ("format", f"`{plain(info.format)}`"),
                (
                    "written by",
                    f"vqgan {plain(str(info.provenance.get('version') or 'of unknown version'))}",
                ),
            ]
        ),
    ]
    return "\n\n".join(sections) + "\n\n"


def _front_matter(info: ModelInfo) -> str:
    if not is_transformer(info):
        return front_matter(info, "vqgan", ["vqgan", "image-tokenizer", info.config.tokenizer.quantizer.kind])
    pipeline = "image-to-image" if asks_for_maps(info) else "unconditional-image-generation"
    return front_matter(
        info, "vqgan", ["vqgan", "image-generation", info.config.transformer.kind], pipeline=pipeline
    )


def _use(info: ModelInfo) -> str:
    if not is_transformer(info):
        read = f"images = read_images('photos/', size={info.config.data.size})\n"
        if info.config.data.kind != "image":
            return _blocks(
                ["vqgan encode maps/ -o codes.npy --ae FOLDER", "vqgan decode codes.npy -o out/ --ae FOLDER"],
                ["from vqgan_cli import load_tokenizer", "", "tokenizer = load_tokenizer('FOLDER')"],
            )
        return _blocks(
            ["vqgan encode photos/ -o codes.npy --ae FOLDER", "vqgan decode codes.npy -o out/ --ae FOLDER"],
            [
                "from vqgan_cli import load_tokenizer, read_images, to_images",
                "",
                "tokenizer = load_tokenizer('FOLDER')",
                read.rstrip(),
                "codes = tokenizer.encode(images)",
                "to_images(tokenizer.decode(codes))",
            ],
        )
    asked, argument = "", ""
    if info.config.condition.kind == "class":
        asked, argument = "--class 0 ", "classes=0, "
    elif asks_for_maps(info):
        asked, argument = "--condition maps/ ", "condition='maps/', "
    return _blocks(
        [f"vqgan generate --model FOLDER {asked}-n 8 --seed 0 -o samples/"],
        [
            "from vqgan_cli import load_sampler",
            "",
            "sampler = load_sampler('FOLDER')",
            f"sampler.draw({argument}images=8, seed=0)",
        ],
    )


def _blocks(shell: Iterable[str], python: Iterable[str]) -> str:
    code = "\n".join(python).replace("'", '"')
    return "```bash\n" + "\n".join(shell) + f"\n```\n\n```python\n{code}\n```"
