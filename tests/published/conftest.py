"""The server, an empty cache, and a reporter that remembers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.published.servers import Server
from tests.recipes.conftest import vqgan as vqgan
from vqgan_cli.core.reporting import Progress, Reporter


class Heard(Reporter):
    """Messages in order; and of each progress its description, total and last state."""

    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []
        self.bars: list[list[object]] = []

    def info(self, message: str) -> None:
        self.infos.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def facts(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        self.infos += [f"{name}: {value}" for name, value in rows]

    @contextmanager
    def progress(self, description: str, total: int | None, unit: str, done: int = 0) -> Iterator[Progress]:
        bar: list[object] = [description, total, done]
        self.bars.append(bar)

        class Last(Progress):
            def update(self, done: int, values: Mapping[str, str] | None = None) -> None:
                bar[2] = done

        yield Last()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this program and that of the hub's library, both empty."""
    from huggingface_hub import constants

    for name in (
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_ENDPOINT",
        "VQGAN_CATALOG",
        "HTTP_PROXY",
        "http_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VQGAN_CACHE", str(tmp_path / "cache"))
    # The library reads its own variables once, when it is imported.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # It would also ask the public hub once a day which programs may have started it.
    (tmp_path / "programs.json").write_text('{"harnesses": {}}')
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "programs.json"), raising=False)
    return tmp_path / "cache"


@pytest.fixture
def hub(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server in the hub's place."""
    from huggingface_hub import close_session

    monkeypatch.setenv("HF_ENDPOINT", server.address)
    yield server
    close_session()
