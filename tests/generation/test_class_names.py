"""Texts that name classes. Oracle: the documented rules, and ImageNet's published class numbers."""

from __future__ import annotations

import pytest

from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.generation.class_names import ClassNames

PETS = ClassNames(["n02099601_golden_retriever", "n02123045_tabby", "Shih-Tzu", "tiger,_the"], 4)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("0", [0]),
        ("3, 1,3", [3, 1]),
        ("all", [0, 1, 2, 3]),
        ("golden retriever", [0]),
        ("Golden_Retriever", [0]),
        ("n02099601_golden_retriever", [0]),
        ("n02123045", [1]),
        ("shih tzu", [2]),
        ("tiger, the", [3]),
        ("tabby,0", [1, 0]),
    ],
)
def test_texts_and_classes(text: str, classes: list[int]) -> None:
    assert PETS.find(text) == classes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4", "class 4: the model has 4 classes, 0 to 3"),
        ("-1", "the model has no class '-1'"),
        ("goldn retriever", "did you mean 'golden retriever'"),
        ("", "the model has no class ''"),
        ("0,,1", "the model has no class ''"),
    ],
)
def test_texts_that_name_no_class(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        PETS.find(text)
    assert message in caught.value.message
    assert caught.value.hint is not None
    assert "a number from 0 to 3" in caught.value.hint
    assert "golden retriever, tabby, Shih-Tzu" in caught.value.hint


def test_a_name_of_digits_wins_over_a_number() -> None:
    digits = ClassNames(["1", "2", "3"], 3)
    assert digits.find("1,3") == [0, 2]
    assert digits.find("0") == [0]  # no class is called so


def test_several_classes_of_one_name() -> None:
    with pytest.raises(UsageError, match="the name of the classes 0 and 2"):
        ClassNames(["A_b", "c", "a b"], 3).find("a-b")


def test_names_for_people() -> None:
    assert [PETS.name(index) for index in range(2)] == ["golden retriever", "tabby"]
    assert ClassNames([], 3).name(2) == "2"


@pytest.mark.parametrize(
    "names",
    [
        [],
        [f"{index:04d}" for index in range(1000)],
        [f"class_{index}" for index in range(1000)],
        [f"n{index:08d}" for index in range(1000)],
    ],
    ids=lambda names: names[1] if names else "none",
)
def test_numbered_classes_are_those_of_imagenet(names: list[str]) -> None:
    found = ClassNames(names, 1000)
    assert found.is_imagenet
    assert found.find("golden retriever") == [207]
    assert found.find("Tench,999") == [0, 999]
    assert found.name(207) == "golden retriever"
    with pytest.raises(UsageError, match="the classes 264 and 474"):
        found.find("cardigan")


@pytest.mark.parametrize(
    "names",
    [
        [f"bird {chr(97 + index % 26)}{index}" for index in range(1000)],
        [f"n{1000 - index:08d}" for index in range(1000)],
        [str(index + 1) for index in range(1000)],
    ],
    ids=lambda names: names[0],
)
def test_other_models_of_a_thousand_classes(names: list[str]) -> None:
    found = ClassNames(names, 1000)
    assert not found.is_imagenet
    with pytest.raises(UsageError, match="no class 'golden retriever'"):
        found.find("golden retriever")
    assert not ClassNames([], 999).is_imagenet
