"""Presets and overrides: found, complete, merged in the right order, and refused in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.config.merging import merge
from vqgan_cli.core.errors import ConfigError, UsageError
from vqgan_cli.core.presets import (
    dump,
    load_preset,
    parse_override,
    preset_names,
    preset_path,
    preset_summary,
    read_preset,
    resolve,
)
from vqgan_cli.core.schema import settings

NAMES = [
    "demo",
    "depth",
    "edges",
    "faces",
    "imagenet",
    "landscapes",
    "modern-f16",
    "openimages-f8",
    "pose",
    "streets",
    "superres",
    "vqvae",
]


def leaves(mapping: dict[str, Any], prefix: str = "") -> list[str]:
    return [
        key
        for name, value in mapping.items()
        for key in (leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name])
    ]


def problems(*overrides: str, preset: str | None = None, **flags: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resolve(preset, overrides, flags)
    assert caught.value.exit_code == 2
    text = str(caught.value)
    assert "pydantic" not in text
    assert "Extra inputs" not in text
    return caught.value.problems


def test_the_shipped_presets() -> None:
    assert preset_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_preset_spells_out_every_key_in_order(name: str) -> None:
    """Oracle: the declared fields of the config models; an optional section may be null."""
    found = leaves(load_preset(name))
    absent = "condition.first_stage" if "condition.first_stage" in found else "nothing"
    keys = [absent if setting.key.startswith(f"{absent}.") else setting.key for setting in settings()]
    assert found == list(dict.fromkeys(keys))


@pytest.mark.parametrize("name", NAMES)
def test_preset_is_valid_named_as_its_file_and_has_a_header(name: str) -> None:
    assert resolve(name).name == name
    assert len(preset_summary(name)) > 20
    header = read_preset(name).partition("\nname:")[0]
    for part in (f"vqgan train-ae --preset {name}", "Written for:", "Expect:", "Numbers:", "et al. 20"):
        assert part in header


@pytest.mark.parametrize("name", NAMES)
def test_dump_reads_back_equal(name: str, tmp_path: Path) -> None:
    """Invariant: reading what was dumped gives the same config."""
    config = resolve(name)
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump(config), encoding="utf-8")
    assert resolve(str(copy)) == config


def test_published_facts() -> None:
    """Oracle: codebook sizes, downsampling and start of the discriminator as published."""
    facts = {
        "faces": ("vq", 1024, 256, 16, 30001),
        "imagenet": ("vq", 16384, 256, 16, 250001),
        "openimages-f8": ("gumbel", 8192, 256, 8, 250001),
        "modern-f16": ("l2", 16384, 8, 16, 20000),
    }
    for name, expected in facts.items():
        config = resolve(name)
        tokenizer = config.tokenizer
        assert expected == (
            tokenizer.quantizer.kind,
            tokenizer.codebook_size,
            tokenizer.codebook_dim,
            tokenizer.downsampling,
            config.train_ae.adversarial_start(),
        )
    vqvae = resolve("vqvae").train_ae
    assert (vqvae.reconstruction, vqvae.perceptual.kind, vqvae.adversarial.weight) == ("l2", "none", 0)
    assert resolve("demo").train_ae.perceptual.kind == "none"
    assert resolve("demo").data.source == resolve("faces").data.source == "synthetic:faces"


def test_precedence() -> None:
    assert resolve().tokenizer.codebook_size == 1024
    assert resolve("imagenet").tokenizer.codebook_size == 16384
    assert (
        resolve(
            "imagenet", ["tokenizer.codebook_size=7", "tokenizer.codebook_size=8"]
        ).tokenizer.codebook_size
        == 8
    )
    config = resolve(
        "imagenet", ["tokenizer.codebook_size=8"], {"tokenizer.codebook_size": 9, "data.source": None}
    )
    assert config.tokenizer.codebook_size == 9
    assert config.data.source is None
    assert config.tokenizer.codebook_dim == 256


def test_a_file_of_the_user(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yml"
    mine.write_text("name: mine\ndata: {size: 64}\n", encoding="utf-8")
    config = resolve(str(mine))
    assert (config.name, config.data.size, config.tokenizer) == ("mine", 64, ExperimentConfig().tokenizer)
    mine.write_text("# nothing yet\n", encoding="utf-8")
    assert resolve(str(mine)) == ExperimentConfig()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("2.5e3", 2.5e3),
        ("-1.e-2", -1e-2),
        (".5e1", 5.0),
        ("12", 12),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("", None),
        ("none", "none"),
        ("[1, 2]", [1, 2]),
        ("1e", "1e"),
        ("e5", "e5"),
        ("'1e-4'", "1e-4"),
        ("a=b", "a=b"),
    ],
)
def test_values_of_overrides(text: str, value: Any) -> None:
    """Oracle: the numbers of YAML 1.2."""
    path, parsed = parse_override(f"train_ae.learning_rate={text}")
    assert path == ("train_ae", "learning_rate")
    assert parsed == value
    assert type(parsed) is type(value)


def test_numbers_with_exponent_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("train_ae: {learning_rate: 1e-4, steps: 1e3}\n", encoding="utf-8")
    config = resolve(str(file), ["train_ae.adversarial.start=1e2"])
    assert (config.train_ae.learning_rate, config.train_ae.steps) == (1e-4, 1000)
    assert config.train_ae.adversarial_start() == 100


@pytest.mark.parametrize(
    "text", ["nothing", "=1", "a..b=1", ".a=1", "a= [1", "a={b: 1, b: 2}", "a=!!python/name:os.x"]
)
def test_malformed_overrides(text: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        parse_override(text)


def test_merge_lays_sections_over_sections() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merge(base, {"a": {"c": [3]}, "d": {"e": 2}}) == {"a": {"b": 1, "c": [3]}, "d": {"e": 2}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


def test_all_problems_at_once() -> None:
    assert problems(
        "tokenizer.codebok_size=1",
        "train_ae.steps=many",
        "nothing",
        "data.crop=rndom",
        "train_ae.betas=[0.5, 2]",
        **{"train_ae.batch_size": 0},
    ) == [
        "--set 'nothing': expected section.key=value, such as tokenizer.codebook_size=512",
        "data.crop: 'rndom' is not one of center, random, random-resized (did you mean 'random'?)",
        "tokenizer.codebok_size: unknown key (did you mean 'tokenizer.codebook_size'?)",
        "train_ae.steps: 'many' is not a whole number above 0",
        "train_ae.batch_size: 0 is not a whole number above 0",
        "train_ae.betas[1]: 2 is not a number from 0 to 1",
    ]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("codebook_size=1", "codebook_size: unknown key (did you mean 'tokenizer.codebook_size'?)"),
        ("trian_ae.steps=1", "trian_ae: unknown key (did you mean 'train_ae'?)"),
        (
            "train_ae.perceptual.wieght=1",
            "train_ae.perceptual.wieght: unknown key (did you mean 'train_ae.perceptual.weight'?)",
        ),
        (
            "train_ae.weight=1",
            "train_ae.weight: unknown key "
            "(did you mean 'train_ae.perceptual.weight' or 'train_ae.adversarial.weight'?)",
        ),
        (
            "train_ae.codebook_sise=1",
            "train_ae.codebook_sise: unknown key (did you mean 'tokenizer.codebook_size'?)",
        ),
        ("data.zzz=1", "data.zzz: unknown key"),
        ("tokenizer=5", "tokenizer: expected keys with values, not 5"),
        ("data=", "data: expected keys with values, not null"),
        ("train_ae.steps=true", "train_ae.steps: true is not a whole number above 0"),
        ("train_ae.steps=1.5", "train_ae.steps: 1.5 is not a whole number above 0"),
        ("data.workers=-1", "data.workers: -1 is not a whole number of at least 0"),
        ("train_ae.compile=maybe", "train_ae.compile: 'maybe' is not true or false"),
        ("train_ae.perceptual.kind=", "train_ae.perceptual.kind: null is not one of lpips, features, none"),
        ("train_ae.forward_passes=3", "train_ae.forward_passes: 3 is not one of 1, 2"),
        ("data.source=5", "data.source: 5 is not text or null"),
        ("name=a b", "name: 'a b' is not text that matches ^[A-Za-z0-9][A-Za-z0-9._-]*$"),
        ("train_ae.ema_decay=1", "train_ae.ema_decay: 1 is not a number of at least 0 and below 1"),
        (
            "tokenizer.channels=33",
            "tokenizer: channels (33) times each channel multiplier must be "
            "a multiple of 32 for the 32 groups of GroupNorm",
        ),
        (
            "data.size=100",
            "data.size 100 is not a multiple of the tokenizer's f = 16; the nearest sizes are 96 and 112",
        ),
    ],
)
def test_problem_in_plain_words(override: str, problem: str) -> None:
    assert problems(override) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "name: a\ndata:\n  size: 64\n  flip: 0\n  size: 32\nname: b\n",
            "line 5: key 'size' was given before, on line 3",
        ),
        ("name: a\ndata: [1\n", "line 3, column 1: "),
        ("data:\n\tsize: 1\n", "line 2, column 1: "),
        ("- 1\n", "expected keys with values"),
        ("tokenizer.codebook_size: 5\n", "write its section"),
        ("name: \x07\n", "special characters"),
        ("a: &x {b: *x}\n", "line 1, column 11: the value holds itself"),
    ],
)
def test_problems_of_a_file_name_it(text: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"in preset '.*mine\.yaml'") as caught:
        resolve(str(file))
    assert any(problem in found for found in caught.value.problems)


def test_both_duplicates_are_reported(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: a\ndata: {size: 64, size: 32}\nname: b\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_preset(str(file))
    assert len(caught.value.problems) == 2


def test_nothing_in_a_file_executes(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    file = tmp_path / "evil.yaml"
    file.write_text(f"name: !!python/object/apply:os.mkdir ['{marker}']\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 1"):
        load_preset(str(file))
    assert not marker.exists()


def test_presets_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'faces'"):
        preset_path("face")
    with pytest.raises(UsageError, match="no preset file"):
        preset_path(str(tmp_path / "absent.yaml"))
    with pytest.raises(UsageError, match="no preset file"):
        preset_path(str(tmp_path) + "/")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\n")
    with pytest.raises(UsageError, match="UTF-8"):
        load_preset(str(tmp_path / "latin.yaml"))


def test_every_key_is_described() -> None:
    for setting in settings():
        assert setting.description.endswith("."), setting.key
        assert setting.expected, setting.key
    assert len({setting.key for setting in settings()}) == len(settings())


def test_presets_are_plain_yaml_1_1_too() -> None:
    """Oracle: stock PyYAML reads the same values from a shipped preset, except 4.5e-6, which it takes for text."""
    for name in NAMES:
        stock = yaml.safe_load(read_preset(name))
        stock["train_ae"]["learning_rate"] = float(stock["train_ae"]["learning_rate"])
        assert stock == load_preset(name)


@pytest.mark.parametrize(
    ("kind", "channels", "reconstruction"),
    [("segmentation", 4, "cross-entropy"), ("depth", 1, "l1"), ("keypoints", 3, "l1")],
)
def test_tokenizer_of_maps_that_a_preset_leaves_open(kind: str, channels: int, reconstruction: str) -> None:
    """Oracle: the tokenizer of the images but for channels and loss; what is given lies over it."""
    assert resolve("demo").condition.first_stage is None
    given = "condition.first_stage.train_ae.steps=7"
    config = resolve("demo", [f"condition.kind={kind}", given])
    own = config.of_condition()
    assert (own.data.kind, own.train_ae.steps) == (kind, 7)
    assert own.train_ae.reconstruction == reconstruction
    assert own.tokenizer.in_channels == own.tokenizer.out_channels == channels
    same = {"in_channels": 3, "out_channels": 3}
    assert own.tokenizer.model_copy(update=same) == config.tokenizer
    assert own.train_ae.adversarial.weight == (config.train_ae.adversarial.weight if channels == 3 else 0)


def test_tokenizer_of_label_maps_has_a_channel_per_class() -> None:
    """Oracle: the classes and one for the ignored; four while they are not counted."""
    for changes, channels in (("19", 19), ("19, ignore_label: 255", 20), ("0", 4)):
        config = resolve("demo", ["condition.kind=segmentation", f"data.maps={{classes: {changes}}}"])
        assert config.of_condition().tokenizer.in_channels == channels
