"""Files of the hub: the hub's own library against a server that answers as the hub does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.published.conftest import Heard
from tests.published.servers import COMMIT, Answer, Break, Server, Stall
from vqgan_cli.core.errors import OutputError, UsageError, WeightsError
from vqgan_cli.core.published.hub import fetch, parse_hub_url
from vqgan_cli.core.published.locations import HubFile

REPO, FILE = "owner/repo", "weights.pt"
WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def wanted(**known: object) -> HubFile:
    return HubFile(REPO, FILE, **known)  # type: ignore[arg-type]


def refusal(file: HubFile, heard: Heard, kind: type[Exception] = WeightsError) -> str:
    """Message and hint; both are the whole of what a user sees."""
    with pytest.raises(kind) as caught:
        fetch(file, heard)
    return f"{caught.value.message}\n{caught.value.hint}"  # type: ignore[attr-defined]


def test_file_comes_with_progress_and_is_kept(hub: Server, heard: Heard, tmp_path: Path) -> None:
    """Oracle: the bytes that were served; a second call asks for no body again."""
    elsewhere = hub.put_hub(REPO, FILE, WEIGHTS)
    path = fetch(wanted(sha256=SHA256, bytes=len(WEIGHTS)), heard)
    assert path.read_bytes() == WEIGHTS
    assert path.is_relative_to(tmp_path / "hub")
    assert heard.bars == [["downloading weights.pt", 1, 1], ["checking weights.pt", 1, 1]]
    assert hub.sent(elsewhere) == [len(WEIGHTS)]
    assert fetch(wanted(sha256=SHA256), heard) == path
    assert hub.sent(elsewhere) == [len(WEIGHTS)]
    assert heard.warnings == []


def test_small_file_is_checked_by_its_git_hash(hub: Server, heard: Heard) -> None:
    """Oracle: the hash that git states of these 13 bytes."""
    hub.put_hub(
        REPO, "config.json", b"Hello, World!", large=False, claimed="b45ef6fec89518d314f546fd6c3025367b721684"
    )
    assert fetch(HubFile(REPO, "config.json"), heard).read_bytes() == b"Hello, World!"
    hub.put_hub(
        REPO, "other.json", b"Hello, World?", large=False, claimed="b45ef6fec89518d314f546fd6c3025367b721685"
    )
    text = refusal(HubFile(REPO, "other.json"), heard)
    assert "git hash b45ef6fec89518d314f546fd6c3025367b721685, but found " in text


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes that the library writes at once: what is less is asked for again. They are 10 MiB otherwise."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)
    return 100_000


def test_broken_transfer_goes_on_where_it_broke(hub: Server, heard: Heard, blocks: int) -> None:
    """Oracle: the bytes that the server sent: the second time only those that were not written."""
    elsewhere = hub.put_hub(REPO, FILE, WEIGHTS)
    hub.faults[elsewhere].append(Break(7 * blocks + 5))
    assert fetch(wanted(), heard).read_bytes() == WEIGHTS
    assert hub.sent(elsewhere) == [7 * blocks + 5, len(WEIGHTS) - 7 * blocks]
    assert len(heard.warnings) == 1
    assert "Trying to resume" in heard.warnings[0]


def test_stalled_transfer_goes_on_after_the_timeout(
    hub: Server, heard: Heard, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    elsewhere = hub.put_hub(REPO, FILE, WEIGHTS)
    hub.faults[elsewhere].append(Stall(2 * blocks))
    assert fetch(wanted(), heard).read_bytes() == WEIGHTS
    assert sum(hub.sent(elsewhere)) == len(WEIGHTS)


def test_server_that_never_answers_is_given_up(
    hub: Server, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first question is asked once, with its own timeout."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.2)
    hub.put_hub(REPO, FILE, WEIGHTS)
    path = f"/{REPO}/resolve/main/{FILE}"
    hub.silent.add(path)
    text = refusal(wanted(), heard)
    assert f"cannot download {FILE} from {hub.address}{path}: no answer in time" in text


def test_content_that_is_not_what_the_hub_says_is_removed(hub: Server, heard: Heard, tmp_path: Path) -> None:
    """Expected and found are named; the next call does not take the damaged file out of the cache."""
    stated = hashlib.sha256(b"another").hexdigest()
    hub.put_hub(REPO, FILE, WEIGHTS, claimed=stated)
    text = refusal(wanted(), heard)
    assert f"SHA-256 {stated}, but found {SHA256}" in text
    assert "repeat the command" in text
    assert [
        path for path in (tmp_path / "hub").rglob("*") if path.is_file() and path.stat().st_size > 1000
    ] == []
    del hub.files[f"/cdn/{REPO}/{stated}"]
    hub.put_hub(REPO, FILE, WEIGHTS)
    assert fetch(wanted(), heard).read_bytes() == WEIGHTS


def test_another_file_than_the_catalog_knows_is_not_taken(hub: Server, heard: Heard) -> None:
    """What the publisher replaced is intact, so it stays in the cache; the message says how to import it."""
    hub.put_hub(REPO, FILE, WEIGHTS)
    text = refusal(wanted(sha256="0" * 64), heard)
    assert f"SHA-256 {'0' * 64}, but found {SHA256}" in text
    assert (
        f"its publisher has replaced it; if you trust what is there now: vqgan import hf://{REPO}/{FILE}"
        in text
    )
    assert f"{len(WEIGHTS) + 1} bytes, but found {len(WEIGHTS)}" in refusal(
        wanted(bytes=len(WEIGHTS) + 1), heard
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(404, "EntryNotFound"), "owner/repo has no file 'weights.pt'"),
        (Answer(404, "RevisionNotFound"), "owner/repo has no revision 'main'"),
        (Answer(404), "owner/repo has no file 'weights.pt'"),
        (Answer(401, "RepoNotFound"), "there is no repository owner/repo, or it wants a login"),
        (Answer(401), "there is no repository owner/repo, or it wants a login"),
        (Answer(403, "GatedRepo"), "owner/repo gives access to some only"),
        (Answer(403), "owner/repo gives access to some only"),
        (Answer(500), "the hub answers with status 500"),
    ],
    ids=lambda value: f"{value.status}-{value.code}" if isinstance(value, Answer) else "",
)
def test_refusal_is_one_message(
    hub: Server, heard: Heard, answer: Answer, expected: str, cache: Path
) -> None:
    """It says what and from where, what to set where a login may help, and where a copy would be found."""
    path = f"/{REPO}/resolve/main/{FILE}"
    hub.put_hub(REPO, FILE, WEIGHTS)
    hub.faults[path].append(answer)
    text = refusal(wanted(), heard)
    assert f"cannot download {FILE} from {hub.address}{path}: {expected}" in text
    assert f"put the file at {str(cache / 'downloads' / REPO / FILE)!r} by other means" in text
    assert "import a copy of it: vqgan import FILE" in text
    assert ("HF_TOKEN" in text) == (answer.status in (401, 403))
    assert hub.asked() == [path]


def test_token_of_the_environment_is_sent(hub: Server, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.put_hub(REPO, FILE, WEIGHTS)
    fetch(wanted(), heard)
    tokens = {each.headers.get("authorization", each.headers.get("Authorization")) for each in hub.requests
              if "/resolve/" in each.path}  # fmt: skip
    assert tokens == {"Bearer hf_secret"}


def test_unreachable_hub_is_one_message_at_once(server: Server, cache: Path, heard: Heard,
                                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    address = server.address
    server.close()
    monkeypatch.setenv("HF_ENDPOINT", address)
    text = refusal(wanted(), heard)
    assert f"from {address}/{REPO}/resolve/main/{FILE}: no connection" in text
    assert heard.warnings == []
    # The folder is there, so that a file can be put into it.
    assert (cache / "downloads" / REPO).is_dir()


def test_file_put_there_by_hand_is_found_and_checked(server: Server, cache: Path, heard: Heard,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    place = cache / "downloads" / REPO / FILE
    place.parent.mkdir(parents=True)
    place.write_bytes(WEIGHTS)
    assert fetch(wanted(sha256=SHA256), heard) == place
    assert heard.infos == [f"found {place}"]
    assert f"SHA-256 {'1' * 64}, but found {SHA256}" in refusal(wanted(sha256="1" * 64), heard)
    assert place.is_file(), "what a person put there is not deleted"


def test_cached_file_serves_when_the_hub_is_out_of_reach(
    hub: Server, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also its content is checked, by the name that the cache gives to it."""
    hub.put_hub(REPO, FILE, WEIGHTS)
    path = fetch(wanted(), heard)
    hub.faults[f"/{REPO}/resolve/main/{FILE}"].append(Answer(503))
    assert fetch(wanted(), heard) == path
    assert heard.warnings == [
        "the hub is out of reach (the hub answers with status 503): taking weights.pt from its cache"
    ]
    path.resolve().write_bytes(WEIGHTS[:-1] + b"x")
    hub.faults[f"/{REPO}/resolve/main/{FILE}"].append(Answer(503))
    assert f"SHA-256 {SHA256}, but found" in refusal(wanted(), heard)


