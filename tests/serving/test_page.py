"""The web page in a real browser, with a real server behind it; one of each for the whole file."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chromium
import httpx2
import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from conftest import Served

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(
    chromium.PROGRAM is None, reason="no chromium on this machine (Debian: apt install chromium)"
)
KEY = "0123456789abcdef"
QUEUE = 4
HOSTILE = '<img src=x onerror="document.title=1">.png'
ALL = "[...document.querySelectorAll('.open')]"


def paint(path: Path, *, mark: bool = True, size: tuple[int, int] = (240, 160), seed: int = 0) -> Path:
    """A picture of grey noise; with magenta paint the stand-in detector calls it tampered."""
    pixels = np.random.default_rng(seed).integers(60, 200, (size[1], size[0], 1), np.uint8).repeat(3, axis=2)
    if mark:
        pixels[40:80, 120:200] = (255, 0, 255)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures to give, and what is saved."""
    folder = tmp_path_factory.mktemp("page")
    paint(folder / "marked.png")
    paint(folder / "plain.png", mark=False)
    (folder / "notes.txt").write_text("no picture")
    paint(folder / "whole.jpg", mark=False)
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:6000])
    (folder / "keys").write_text(KEY + "\n")
    return folder


@pytest.fixture(scope="module")
def desk(start: Callable[..., Served], folder: Path) -> Served:
    """A service that can do all: two models, keys, addresses, feedback."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE.parent / "fakes")
        patch.setenv("PYTHONPATH", str(HERE.parent / "fakes"), prepend=":")
        models = ("--model", "fake_detector:load", "--model", "compact")
        kinds = ("--api-key-file", str(folder / "keys"), "--feedback", str(folder / "feedback.jsonl"))
        return start(*models, *kinds, "--allow-fetch", "--queue", str(QUEUE), "--no-jobs")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    browser = chromium.Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser: Any, desk: Served) -> Iterator[Any]:
    """The page with the key given. At its end: no script failed, and the policy had nothing to refuse."""
    browser.width(1280)
    browser.open(f"{desk.url}/")
    browser.until("!document.querySelector('#key-form').hidden")
    browser.call("Input.insertText", text=KEY)
    browser.press("Enter")
    browser.until("document.querySelector('#model').options.length === 2")
    yield browser
    statuses = [f"status of {code} " for code in (401, 403, 422, 429)]
    unexpected = [line for line in browser.log if not any(status in line for status in statuses)]
    assert not unexpected
    loaded = browser.run("performance.getEntriesByType('resource').map((e) => e.name)")
    assert all(name.startswith((desk.url, "data:", "blob:")) for name in loaded), loaded


def give(page: Any, *files: Path) -> None:
    """Drop files on the page and wait until each has its verdict."""
    page.drop("#zone", *files)
    judged(page, len(files))


def judged(page: Any, number: int) -> None:
    page.until(f"document.querySelectorAll('.open:enabled').length === {number}")


def focused(page: Any) -> str:
    return page.run("(({id, className}) => id || className)(document.activeElement)")


def tab_to(page: Any, name: str) -> None:
    """Press Tab until an element has the focus; on the way every element with the focus is seen to have it."""
    ring = (
        "getComputedStyle(document.activeElement.closest('.button') ?? document.activeElement).outlineStyle"
    )
    for _ in range(40):
        page.press("Tab")
        assert page.run(f"document.activeElement === document.body || {ring} === 'solid'"), focused(page)
        if name in focused(page):
            return
    raise AssertionError(f"no way to {name}")


def test_a_dropped_picture_shows_verdict_map_boxes_evidence_and_record(page: Any, folder: Path) -> None:
    give(page, folder / "marked.png")
    assert page.texts("#shown h3") == ["Tampered"]
    assert page.texts(".entry") == ["marked.png\n Tampered"]
    page.until("document.querySelector('.stage .heat').naturalWidth > 0")
    visible = "[...document.querySelectorAll('.stage:not(.printed) > *')].map((e) => getComputedStyle(e).visibility)"
    assert page.run(visible) == ["visible"] * 3
    assert page.run("document.querySelector('.stage .boxes .over').getAttribute('width')") == "80"
    shown = page.run("document.querySelector('#shown').innerText")
    for text in (
        "No error rate was measured for this model.",
        "Magenta paint was found.",
        "x 120 to 200",
        "SHA-256",
    ):
        assert text in shown
    page.click(".json summary")
    record = json.loads(page.until("document.querySelector('.json pre').textContent"))
    assert (record["label"], record["source"]) == ("tampered", "marked.png")
    assert record["regions"][0]["box"] == [120, 40, 200, 80]


def test_the_slider_sets_how_strongly_the_map_covers_the_picture(page: Any, folder: Path) -> None:
    give(page, folder / "marked.png")
    opacity = "getComputedStyle(document.querySelector('.stage .heat')).opacity"
    assert page.run(opacity) == "1"
    page.run("document.querySelector('.opacity input').focus()")
    page.press("ArrowLeft", 40)
    assert page.run(opacity) == "0.6"
    page.click("label[for=v1-plain]")
    assert page.run("document.querySelector('.opacity').getClientRects().length") == 0


def test_the_magnifier_follows_pointer_and_arrow_keys_over_picture_and_map(page: Any, folder: Path) -> None:
    give(page, folder / "marked.png")
    page.click(".glass")
    page.until("document.querySelector('.lens .base').src.startsWith('blob:')")
    page.move(*page.place(".stage:not(.printed)", 0.25, 0.5))
    assert page.texts(".spot output") == ["x 60, y 80; 3\u00d7"]
    middle = """((layer) => { const l = document.querySelector('.lens').getBoundingClientRect();
        const s = document.querySelector('.lens ' + layer).getBoundingClientRect();
        return [(l.left + l.width / 2 - s.left) / s.width, (l.top + l.height / 2 - s.top) / s.height]; })"""
    for layer in (".base", ".heat", ".boxes"):
        assert page.run(f"{middle}('{layer}')") == pytest.approx([0.25, 0.5], abs=0.01)
    page.run("document.querySelector('.stage:not(.printed)').focus()")
    page.press("ArrowRight", 2)
    page.press("ArrowUp")
    page.press("+")
    assert page.texts(".spot output") == ["x 69, y 76; 4\u00d7"]
    assert page.run(f"{middle}('.heat')") == pytest.approx([0.29, 0.48], abs=0.01)
    page.press("Escape")
    assert page.run("document.querySelector('.lens')") is None
    assert "glass" in focused(page)


def test_the_report_is_saved_as_one_file(page: Any, folder: Path, desk: Served) -> None:
    give(page, folder / "marked.png")
    page.click(".actions .report")
    report = page.downloaded()
    assert report.name == "pixelsleuth-marked.html"
    text = report.read_text("utf-8")
    assert "Tampered" in text
    assert desk.url not in text
    page.click(".actions .record")
    assert json.loads(page.downloaded().read_text("utf-8"))["label"] == "tampered"


def test_several_files_are_judged_at_once_and_a_bad_one_stops_none(page: Any, folder: Path) -> None:
    hostile = paint(folder / HOSTILE, mark=False, seed=4)
    page.choose("#files", folder / "marked.png", folder / "cut.jpg", folder / "notes.txt", hostile)
    assert page.run("document.querySelectorAll('progress[aria-label]').length") == 4
    judged(page, 4)
    states = ["Tampered", "Not judged", "Not judged", "Real"]
    assert page.texts(".open .state") == states
    assert page.texts(".open .name") == ["marked.png", "cut.jpg", "notes.txt", HOSTILE]
    page.click("li:nth-child(2) .open")
    assert "cut.jpg is cut off" in page.texts("#shown .meaning")[0]
    assert "The JPEG was last saved at quality 75" in page.texts("#shown .says")[0]
    page.click("li:nth-child(4) .open")
    assert page.texts("#shown .name b") == [HOSTILE]
    assert page.run("document.querySelectorAll('[onerror], #shown [src=x]').length") == 0
    assert page.run("document.title") == "PixelSleuth"
    page.click("#forget")
    assert page.run("document.querySelectorAll('.open, .card').length") == 0


def test_a_busy_service_is_asked_again(page: Any, folder: Path, desk: Served) -> None:
    host, _, port = desk.url.removeprefix("http://").partition(":")
    head = f"POST /v1/check HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {KEY}\r\nContent-Length: 999\r\n\r\n"
    senders = [socket.create_connection((host, int(port))) for _ in range(4 * QUEUE)]
    for sender in senders:  # bodies that are on their way for ever
        sender.sendall(head.encode() + b"\x89PNG")
    with httpx2.Client(headers={"X-API-Key": KEY}) as client:
        until = time.monotonic() + 30
        while client.post(f"{desk.url}/v1/check", content=b"x").status_code != 429:
            assert time.monotonic() < until
    page.drop("#zone", folder / "marked.png")
    page.until("document.querySelector('.open .state').textContent.includes('The service is busy')")
    for sender in senders:
        sender.close()
    judged(page, 1)
    assert page.texts(".open .state") == ["Tampered"]


def test_a_refused_address_is_told_and_can_be_tried_again(page: Any) -> None:
    page.run("document.querySelector('#url').focus()")
    page.call("Input.insertText", text="http://127.0.0.1:8000/photo.jpg")
    page.press("Enter")
    judged(page, 1)
    assert page.texts("#shown .code") == ["fetch_refused"]
    page.click("#shown .actions button")
    page.until("document.querySelector('#shown h3') === document.activeElement")
    assert page.texts(".open .state") == ["Not judged"]


def test_a_picture_can_be_pasted(page: Any) -> None:
    page.run("""(async () => {
        const canvas = new OffscreenCanvas(64, 64), pen = canvas.getContext("2d");
        pen.fillStyle = "#f0f"; pen.fillRect(8, 8, 20, 20); pen.fillStyle = "#888"; pen.fillRect(30, 30, 20, 20);
        const data = new DataTransfer();
        data.items.add(new File([await canvas.convertToBlob()], "image.png", {type: "image/png"}));
        document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
    })()""")
    judged(page, 1)
    assert page.texts(".open") == ["image.png\n Tampered"]


def test_more_pictures_than_the_page_holds_are_refused_in_words(page: Any) -> None:
    page.run("""(() => {
        const data = new DataTransfer();
        for (let at = 0; at < 201; at += 1) data.items.add(new File(["none"], `${at}.png`));
        document.dispatchEvent(new DragEvent("drop", {dataTransfer: data}));
    })()""")
    assert page.run("document.querySelectorAll('.open').length") == 200
    assert page.texts("#full")[0].startswith("The page holds 200 pictures")
    page.click("#forget")
    assert page.run("document.querySelector('#full').hidden")
    assert page.run("document.querySelectorAll('.open').length") == 0


def test_a_phone_shows_all_without_sideways_scrolling(page: Any, folder: Path) -> None:
    page.width(320)
    long = paint(folder / f"{'a_long_name_without_break' * 6}.png")
    give(page, folder / "marked.png", long)
    page.click("li:nth-child(2) .open")
    page.run("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    page.click(".glass")
    assert page.run("document.documentElement.scrollWidth") == 320
    wide = """[...document.querySelectorAll('body *')].filter((e) => !e.closest('.lens, .hidden')
        && e.getBoundingClientRect().right > 320.5).map((e) => e.outerHTML.slice(0, 80))"""
    assert page.run(wide) == []
    assert page.run("document.querySelector('.camera').getClientRects().length") == 1
    small = """[...document.querySelectorAll('button, .button, .switch label')].filter((e) => {
        const b = e.getBoundingClientRect(); return b.width && b.height < 40; }).map((e) => e.outerHTML)"""
    assert page.run(small) == []
    x, y = page.place(".stage:not(.printed)")
    page.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    page.call("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": x + 30, "y": y + 10}])
    page.settle()
    left, top, size = page.run(
        "(({left, top, width}) => [left, top, width])(document.querySelector('.lens').getBoundingClientRect())"
    )
    assert top + size / 2 == pytest.approx(y + 10 - 90, abs=2)  # a finger does not cover it
    assert 0 <= left <= 320 - size
    page.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


def test_the_keyboard_alone_is_enough(page: Any, folder: Path) -> None:
    page.run("document.activeElement.blur()")
    tab_to(page, "files")
    page.chosen(lambda: page.press("Enter"), folder / "marked.png", folder / "plain.png")
    judged(page, 2)
    assert "marked.png: Tampered." in page.run("document.querySelector('[role=status]').textContent")
    tab_to(page, "open")
    page.press("Tab")
    page.press("Enter")
    assert page.texts("#shown .name b") == ["plain.png"]
    assert page.run("document.activeElement.textContent").strip() == "Real"
    tab_to(page, "glass")
    page.press("Enter")
    page.press("ArrowRight")
    assert page.texts(".spot output") == ["x 124, y 80; 3\u00d7"]
    page.press("Escape")
    tab_to(page, "report")
    page.press("Enter")
    assert page.downloaded().name == "pixelsleuth-plain.html"


def test_a_screen_reader_finds_a_name_for_all_that_can_be_used(page: Any, folder: Path) -> None:
    give(page, folder / "marked.png")
    page.run("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    page.click(".glass")
    nameless, named = [], []
    for node in page.call("Accessibility.getFullAXTree")["nodes"]:
        states = {state["name"]: state["value"].get("value") for state in node.get("properties", ())}
        if states.get("focusable") and node["role"]["value"] != "RootWebArea":
            (named if node["name"]["value"] else nameless).append(
                (node["role"]["value"], node["name"]["value"])
            )
    assert nameless == []
    for known in (
        ("slider", "Opacity of the heat map, in percent"),
        ("button", "marked.png Tampered"),
        ("radio", "Heat map of marked.png"),
        ("combobox", "Model"),
        ("button", "Choose pictures"),
    ):
        assert known in named


def test_another_model_can_be_chosen_and_says_how_often_it_is_wrong(page: Any, folder: Path) -> None:
    page.run("document.querySelector('#model').value = 'compact'")
    give(page, folder / "plain.png")
    shown = page.run("document.querySelector('#shown').innerText")
    assert "Bounds: at least" in shown
    assert "compact 0" in shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_colour_schemes(page: Any, folder: Path, scheme: str) -> None:
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        give(page, folder / "marked.png")
        contrast = """((selectors) => { const lum = (text) => { const c = text.match(/[\\d.]+/g).map(Number);
            const [r, g, b] = c.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            const ground = (e) => { const c = getComputedStyle(e).backgroundColor;
                return c.endsWith(', 0)') ? ground(e.parentElement) : c; };
            return selectors.map((s) => { const e = document.querySelector(s);
                const [a, b] = [lum(getComputedStyle(e).color), lum(ground(e))].sort((x, y) => y - x);
                return (a + 0.05) / (b + 0.05); }); })"""
        places = [
            ".lead",
            ".ask",
            ".zone .small",
            ".button.main",
            ".open .state",
            "#shown h3",
            "#shown dt",
            ".opacity",
        ]
        ratios = page.run(f"{contrast}({json.dumps(places)})")
        assert min(ratios) >= 4.5, dict(zip(places, ratios, strict=True))
        darkness = page.run("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, darkness[4:-1].split(","))) < 60) == (scheme == "dark")
    finally:
        page.call("Emulation.setEmulatedMedia", features=[])


def test_a_note_on_a_wrong_verdict_is_saved_with_hash_and_verdict_alone(page: Any, folder: Path) -> None:
    import hashlib

    give(page, folder / "marked.png")
    page.click(".wrong summary")
    page.run("document.querySelector('.wrong textarea').focus()")
    page.call("Input.insertText", text="It is paint,\nsaid the painter.")
    page.click(".wrong button")
    page.until("document.querySelector('.actions [role=status]').textContent === 'The note is saved.'")
    (line,) = (folder / "feedback.jsonl").read_text().splitlines()
    saved = json.loads(line)
    assert list(saved) == ["sha256", "label", "inconclusive", "probabilities", "model", "note"]
    assert saved["sha256"] == hashlib.sha256((folder / "marked.png").read_bytes()).hexdigest()
    assert (saved["label"], saved["note"]) == ("tampered", "It is paint,\nsaid the painter.")
