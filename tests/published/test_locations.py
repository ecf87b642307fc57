"""Addresses: which text names what, and where on this machine it belongs."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqgan_cli.core.published.locations import HubFile, UrlFile, parse_remote

LAMA = HubFile("FoundationVision/LlamaGen", "vq_ds16_c2i.pt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://FoundationVision/LlamaGen/vq_ds16_c2i.pt", LAMA),
        ("hf://models/FoundationVision/LlamaGen/vq_ds16_c2i.pt", LAMA),
        ("hf://o/r/a/b.pt@v1.0", HubFile("o/r", "a/b.pt", "v1.0")),
        ("hf://o/r@v1/a/b.pt", HubFile("o/r", "a/b.pt", "v1")),
        ("https://huggingface.co/FoundationVision/LlamaGen/resolve/main/vq_ds16_c2i.pt?download=true", LAMA),
        ("https://huggingface.co/FoundationVision/LlamaGen/blob/main/vq_ds16_c2i.pt", LAMA),
        ("https://hf.co/o/r/resolve/refs%2Fpr%2F1/a%20b.pt", HubFile("o/r", "a b.pt", "refs/pr/1")),
        ("https://example.org/o/r/resolve/main/x.pt", UrlFile("https://example.org/o/r/resolve/main/x.pt")),
        ("http://example.org/x.pt", UrlFile("http://example.org/x.pt")),
        ("models/x.pt", None),
        ("x.pt", None),
        ("C:/x.pt", None),
        ("ftp://example.org/x.pt", None),
        ("http:x.pt", None),
    ],
)
def test_text_names_a_file(text: str, expected: HubFile | UrlFile | None) -> None:
    assert parse_remote(text) == expected


def test_page_of_a_mirror_is_one_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert parse_remote("https://mirror.example/o/r/resolve/main/x.pt") == HubFile("o/r", "x.pt")
    assert (
        HubFile("o/r", "a b.pt", "refs/pr/1").url
        == "https://mirror.example/o/r/resolve/refs%2Fpr%2F1/a%20b.pt"
    )


@pytest.mark.parametrize("file", [LAMA, HubFile("o/r", "a/b.pt", "v1.0")], ids=str)
def test_text_of_a_file_names_it_again(file: HubFile) -> None:
    assert parse_remote(str(file)) == file


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.test/files/vq-f4.zip", "vq-f4.zip"),
        ("https://x.test/files/a%20b.ckpt#part", "a b.ckpt"),
        ("https://x.test/d/808/files/?p=%2Fckpts%2Flast.ckpt&dl=1", "last.ckpt"),
        ("https://x.test/get/last.ckpt?path=%2Fother.ckpt&force", "last.ckpt"),
        ("https://x.test/download", "download"),
        ("https://x.test", "download"),
        ("https://x.test/?p=..%2F..%2Fx.ckpt", "x.ckpt"),
    ],
)
def test_name_of_a_download(url: str, name: str) -> None:
    """The servers of the catalog hide it in the query; whatever they say, it stays one name."""
    assert UrlFile(url).name == name


def test_files_of_one_name_have_places_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VQGAN_CACHE", "/c")
    one, other = (UrlFile(f"https://x.test/{n}/last.ckpt").place for n in "12")
    assert one != other
    assert one.parent.parent == Path("/c/downloads/x.test")
    assert LAMA.place == Path("/c/downloads/FoundationVision/LlamaGen/vq_ds16_c2i.pt")
