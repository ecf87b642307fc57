"""Reports in a real browser: what is drawn, moved, typed, and how it looks in narrow, wide, light and dark windows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import console_errors, open_browser, open_page
from tests.run_report.runs import write_log, write_run
from vqgan_cli.core.run_report.comparison import comparison
from vqgan_cli.core.run_report.page import page as run_page
from vqgan_cli.core.run_report.reading import read_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Of all elements with a text of their own that are seen: its colour over the nearest background, by WCAG 2.
CONTRASTS = """
() => {
  const parse = (text) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const part = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || ["SCRIPT", "STYLE"].includes(element.tagName) || !element.checkVisibility()) continue;
    const ink = parse(getComputedStyle(element).color);
    let at = element;
    let ground = [0, 0, 0, 0];
    for (; at && ground[3] < 255; at = at.parentElement) ground = parse(getComputedStyle(at).backgroundColor);
    const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), element.tagName + "." + element.className]);
  }
  return found;
}
"""

# Pixels of each chart in a colour that is strong, as curves are and axes are not.
DRAWN = """
() => Object.fromEntries([...document.querySelectorAll(".plot canvas")].map((canvas) => {
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let strong = 0;
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b, a] = data.slice(i, i + 4);
    if (a > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 60) strong++;
  }
  return [canvas.closest(".chart").id, strong];
}))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of the page of a tokenizer's run, one of whose values is no number."""
    folder = tmp_path_factory.mktemp("report")
    run = write_run(folder / 'it\'s "a" <run> & more', state="stopped", tokenizer__codebook_size=300)
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 101, "loss/total": "nan", "gan/lambda": 3.0}\n')
    (folder / "report.html").write_text(run_page(read_run(run)), encoding="utf-8")
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of the page that compares two runs."""
    folder = tmp_path_factory.mktemp("compared")
    runs = [write_run(folder / "first"), write_run(folder / "second", level=2.0, train_ae__seed=7)]
    (folder / "comparison.html").write_text(comparison([read_run(run) for run in runs]), encoding="utf-8")
    return (folder / "comparison.html").as_uri()


def overflow(page: Page) -> int:
    """Pixels that the page is wider than its window."""
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


def place_of(page: Page, selector: str) -> dict[str, float]:
    """Where an element is in the window, once it is there."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    assert box is not None
    return dict(box)


def wait_for(page: Page, condition: str) -> None:
    """Until a condition in JavaScript holds; the page's policy forbids playwright's own way of asking there."""
    deadline = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


def assert_all_drawn(page: Page) -> None:
    drawn = page.evaluate(DRAWN)
    assert len(drawn) == page.locator(".chart").count() > 5
    assert all(strong > 20 for strong in drawn.values()), drawn


def test_curves_of_a_chart_are_told_apart(browser: Browser, compared: str) -> None:
    """By colour or by dashes, though the curves of a run have one colour; the chart of both GAN losses among them."""
    with open_page(browser) as page:
        page.goto(compared)
        charts = page.evaluate(
            "[...document.querySelectorAll('.chart')].map((chart) => [...chart.querySelectorAll('.swatch')]"
            ".map((each) => getComputedStyle(each)).map((style) => style.borderTopColor + style.borderTopStyle))"
        )
        assert max(map(len, charts)) >= 4
        for looks in charts:
            assert len(set(looks)) == len(looks)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_looks(width: int, scheme: str, browser: Browser, report: str, compared: str) -> None:
    """No errors, every chart drawn, nothing wider than the window, texts that can be read (WCAG AA: 4.5)."""
    for address in (report, compared):
        with open_page(browser, width, 900, color_scheme=scheme) as page:
            page.goto(address)
            assert console_errors(page) == []
            assert_all_drawn(page)
            assert overflow(page) <= 0
            page.locator("details").evaluate_all("all => all.forEach((each) => (each.open = true))")
            assert overflow(page) <= 0
            contrasts = page.evaluate(CONTRASTS)
            assert len(contrasts) > 50
            assert min(contrasts)[0] >= 4.5, sorted(contrasts)[:5]


def test_pictures_over_time(browser: Browser, report: str) -> None:
    """By slider, by keys on the slider and on the pictures, and by themselves."""
    with open_page(browser) as page:
        page.goto(report)
        steps = 'document.querySelector("#frames .frame:not([hidden])").dataset.step'
        assert page.evaluate(steps) == "100"
        page.locator("#frame").fill("0")
        assert page.evaluate(steps) == "20"
        assert page.locator("#frame-step").text_content() == "step 20"
        page.locator("#frame").press("ArrowRight")
        assert page.evaluate(steps) == "40"
        page.locator("#frames").press("End")
        assert page.evaluate(steps) == "100"
        page.locator("#frames").press("ArrowLeft")
        assert page.evaluate(steps) == "80"
        assert page.locator("#frames .frame:visible").count() == 1
        page.locator("#play").click()
        wait_for(page, f'{steps} !== "80"')
        page.locator("#play").click()
        assert console_errors(page) == []