def test_offline_mode_asks_nobody(hub: Server, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put_hub(REPO, FILE, WEIGHTS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "offline mode is on (HF_HUB_OFFLINE)" in refusal(wanted(), heard)
    assert hub.requests == []


def test_cache_that_cannot_be_written_is_named(hub: Server, heard: Heard, tmp_path: Path) -> None:
    """A file where the hub's cache should be: no user, not even root, can make a folder there."""
    hub.put_hub(REPO, FILE, WEIGHTS)
    (tmp_path / "hub").write_text("in the way")
    text = refusal(wanted(), heard, OutputError)
    assert f"cannot write to {str(tmp_path / 'hub')!r}" in text
    assert "HF_HOME" in text


def test_folder_of_a_diffusers_model(hub: Server, heard: Heard) -> None:
    """Config first, safetensors before .bin; both lie in one folder, which is what an import takes."""
    config = hub.put_hub(REPO, "vqvae/config.json", b"{}", large=False)
    hub.put_hub(REPO, "vqvae/diffusion_pytorch_model.bin", WEIGHTS)
    folder = fetch(HubFile(REPO, "vqvae"), heard)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "diffusion_pytorch_model.bin"]
    assert hub.asked("HEAD")[0] == config
    hub.put_hub(REPO, "vqvae/diffusion_pytorch_model.safetensors", WEIGHTS[:-1])
    assert (fetch(HubFile(REPO, "vqvae"), heard) / "diffusion_pytorch_model.safetensors").is_file()
    text = refusal(HubFile(REPO, "absent"), heard)
    assert "owner/repo has no file 'absent/config.json'" in text


def test_revision_is_asked_for(hub: Server, heard: Heard) -> None:
    hub.put_hub(REPO, FILE, WEIGHTS, revision=COMMIT)
    assert fetch(parse_hub_url(f"hf://{REPO}/{FILE}@{COMMIT}"), heard).read_bytes() == WEIGHTS


def test_other_texts_name_no_file_of_the_hub() -> None:
    for text in (
        "hf://owner/repo",
        "hf://owner",
        "hf://owner/repo/../x.pt",
        "hf://owner/repo/x.pt@",
        "owner/repo/x.pt",
    ):
        with pytest.raises(UsageError, match="names no file on the hub"):
            parse_hub_url(text)
