"""The page in a real browser, each tool from end to end, and what the server refuses."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.browser import console_errors, open_browser, open_page
from tests.conftest import ROOT
from tests.recipes.conftest import Vqgan
from tests.ui.conftest import FACES
from vqgan_cli.core.data.maps.keypoints import keypoints_json
from vqgan_cli.core.generation.request import Request
from vqgan_cli.core.interactive.background import StopButton
from vqgan_cli.core.interactive.drawing import View, draw_all
from vqgan_cli.core.interactive.maps import map_kind
from vqgan_cli.core.interactive.reconstruction import nearest_codes, reconstruct, with_code
from vqgan_cli.core.interactive.workbench import Workbench, read_photo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("gradio", reason="gradio is not installed")
# gradio and what it stands on warn of each other.
pytestmark = pytest.mark.filterwarnings("ignore")

LIMIT = 1_000_000
# What the page itself gives up: streams that have told all, and pictures that others replace while they are loaded.
HARMLESS = re.compile(r"/gradio_api/(queue/data|heartbeat|upload_progress|file=)\S*: net::ERR_ABORTED$")

Serve = Callable[[Workbench], str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Starts the server of a model, unless it runs, and gives its address. One runs at a time, as in the command:
    gradio takes the folder of its files from the environment.
    """
    from vqgan_cli.ui.server import serving

    address: dict[Path, str] = {}
    with ExitStack() as running:

        def start(bench: Workbench) -> str:
            if bench.info.path not in address:
                running.close()
                address.clear()
                server = running.enter_context(serving(bench, port=None, max_upload=LIMIT))
                thread = threading.Thread(target=server.run)
                thread.start()
                running.callback(thread.join)
                running.callback(server.stop)
                address[bench.info.path] = server.address
            return address[bench.info.path]

        yield start


@contextmanager
def page_of(browser: Browser, address: str, tool: str, *, quiet: bool = True) -> Iterator[Page]:
    """The page at a tool; at the end nothing may have gone wrong in it."""
    with open_page(browser) as page:
        page.goto(address)
        page.get_by_role("tab", name=tool).click()
        page.wait_for_selector(f"#{tool.lower()}-photo, #{tool.lower()}-draw")
        yield page
        errors = [error for error in console_errors(page) if not HARMLESS.search(error)]
        assert not quiet or errors == []


def says(page: Page, where: str, text: str) -> None:
    page.locator(where, has_text=text).wait_for()


def upload(page: Page, where: str, file: Path) -> None:
    page.set_input_files(f"{where} input[type=file]", file)


def shown(page: Page, where: str) -> list[np.ndarray]:
    """The pictures of a component, as the server gives them."""
    page.locator(f"{where} img").first.wait_for()
    sources = page.locator(f"{where} img").evaluate_all("all => all.map(each => each.src)")
    return [np.asarray(Image.open(io.BytesIO(page.request.get(source).body()))) for source in sources]


def number(page: Page, label: str, value: int) -> None:
    """Fill the number field of a slider or a number, in the tab that is open."""
    field = (
        page.get_by_label(label, exact=False).and_(page.locator("input[type=number]")).locator("visible=true")
    )
    field.first.fill(str(value))
    field.first.press("Tab")


def drawn(bench: Workbench, request: Request, label: int | None) -> list[np.ndarray]:
    """Oracle: the same without a page."""
    views: list[View] = []
    draw_all(bench, request, label, StopButton(), views.append)
    return views[-1].pictures


