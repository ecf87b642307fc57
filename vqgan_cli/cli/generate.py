"""``vqgan generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import (
    SAMPLING,
    Debug,
    Device,
    DrawingPrecision,
    Force,
    Json,
    MaxBatch,
    Quiet,
    SamplingSeed,
    Stride,
    Temperature,
    TopK,
)

__all__ = ["generate"]

_FROM = "From a map or a photo"


def generate(
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Transformer: a weights file, a run folder, or a name of `vqgan models list`. Default: the newest "
            "finished one under runs/.",
        ),
    ] = None,
    class_: Annotated[
        str | None,
        typer.Option(
            "--class",
            "-c",
            metavar="CLASS",
            help='What to draw: a class by number (207) or name ("golden retriever"), several with commas between '
            "them, or all. Default: the model's classes in turn, in an order drawn from --seed.",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images",
            "-n",
            min=1,
            metavar="N",
            help="Images of each class in --class, or of each map in --condition; without them, images in all. "
            "Default: 8, and 1 of each map.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="HEIGHTxWIDTH",
            help="Size in pixels, any multiple of f. Beyond the training size a window slides over the image. "
            "Default: the size of the map or photo, else the size the model was trained at.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="Folder for images, sheet.png and samples.json."),
    ] = Path("samples"),
    codes: Annotated[
        Path | None,
        typer.Option(
            "--codes",
            metavar="FILE.npy",
            help="Write the codes too, with a .json beside them, as encode does. Default: images only.",
        ),
    ] = None,
    condition: Annotated[
        str | None,
        typer.Option(
            "--condition",
            metavar="MAPS",
            rich_help_panel=_FROM,
            help="For models that draw by maps (segmentation, depth, edges, keypoints, lowres): one map, a folder, a "
            "quoted glob, or codes of the maps' tokenizer.",
        ),
    ] = None,
    from_image: Annotated[
        bool,
        typer.Option(
            "--from-image",
            rich_help_panel=_FROM,
            help="--condition names pictures: compute their edges, or their small versions.",
        ),
    ] = False,
    complete: Annotated[
        Path | None,
        typer.Option(
            "--complete",
            metavar="PHOTO",
            rich_help_panel=_FROM,
            help="Keep the --known part of a photo and draw the rest. A code sees only what comes before it in the "
            "model's order: in row order all rows above, and what is left of it in its own. A known part further "
            "down is kept, but what is drawn above it does not know of it.",
        ),
    ] = None,
    known: Annotated[
        str | None,
        typer.Option(
            "--known",
            metavar="PART",
            rich_help_panel=_FROM,
            help="The part of --complete's photo that is kept: top:0.5, bottom:0.5, left:0.3, right:0.3 (shares), "
            "box:TOP,LEFT,BOTTOM,RIGHT (inside it; pixels, or shares below 1), outside:T,L,B,R, or a mask image, "
            "white where the photo is known.",
        ),
    ] = None,
    blend: Annotated[
        bool,
        typer.Option(
            "--blend",
            rich_help_panel=_FROM,
            help="Known pixels stay those of the photo, with a soft seam. Default: they are reconstructed from codes.",
        ),
    ] = False,
    variations: Annotated[
        Path | None,
        typer.Option(
            "--variations",
            metavar="PHOTO",
            rich_help_panel=_FROM,
            help="Draw a share of a photo's codes anew, spread over the picture.",
        ),
    ] = None,
    strength: Annotated[
        float,
        typer.Option(
            "--strength",
            min=0,
            max=1,
            metavar="SHARE",
            rich_help_panel=_FROM,
            help="Share of the codes that --variations draws anew; 1 draws a new image.",
        ),
    ] = 0.5,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p",
            min=0,
            max=1,
            metavar="P",
            rich_help_panel=SAMPLING,
            help="Draw among the likeliest codes that together have probability P; 1: all. Default: the model's own.",
        ),
    ] = None,
    cfg: Annotated[
        float | None,
        typer.Option(
            "--cfg",
            min=0,
            metavar="SCALE",
            rich_help_panel=SAMPLING,
            help="Classifier-free guidance: above 1, images show their class more clearly and vary less. For models "
            "trained with condition.dropout. Default: the model's own.",
        ),
    ] = None,
    cfg_schedule: Annotated[
        Literal["constant", "linear", "cosine"] | None,
        typer.Option(
            "--cfg-schedule",
            rich_help_panel=SAMPLING,
            help="Guidance over the image: constant, or rising from 1 to --cfg. Default: the model's own.",
        ),
    ] = None,
    greedy: Annotated[
        bool,
        typer.Option(
            "--greedy",
            rich_help_panel=SAMPLING,
            help="Always take the likeliest code, so that all images of a class are the same one.",
        ),
    ] = False,
    seed: SamplingSeed = 0,
    keep: Annotated[
        float | None,
        typer.Option(
            "--keep",
            min=0,
            max=1,
            metavar="SHARE",
            rich_help_panel="Rejection",
            help="Draw N/SHARE candidates of each class and keep the N that --scorer finds likeliest for it, the best "
            "first. For models of ImageNet's 1,000 classes. Default: keep everything.",
        ),
    ] = None,
    scorer: Annotated[
        str | None,
        typer.Option(
            "--scorer",
            metavar="CLASSIFIER",
            rich_help_panel="Rejection",
            help="Classifier for --keep: torchvision:NAME (published weights, cached or downloaded), NAME:FILE, or "
            "FILE with the state dict of a torchvision classifier. Default: torchvision:resnet101.",
        ),
    ] = None,
    stride: Stride = 1,
    max_batch: MaxBatch = 16,
    precision: DrawingPrecision = "fp32",
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw new images: of a class, by a map, from a part of a photo, or of nothing but noise, at any size.

    Writes one png per image, a contact sheet and samples.json, which says how each image was made. The same command
    goes on where it was stopped; images that are there already are kept. While a large image is drawn, preview.png
    shows it.

    Examples:

      vqgan generate -n 16 -o samples/

      vqgan generate --class 207 --size 512x1024

      vqgan generate --class "golden retriever,tabby" --top-k 250 --top-p 0.92 --cfg 2

      vqgan generate --model runs/streets-transformer --condition camvid/val/segmentation -n 4

      vqgan generate --complete photo.png --known top:0.5 --blend -n 4

      vqgan generate --class 207 -n 8 --keep 0.05 --scorer torchvision:resnet101

      torchrun --nproc_per_node 8 -m vqgan_cli generate --class all -n 50 -o samples/
    """
    from vqgan_cli.core.errors import UsageError
    from vqgan_cli.core.generation.request import CommandRequest, require_sense
    from vqgan_cli.core.sizes import parse_size

    pixels = parse_size(size) if size else None
    if greedy and temperature:
        raise UsageError("--greedy and --temperature exclude each other: greedy is temperature 0")
    asked: dict[str, Any] = {
        "images": images or (8 if condition is None else 1),
        "size": pixels,
        "temperature": 0.0 if greedy else temperature,
        "top_k": top_k,
        "top_p": top_p,
        "guidance": cfg,
        "guidance_schedule": cfg_schedule,
        "stride": stride,
        "max_batch": max_batch,
        "seed": seed,
        "condition": condition,
        "from_images": from_image,
        "complete": complete,
        "known": known or "",
        "blend": blend,
        "variations": variations,
        "strength": strength,
        "keep": keep,
        "scorer": scorer,
    }
    require_sense(CommandRequest(**asked))

    from vqgan_cli.cli.display import ConsoleReporter, is_main_process
    from vqgan_cli.core.newest import newest_transformer
    from vqgan_cli.core.recipes.generate import GenerateOptions
    from vqgan_cli.core.recipes.generate import generate as recipe

    reporter = ConsoleReporter()
    if model is None:
        model = newest_transformer()
        reporter.info(f"no --model given: taking the newest transformer, {model}")
    options = GenerateOptions(
        model=model,
        out=out,
        classes=class_,
        codes=codes,
        precision=precision,
        device=device,
        force=force,
        **asked,
    )
    result = recipe(options, reporter)
    if not is_main_process():
        return
    if json:
        console.json_data(
            {
                "model": str(model),
                "images": [str(out / sample.file) for sample in result.samples],
                "sheet": str(result.sheet),
                "codes": None if codes is None else str(codes),
                "failed": [{"name": name, "reason": reason} for name, reason in result.failed],
            }
        )
    else:
        console.data(str(out))
    if result.failed:
        reporter.warning(f"{len(result.failed)} maps could not be read")
        raise typer.Exit(3)
