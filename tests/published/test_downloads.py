"""Files at addresses of their own: resumed, checked, and never half there."""

from __future__ import annotations

import errno
import hashlib
import io
import threading
import zipfile
from pathlib import Path

import pytest

from tests.published.conftest import Heard
from tests.published.servers import Answer, Break, Server, Stall
from vqgan_cli.core.errors import OutputError, WeightsError
from vqgan_cli.core.published import downloads
from vqgan_cli.core.published.hub import fetch
from vqgan_cli.core.published.locations import UrlFile

WEIGHTS = bytes(range(256)) * 4096 + b"the end"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture(autouse=True)
def _impatient(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PAUSE", 0.0)


def refusal(file: UrlFile, heard: Heard, kind: type[Exception] = WeightsError) -> str:
    with pytest.raises(kind) as caught:
        fetch(file, heard)
    return f"{caught.value.message}\n{caught.value.hint}"  # type: ignore[attr-defined]


def files_of(file: UrlFile) -> dict[str, int]:
    """What lies in the folder of a download, with sizes, without the lock."""
    found = file.place.parent.iterdir() if file.place.parent.is_dir() else []
    return {path.name: path.stat().st_size for path in found if not path.name.endswith(".lock")}


def test_file_is_put_in_its_place_with_progress(server: Server, heard: Heard, cache: Path) -> None:
    """Oracle: the bytes that were served; the second call asks for nothing."""
    file = UrlFile(server.put("/a/last.ckpt?x=1", WEIGHTS), sha256=SHA256, bytes=len(WEIGHTS))
    path = fetch(file, heard)
    assert path.read_bytes() == WEIGHTS
    assert path.is_relative_to(cache / "downloads" / "127.0.0.1")
    assert path.name == "last.ckpt"
    assert heard.bars == [["downloading last.ckpt", 1, 1], ["checking last.ckpt", 1, 1]]
    assert (fetch(file, heard), len(server.requests)) == (path, 1)
    assert files_of(file) == {"last.ckpt": len(WEIGHTS)}


def test_broken_transfer_goes_on_where_it_broke(server: Server, heard: Heard) -> None:
    """Oracle: each byte is sent once, in one call."""
    url = server.put("/w.pt", WEIGHTS)
    server.faults["/w.pt"].extend([Break(0), Break(500_001), Break(10)])
    assert fetch(UrlFile(url), heard).read_bytes() == WEIGHTS
    assert server.sent("/w.pt") == [0, 500_001, 10, len(WEIGHTS) - 500_011]
    assert len(heard.warnings) == 3
    assert "broke after 0 MiB" in heard.warnings[0]


def test_next_call_goes_on_too(server: Server, heard: Heard) -> None:
    """Oracle: each byte is sent once, in two calls; the first leaves nothing under the file's name."""
    file = UrlFile(server.put("/w.pt", WEIGHTS))
    server.faults["/w.pt"].extend([Break(300_000), *[Break(0)] * downloads.TRIES])
    text = refusal(file, heard)
    assert f"cannot download w.pt from {file.url}" in text
    assert "repeat the command to go on" in text
    assert files_of(file) == {"w.pt.partial": 300_000, "w.pt.partial.mark": 10}
    assert fetch(file, heard).read_bytes() == WEIGHTS
    assert sum(server.sent("/w.pt")) == len(WEIGHTS)
    assert heard.bars[-1] == ["downloading w.pt", 1, 1]
    assert files_of(file) == {"w.pt": len(WEIGHTS)}


def test_file_that_changed_meanwhile_is_begun_anew(server: Server, heard: Heard) -> None:
    """Two halves of different versions would make a file that nobody published."""
    file = UrlFile(server.put("/w.pt", b"a" * 2_000_000))
    server.faults["/w.pt"].extend([Break(300_000), *[Break(0)] * downloads.TRIES])
    refusal(file, heard)
    server.put("/w.pt", WEIGHTS)
    assert fetch(file, heard).read_bytes() == WEIGHTS


@pytest.mark.parametrize("now", [b"short", WEIGHTS[:300_000]], ids=["shorter", "as-long-as-the-part"])
def test_file_that_became_shorter_is_begun_anew(server: Server, heard: Heard, now: bytes) -> None:
    file = UrlFile(server.put("/w.pt", WEIGHTS, etag='"same"'))
    server.faults["/w.pt"].extend([Break(300_000), *[Break(0)] * downloads.TRIES])
    refusal(file, heard)
    server.put("/w.pt", now, etag='"same"')
    assert fetch(file, heard).read_bytes() == now


def test_server_without_ranges_or_versions_is_asked_for_all(server: Server, heard: Heard) -> None:
    """A weak tag does not promise the same bytes, and a server may ignore a range: neither may mix two files."""
    for url in (server.put("/a.pt", WEIGHTS, ranges=False), server.put("/b.pt", WEIGHTS, etag='W/"1"')):
        server.faults[url.removeprefix(server.address)].append(Break(300_000))
        assert fetch(UrlFile(url), heard).read_bytes() == WEIGHTS
    assert server.sent("/a.pt") == server.sent("/b.pt") == [300_000, len(WEIGHTS)]


def test_stalled_transfer_goes_on_after_the_timeout(
    server: Server, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    url = server.put("/w.pt", WEIGHTS)
    server.faults["/w.pt"].append(Stall(100_000))
    assert fetch(UrlFile(url), heard).read_bytes() == WEIGHTS
    assert sum(server.sent("/w.pt")) == len(WEIGHTS)


def test_server_that_never_answers_is_given_up(
    server: Server, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    server.silent.add("/w.pt")
    assert "no answer within 0.2 seconds" in refusal(UrlFile(f"{server.address}/w.pt"), heard)


def test_wrong_content_is_named_and_removed(server: Server, heard: Heard) -> None:
    file = UrlFile(server.put("/w.pt", WEIGHTS), sha256="0" * 64)
    text = refusal(file, heard)
    assert f"SHA-256 {'0' * 64}, but found {SHA256}" in text
    assert f"`vqgan import {file.url}`" in text
    assert files_of(file) == {}
    text = refusal(UrlFile(file.url, bytes=5), heard)
    assert f"it has {len(WEIGHTS)} bytes there, and 5 were expected" in text
    assert server.sent("/w.pt")[-1] == len(WEIGHTS)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(404), "there is no such file (status 404)"),
        (Answer(403), "access is refused (status 403); open https://share.test/page in a browser"),
        (Answer(401), "it wants a login (status 401); open https://share.test/page in a browser"),
        (Answer(503), "Service Unavailable (status 503)"),
        (
            Answer(200, body=b"<html>Log in", content_type="text/html; charset=utf-8"),
            "answers with a web page",
        ),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else "",
)
def test_refusal_is_one_message(server: Server, heard: Heard, answer: Answer, expected: str) -> None:
    """What, from where, why, and where a copy would be found; nobody asks twice."""
    file = UrlFile(server.put("/w.pt", WEIGHTS), referer="https://share.test/page")
    server.faults["/w.pt"].append(answer)
    text = refusal(file, heard)
    assert f"cannot download w.pt from {file.url}: " in text
    assert expected in text
    assert f"put the file at {str(file.place)!r} by other means" in text
    assert "import a copy of it: vqgan import FILE" in text
    assert len(server.requests) == 1
    assert server.requests[0].headers["Referer"] == "https://share.test/page"
    assert heard.warnings == []
    assert file.place.parent.is_dir()


def test_unreachable_server_is_one_message_at_once(server: Server, heard: Heard) -> None:
    server.close()
    assert "Connection refused" in refusal(UrlFile(f"{server.address}/w.pt"), heard)
    assert "no connection" in refusal(UrlFile("http://nowhere.invalid/w.pt"), heard)
    assert heard.warnings == []


def test_file_put_there_by_hand_is_found_and_checked(heard: Heard) -> None:
    file = UrlFile("http://127.0.0.1:9/w.pt", sha256=SHA256)
    file.place.parent.mkdir(parents=True)
    file.place.write_bytes(WEIGHTS)
    assert fetch(file, heard).read_bytes() == WEIGHTS
    file.place.write_bytes(b"something else")
    assert f"SHA-256 {SHA256}, but found" in refusal(file, heard)
    assert file.place.read_bytes() == b"something else"


def test_member_of_an_archive(server: Server, heard: Heard) -> None:
    """Only the member stays; the archive is checked before it is opened, and a later call asks for nothing."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("model.ckpt", WEIGHTS)
    packed = archive.getvalue()
    url = server.put("/vq.zip", packed)
    file = UrlFile(url, member="model.ckpt", sha256=hashlib.sha256(packed).hexdigest())
    path = fetch(file, heard)
    assert (path.name, path.read_bytes()) == ("model.ckpt", WEIGHTS)
    assert not file.place.exists()
    assert (fetch(file, heard), len(server.requests)) == (path, 1)
    assert "holds no 'other.ckpt', but model.ckpt" in refusal(UrlFile(url, member="other.ckpt"), heard)
    bad = UrlFile(server.put("/bad.zip", packed[:-30]), member="model.ckpt")
    text = refusal(bad, heard)
    assert "is damaged: File is not a zip file" in text
    assert not (bad.place.with_name("bad.zip.content") / "model.ckpt").exists()


def test_full_disk_is_named_and_nothing_is_lost(
    server: Server, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own error, raised where a full disk raises it."""
    file = UrlFile(server.put("/w.pt", WEIGHTS))

    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(downloads, "_copy", full)
        text = refusal(file, heard, OutputError)
    assert f"cannot write to {str(file.place.parent)!r}: No space left on device" in text
    assert "VQGAN_CACHE" in text
    assert fetch(file, heard).read_bytes() == WEIGHTS


def test_cache_that_cannot_be_written_is_named(server: Server, heard: Heard, cache: Path) -> None:
    """A file where the cache should be: no user, not even root, can make a folder there."""
    cache.write_text("in the way")
    text = refusal(UrlFile(server.put("/w.pt", WEIGHTS)), heard, OutputError)
    assert "cannot write to" in text
    assert "VQGAN_CACHE" in text
    assert server.requests == []


def test_two_calls_at_once_download_once(server: Server) -> None:
    """Invariant: the second waits for the first, says so, and finds the file."""
    file = UrlFile(server.put("/w.pt", WEIGHTS))
    server.faults["/w.pt"].append(Stall(1000))
    found: list[Path] = []
    first = threading.Thread(target=lambda: found.append(fetch(file, Heard())))
    first.start()
    while not server.requests:
        first.join(0.01)

    class Waiting(Heard):
        def info(self, message: str) -> None:
            super().info(message)
            server.release()  # so that the first goes on, not before the second waits

    second = Waiting()
    assert fetch(file, second).read_bytes() == WEIGHTS
    first.join()
    assert found == [file.place]
    assert second.infos == [
        "another process is downloading w.pt: waiting for it",
        f"found {file.place}",
    ]
    assert sum(server.sent("/w.pt")) == len(WEIGHTS)