def test_reconstruct(browser: Browser, serve: Serve, tokenizer: Workbench, photo: Path) -> None:
    made = reconstruct(tokenizer, read_photo(tokenizer, photo, 32))
    with page_of(browser, serve(tokenizer), "Reconstruct") as page:
        says(page, "#missing", "tokenizer alone")
        assert page.get_by_role("tab").count() == 1
        upload(page, "#reconstruct-photo", photo)
        (picture,) = shown(page, "#reconstruct-picture")
        scale = len(picture) // len(made.picture)
        assert np.array_equal(picture[::scale, ::scale], made.picture)

        # The middle of the picture is shown in the middle, whatever surrounds it: the cell below and right of it.
        rows, columns = made.codes.shape
        cell = (rows // 2, columns // 2)
        box = page.locator("#reconstruct-codes img").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2 + 3)
        says(page, "#reconstruct-cell", f"Row {cell[0]}, column {cell[1]}: code {made.codes[cell]}.")

        page.get_by_label("Code, 0 to 299").fill("123")
        page.click("#reconstruct-put")
        says(page, "#reconstruct-cell", f"code 123. Its own is {made.codes[cell]}.")
        (picture,) = shown(page, "#reconstruct-picture")
        assert np.array_equal(picture[::scale, ::scale], with_code(tokenizer, made, cell, 123).picture)

        near = nearest_codes(tokenizer, int(made.codes[cell]), 8)
        page.locator("#reconstruct-near img").nth(3).click()
        says(page, "#reconstruct-cell", f"code {near[3]}.")

        page.click("#reconstruct-reset")
        says(page, "#reconstruct-cell", f"code {made.codes[cell]}.")
        page.click("#reconstruct-save")
        with page.expect_download() as download:
            page.locator("a[download]", has_text="192").or_(
                page.locator("a[download='codes.npy']")
            ).first.click()
        assert np.array_equal(np.load(download.value.path())[0], made.codes)


def test_generate(browser: Browser, serve: Serve, by_class: Workbench) -> None:
    with page_of(browser, serve(by_class), "Generate") as page:
        page.locator("#generate-class input").click()
        page.get_by_role("option", name="1: tabby").click()
        number(page, "Seed", 7)
        page.click("#generate-draw")
        says(page, "#generate-status", "4 images of 8x8")
        assert np.array_equal(shown(page, "#generate-images"), drawn(by_class, Request(images=4, seed=7), 1))
        assert "--class 1 --images 4 --seed 7" in page.locator(".cm-content").inner_text()


def test_stop(browser: Browser, serve: Serve, by_class: Workbench) -> None:
    with page_of(browser, serve(by_class), "Generate") as page:
        number(page, "Height", 256)
        number(page, "Width", 256)
        page.click("#generate-draw")
        says(page, "#generate-status", "codes (")
        page.click("#generate-stop")
        says(page, "#generate-status", "Stopped.")


def test_two_people_at_once(browser: Browser, serve: Serve, by_class: Workbench) -> None:
    address = serve(by_class)
    with page_of(browser, address, "Generate") as one, page_of(browser, address, "Generate") as other:
        number(one, "Seed", 1)
        number(other, "Seed", 2)
        one.click("#generate-draw")
        other.click("#generate-draw")
        for page, seed in ((one, 1), (other, 2)):
            says(page, "#generate-status", "4 images of 8x8")
            expected = drawn(by_class, Request(images=4, seed=seed), None)
            assert np.array_equal(shown(page, "#generate-images"), expected)


def test_complete(browser: Browser, serve: Serve, by_class: Workbench, photo: Path, tmp_path: Path) -> None:
    picture = read_photo(by_class, photo, 8)
    with page_of(browser, serve(by_class), "Complete") as page:
        upload(page, "#complete-photo", photo)
        page.wait_for_selector("#complete-editor canvas")
        page.wait_for_timeout(1500)  # the canvas fits itself to its picture, and says nothing when it is done
        page.click("#complete-draw")
        page.get_by_text("the paint leaves nothing to draw").wait_for()

        says(page, "#complete-status", "Nothing was drawn.")
        page.locator("#complete-editor").scroll_into_view_if_needed()
        canvas = page.locator("#complete-editor canvas").first.bounding_box()
        assert canvas is not None
        x, y = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
        page.mouse.move(x - 30, y)
        page.mouse.down()
        page.mouse.move(x + 30, y, steps=5)
        page.mouse.up()
        page.wait_for_timeout(500)  # it is sent after a pause
        page.click("#complete-draw")
        says(page, "#complete-status", "2 images of 8x10")
        for each in shown(page, "#complete-images"):
            assert np.array_equal(each[0], picture[0])  # far from the paint
            assert not np.array_equal(each, picture)

        page.get_by_label("the lower half").check()
        number(page, "Images", 3)  # so that its end is not taken for that of the one before
        page.click("#complete-draw")
        says(page, "#complete-status", "3 images of 8x10")
        Image.fromarray(picture).save(tmp_path / "photo.png")
        request = Request(
            images=3, complete=tmp_path / "photo.png", known="top:0.5", blend=True, size=(8, 10)
        )
        page.wait_for_timeout(500)
        assert np.array_equal(shown(page, "#complete-images"), drawn(by_class, request, 0))