def test_cursor_of_all_charts(browser: Browser, report: str) -> None:
    """The keyboard moves one line in all charts, and the legends show the values of the log there."""
    with open_page(browser) as page:
        page.goto(report)
        plot = page.locator("#chart-loss .plot")
        plot.press("Home")
        plot.press("ArrowRight")
        plot.press("ArrowRight")
        assert page.locator("#chart-loss .at").text_content() == "step 20"
        assert page.locator("#chart-rate .at").text_content() == "step 20"
        value = float(page.locator("#chart-loss .legend b").first.text_content() or "")
        assert value == pytest.approx(0.1 + 2.718281828 ** (-20 / 50), rel=1e-3)
        assert "step 20: training 0.77" in (page.locator("#said").text_content() or "")
        plot.press("Escape")
        assert page.locator("#chart-loss .at").text_content() == ""
        box = place_of(page, "#chart-rate .u-over")
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
        wait_for(page, 'document.querySelector("#chart-loss .at").textContent === "step 50"')


def test_switches_of_charts(browser: Browser, report: str) -> None:
    """Smoothing, logarithmic axis, legend, the part of the run that is seen; kept over a reload."""
    with open_page(browser) as page:
        page.goto(report)
        scale = "vqganCharts.loss.plot.scales.y.distr"
        assert (page.evaluate(scale), page.evaluate("vqganCharts.lambda.plot.scales.y.distr")) == (1, 3)
        page.locator("#chart-loss .log").click()
        assert page.evaluate(scale) == 3
        page.locator("#smoothing").fill("0.9")
        assert page.locator("#smoothing-value").text_content() == "0.90"
        smooth = (
            "(() => { const c = vqganCharts.loss; return c.plot.data[c.main[0]].filter((v) => v > 0); })()"
        )
        values = page.evaluate(smooth)
        raw = [0.1 + 2.718281828 ** (-step / 50) for step in range(10, 101, 10)]
        weights = [0.9 ** (len(raw) - 1 - index) for index in range(len(raw))]
        mean = sum(w * v for w, v in zip(weights, raw, strict=True)) / sum(weights)
        assert values[-1] == pytest.approx(mean, rel=1e-4)
        page.locator("#chart-loss .legend button").first.click()
        assert page.evaluate("vqganCharts.loss.plot.series[vqganCharts.loss.main[0]].show") is False
        page.reload()
        assert page.evaluate(scale) == 3
        assert page.locator("#smoothing-value").text_content() == "0.90"

        box = place_of(page, "#chart-rate .u-over")
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 20, steps=5)
        page.mouse.up()
        for chart in ("rate", "psnr"):
            wait_for(page, f"vqganCharts['{chart}'].plot.scales.x.max < 80")
        page.locator("#whole").click()
        wait_for(page, "vqganCharts.psnr.plot.scales.x.max >= 101")
        assert console_errors(page) == []


def test_runs_are_shown_and_hidden(browser: Browser, compared: str) -> None:
    with open_page(browser) as page:
        page.goto(compared)
        shown = "vqganCharts.loss.plot.series.slice(1).map((each) => each.show)"
        assert page.evaluate(shown) == [True] * 4
        page.locator("button.run").nth(1).press("Enter")
        assert page.evaluate(shown) == [True, True, False, False]
        assert page.locator("#chart-loss .legend button:visible").count() == 2
        colours = "[...document.querySelectorAll('#chart-loss .swatch')].map((each) => getComputedStyle(each).color)"
        assert len(page.evaluate(colours)) == 4
        assert page.locator("#pictures .frame").count() == 2


def test_colours_follow_the_scheme_and_paper_is_white(browser: Browser, report: str) -> None:
    """Charts are drawn anew where the system changes its scheme, and for print in colours for white paper."""
    with open_page(browser, color_scheme="light") as page:
        page.goto(report)
        stroke = "vqganCharts.loss.plot.series[1].stroke()"
        light = page.evaluate(stroke)
        page.emulate_media(color_scheme="dark")
        wait_for(page, f"{stroke} !== '{light}'")
        page.emulate_media(color_scheme="dark", media="print")
        wait_for(page, f"{stroke} === '{light}'")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert console_errors(page) == []


def test_long_and_broken_logs_are_drawn(browser: Browser, tmp_path: Path) -> None:
    """Bands of thinned curves, curves without a number, one point only, nothing at all."""
    run = write_run(tmp_path / "long", state="running")
    lines = [
        {"step": step, "loss/total": 1 + step % 7 / 7, "learning_rate": "nan"} for step in range(1, 4000)
    ]
    write_log(run, [*lines, {"step": 4000, "validation/psnr": 20.0, "zeros": 0.0}])
    (tmp_path / "long.html").write_text(run_page(read_run(run)), encoding="utf-8")
    empty = write_run(tmp_path / "empty", pictures=0)
    (empty / "log.jsonl").unlink()
    (tmp_path / "empty.html").write_text(run_page(read_run(empty)), encoding="utf-8")
    with open_page(browser) as page:
        page.goto((tmp_path / "long.html").as_uri())
        assert page.evaluate("vqganCharts.loss.plot.bands.length") == 1
        drawn = page.evaluate(DRAWN)
        assert min(drawn["chart-loss"], drawn["chart-psnr"]) > 20
        assert page.locator("#chart-rate .odd").text_content() == (
            "learning rate: 3,999 values are not a finite number, at step 1 and later."
        )
        page.locator("#chart-other-0 .log").click()
        page.goto((tmp_path / "empty.html").as_uri())
        assert "Nothing is logged yet" in page.content()
        assert console_errors(page) == []