def test_condition(browser: Browser, serve: Serve, by_map: Workbench, tmp_path: Path) -> None:
    labels = tmp_path / "labels.png"
    Image.fromarray(FACES.draw(1, 0, 32, 32).segmentation).save(labels)
    with page_of(browser, serve(by_map), "Condition") as page:
        says(page, ".vqgan-legend", "earring")
        page.wait_for_selector("#condition-editor canvas")
        page.wait_for_timeout(1000)
        with page.expect_file_chooser() as chooser:
            page.click("#condition-upload")
        chooser.value.set_files(labels)
        page.wait_for_timeout(2500)
        page.click("#condition-draw")
        says(page, "#condition-status", "4 images of 32x32")
        expected = drawn(by_map, Request(images=4, condition=str(labels), size=(32, 32)), None)
        assert np.array_equal(shown(page, "#condition-images"), expected)
        assert shown(page, "#condition-map")[0].shape == (32, 32, 3)


def draws_by(page: Page, bench: Workbench, request: Request) -> None:
    """The page draws what it is asked for, and shows the map; the number of images must be another each time."""
    assert request.size is not None
    number(page, "Images", request.images)
    page.click("#condition-draw")
    says(page, "#condition-status", f"{request.images} images of {request.size[0]}x{request.size[1]}")
    assert np.array_equal(shown(page, "#condition-images"), drawn(bench, request, None))
    assert shown(page, "#condition-map")[0].any()


@pytest.mark.parametrize("kind", ["edges", "lowres"])
def test_condition_of_a_photo_and_by_a_map(
    browser: Browser,
    serve: Serve,
    by_edges: Workbench,
    larger: Workbench,
    kind: str,
    photo: Path,
    tmp_path: Path,
) -> None:
    bench = {"edges": by_edges, "lowres": larger}[kind]
    maps = map_kind(bench)
    fitted = read_photo(bench, photo, 32)
    Image.fromarray(fitted).save(tmp_path / "fitted.png")
    maps.write(tmp_path / "map.png", maps.compute(fitted))
    of_photo, by_file = (
        Request(images=images, condition=str(tmp_path / name), from_images=computed, size=(32, 40))
        for images, name, computed in ((2, "fitted.png", True), (3, "map.png", False))
    )
    with page_of(browser, serve(bench), "Condition") as page:
        upload(page, "#condition-photo", photo)
        (seen,) = shown(page, "#condition-map")
        assert np.array_equal(seen, maps.picture(maps.compute(fitted)))
        draws_by(page, bench, of_photo)

        page.get_by_label("Remove Image").first.click()
        page.locator("#condition-map img").wait_for(state="detached")
        page.get_by_label({"edges": "an edge map", "lowres": "a small picture"}[kind]).check()
        upload(page, "#condition-photo", tmp_path / "map.png")
        page.locator("#condition-map img").wait_for()
        draws_by(page, bench, by_file)


def test_condition_by_depth(browser: Browser, serve: Serve, by_depth: Workbench, tmp_path: Path) -> None:
    drawing = FACES.draw(2, 0, 32, 48)
    map_kind(by_depth).write(tmp_path / "depth.png", map_kind(by_depth).from_drawing(drawing, FACES))
    np.save(tmp_path / "metres.npy", drawing.depth[:, :32])
    with page_of(browser, serve(by_depth), "Condition") as page:
        for images, name, width in ((2, "depth.png", 48), (3, "metres.npy", 32)):
            upload(page, "#condition-file", tmp_path / name)
            page.locator("#condition-map img").wait_for()
            draws_by(page, by_depth, Request(images=images, condition=str(tmp_path / name), size=(32, width)))
            page.get_by_label("Clear").first.click()
            page.locator("#condition-map img").wait_for(state="detached")
        page.click("#condition-draw")
        page.get_by_text("there is no map of depth yet").wait_for()


def test_condition_by_keypoints(
    browser: Browser, serve: Serve, by_keypoints: Workbench, tmp_path: Path
) -> None:
    points = keypoints_json(FACES.draw(2, 0, 32, 48), FACES)
    (tmp_path / "skeleton.json").write_text(json.dumps(points.pop("skeleton")))
    (tmp_path / "points.json").write_text(json.dumps(points))
    with page_of(browser, serve(by_keypoints), "Condition", quiet=False) as page:
        upload(page, "#condition-file", tmp_path / "points.json")
        page.get_by_text('points.json: has no "skeleton"').wait_for()
        page.get_by_label("Clear").first.click()
        page.set_input_files(
            "#condition-file input[type=file]", [tmp_path / "points.json", tmp_path / "skeleton.json"]
        )
        page.locator("#condition-map img").wait_for()
        draws_by(
            page, by_keypoints, Request(images=2, condition=str(tmp_path / "points.json"), size=(32, 48))
        )


def test_upscale(browser: Browser, serve: Serve, larger: Workbench, photo: Path) -> None:
    with page_of(browser, serve(larger), "Upscale") as page:
        upload(page, "#upscale-photo", photo)
        page.locator("#upscale-photo img").wait_for()
        page.get_by_label("made small first").check()
        page.click("#upscale-draw")
        says(page, "#upscale-status", "8x10 to 32x40 (height x width)")
        assert [each.shape for each in shown(page, "#upscale-slider")] == [(32, 40, 3)] * 2


def test_bad_uploads_are_messages(
    browser: Browser, serve: Serve, tokenizer: Workbench, tmp_path: Path
) -> None:
    bad = tmp_path / "no <b>photo.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\nand nothing more")
    large = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)).save(large)
    assert large.stat().st_size > LIMIT
    with page_of(browser, serve(tokenizer), "Reconstruct", quiet=False) as page:
        upload(page, "#reconstruct-photo", bad)
        toast = page.locator(".toast-body")
        toast.get_by_text("cannot be decoded").wait_for()
        text = toast.inner_text()
        assert "Traceback" not in text
        assert str(tmp_path) not in text
        assert "/tmp" not in text
        page.reload()
        page.wait_for_selector("#reconstruct-photo")
        upload(page, "#reconstruct-photo", large)
        page.locator(".toast-body").wait_for()
        assert page.locator("#reconstruct-codes img").count() == 0


def ask(address: str, path: str = "", data: bytes | None = None, **headers: str) -> int:
    """The status of an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address + path, data=data, headers=named), timeout=30
        ) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_others_are_refused(serve: Serve, tokenizer: Workbench) -> None:
    address = serve(tokenizer)
    port = address.rstrip("/").rpartition(":")[2]
    assert ask(address) == 200
    assert ask(address, Host=f"localhost:{port}", Origin=f"http://localhost:{port}") == 200
    assert ask(address, Host="elsewhere.example") == 403
    assert ask(address, Host=f"elsewhere.example:{port}") == 403
    assert ask(address, Origin="http://elsewhere.example") == 403
    assert ask(address, Origin="null") == 403
    assert ask(address, "gradio_api/upload", b"x" * (LIMIT + 100_000)) == 413
    assert ask(address, "docs") == ask(address, "openapi.json") == ask(address, "redoc") == 404
    with socket.socket() as elsewhere:  # it is bound to one address of this machine, and to no other
        elsewhere.settimeout(5)
        assert elsewhere.connect_ex(("127.0.0.2", int(port))) != 0


def test_command_serves_until_ctrl_c(tokenizer: Workbench, tmp_path: Path) -> None:
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "vqgan_cli", "ui", "--model", str(tokenizer.info.path), "--no-open"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        assert ask(address) == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == ""
    assert "Ctrl-C ends it" in err
    assert "Traceback" not in err


def test_what_is_missing_is_said(vqgan: Vqgan, tokenizer: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = vqgan("ui", "--model", tokenizer.info.path, "--port", str(port), "--no-open")
    assert done.code == 1
    assert f"port {port} cannot be used" in done.err
    monkeypatch.setitem(sys.modules, "gradio", None)
    done = vqgan("ui", "--no-open")
    assert done.code == 2
    assert "pip install 'vqgan[ui]'" in done.err
