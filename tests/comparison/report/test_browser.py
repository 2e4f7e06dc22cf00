"""The page in headless Chromium: every control, the keyboard, links, narrow screens, and axe-core's rules.

Needs Playwright and Debian's package ``chromium`` (or ``CHROMIUM``, its place); axe-core comes with
``axe-playwright-python``. Skipped with the reason where something is absent.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from quantus_vit.comparison.report import write_report
from quantus_vit.comparison.significance import SignificanceRow
from quantus_vit.comparison.statistics import write_table

from .folders import EVIL, METRICS, write_folder

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium, or CHROMIUM=PLACE")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return write_report([write_folder(tmp_path_factory.mktemp("runs") / "run")])


@pytest.fixture(scope="module")
def long_names(tmp_path_factory) -> Path:
    """A page whose second method has a long name without a space."""
    folder = write_folder(tmp_path_factory.mktemp("runs") / "long")
    for file in (*folder.glob("*.csv"), *folder.glob("*.json")):
        text = file.read_text(encoding="utf-8")
        name = "LimeCXR[replacement=mean,sampling=orthogonal]"
        file.write_text(text.replace("LimeCXR", f'"{name}"' if file.suffix == ".csv" else name), encoding="utf-8")
    return write_report([folder])


class Opened:
    """A page, and the errors that its console tells."""

    def __init__(self, browser: Any, file: Path, hash_: str = "", **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.said: list[str] = []
        self.page.on("console", lambda message: message.type == "error" and self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(f"{file.as_uri()}{hash_}")
        self.page.wait_for_selector("#viewer[data-shown]")

    def shown(self, number: int) -> None:
        """Wait for a case's pictures."""
        self.page.wait_for_selector(f'#viewer[data-shown="{number}"]')

    def panels(self) -> list[str]:
        return self.page.locator("#viewer figcaption b").all_inner_texts()

    def pixels(self, panel: int, test: str) -> int:
        """How many pixels of a map's canvas fulfil a condition on ``r, g, b, a``."""
        return int(self.page.evaluate(
            "n => { const c = document.querySelectorAll('#viewer canvas.overlay')[n];"
            "const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let count = 0;"
            "for (let i = 0; i < p.length; i += 4) { const [r, g, b, a] = p.subarray(i, i + 4);"
            f"if ({test}) count += 1; }} return count }}", panel
        ))  # fmt: skip


@pytest.fixture
def opened(browser, report) -> Iterator[Any]:
    pages = []

    def open_page(hash_: str = "", file: Path = report, **options: Any) -> Opened:
        pages.append(Opened(browser, file, hash_, **options))
        return pages[-1]

    yield open_page
    said = [text for one in pages for text in one.said]
    for one in pages:
        one.context.close()
    assert said == []


def test_a_name_of_a_file_is_shown_and_not_run(opened) -> None:
    page = opened("#image=2").page
    assert EVIL in page.locator("#image option:checked").inner_text()
    assert page.title() == "Comparison of explanations"
    assert page.locator("img[src='x']").count() == 0


def test_a_link_shows_image_and_method_and_survives_a_reload(opened) -> None:
    one = opened("#image=3&method=LimeCXR&scale=signed&top=20&masks=0")
    for _ in range(2):
        one.shown(3)
        assert one.panels() == ["X-ray", "LimeCXR"]
        assert one.page.input_value("#scale") == "signed"
        assert one.page.input_value("#top") == "20"
        assert not one.page.is_checked("#masks")
        one.page.reload()
    one.page.click("#next")
    one.shown(4)
    assert one.page.url.endswith("#image=4&method=LimeCXR&scale=signed&top=20&masks=0")
    one.page.evaluate("() => { location.hash = '#image=1&method=AttnLRP' }")
    one.shown(1)
    assert one.panels() == ["X-ray", "AttnLRP"]


def test_keys_change_the_image_and_hide_the_overlays_while_held(opened) -> None:
    one = opened()
    viewer = one.page.locator("#viewer")
    viewer.focus()
    for key, number in (("ArrowRight", 2), ("End", 4), ("ArrowLeft", 3), ("Home", 1)):
        one.page.keyboard.press(key)
        one.shown(number)
    one.page.keyboard.down(" ")
    assert one.page.locator(".alone .overlay").first.evaluate("e => getComputedStyle(e).visibility") == "hidden"
    one.page.keyboard.up(" ")
    assert one.page.locator(".alone").count() == 0
    one.page.keyboard.press("m")
    assert not one.page.is_checked("#masks")
    one.page.keyboard.press("-")
    assert one.page.input_value("#strength") == "70"


def test_the_whole_page_is_reached_by_the_tab_key(opened) -> None:
    page = opened().page
    expected = [
        "filter-finding",
        "image",
        "next",
        "class",
        "scale",
        "palette",
        "strength",
        "top",
        "masks",
        "alone",
        "viewer",
    ]
    wanted = set(expected)
    seen: list[str] = []
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    for _ in range(120):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("() => document.activeElement.id || document.activeElement.tagName"))
        if seen[-1] == "viewer":
            break
    assert wanted <= set(seen)
    order = [name for name in seen if name in wanted]
    assert order == expected
    assert seen.count("TD") == 1  # the heat map is one stop


def test_the_explorer_tells_a_screen_reader_what_changes(opened) -> None:
    one = opened("#image=1&method=AttnLRP")
    tree = one.page.locator("#explorer").aria_snapshot()
    assert 'slider "Overlay strength"' in tree
    assert one.page.get_attribute("#strength", "aria-valuetext") == "80 %"
    assert one.page.get_attribute("#top", "aria-valuetext") == "all"
    said = one.page.locator("#announcement")
    assert said.inner_text() == ""  # what is there from the beginning is no news
    # The strongest cells of this map are a block of 4 x 4 in the upper left corner.
    assert one.page.get_by_role("img", name="AttnLRP for COVID-19: strongest in the upper left of the picture").count()
    one.page.focus("#viewer")
    one.page.keyboard.press("m")
    assert said.inner_text() == "masks and boxes off"
    one.page.keyboard.press("-")
    assert said.inner_text() == "overlay strength 70 %"
    for number in (2, 3, 4):
        one.page.keyboard.press("ArrowRight")
        one.shown(number)
        assert said.inner_text().startswith(f"Image {number}: ")
    assert one.page.get_attribute("#next", "aria-disabled") == "true"


def test_a_button_at_the_end_keeps_the_focus(opened) -> None:
    one = opened("#image=3&method=AttnLRP")
    one.page.focus("#next")
    one.page.keyboard.press("Enter")
    one.shown(4)
    one.page.keyboard.press("Enter")  # there is no next image
    assert one.page.evaluate("document.activeElement.id") == "next"
    one.shown(4)


def test_filters_and_orders_choose_the_images(opened) -> None:
    one = opened()

    def numbers() -> list[str]:
        return [text.split(":")[0] for text in one.page.locator("#image option").all_inner_texts()]

    one.page.select_option("#filter-finding", "Normal")
    assert numbers() == ["2", "4"]
    one.page.select_option("#filter-finding", "")
    one.page.select_option("#filter-prediction", "wrong")
    assert numbers() == ["3"]
    one.shown(3)
    one.page.select_option("#filter-finding", "Normal")
    assert "No image fits" in one.page.inner_text("#viewer")
    one.page.select_option("#filter-finding", "")
    one.page.select_option("#filter-prediction", "")
    one.page.select_option("#order", "worst")  # AttnLRP's scores: 0.5, 0.7, 0.9, 0.3
    assert numbers() == ["4", "1", "2", "3"]
    one.page.select_option("#order", "best")
    one.page.select_option("#order-method", "1")  # LimeCXR's: 0.1, 0.2, 0.3, 0.4
    assert numbers() == ["4", "3", "2", "1"]
    one.page.select_option("#order", "disagreement")
    assert sorted(numbers()) == ["1", "2", "3", "4"]


def test_signs_are_never_lost_and_the_scale_is_told(opened) -> None:
    one = opened("#image=1&method=AttnLRP&method=LimeCXR&masks=0")
    legends = one.page.locator(".legend-of-map").all_inner_texts()
    assert "0 in the middle" in legends[0]
    assert "against it: purple" in legends[0]
    assert "0 in the middle" not in legends[1]
    assert one.pixels(1, "a > 20 && r > b + 60") > 0  # orange
    assert one.pixels(1, "a > 0 && b > r") > 0  # purple
    one.page.select_option("#scale", "signed")
    assert "0 in the middle" in one.page.locator(".legend-of-map").nth(1).inner_text()
    one.page.select_option("#scale", "shared")
    assert "all images of this method" in one.page.locator(".legend-of-map").nth(1).inner_text()
    one.page.select_option("#palette", "1")
    assert "against it: blue" in one.page.locator(".legend-of-map").first.inner_text()


def test_strength_and_threshold_change_the_overlay(opened) -> None:
    one = opened("#image=1&method=LimeCXR&masks=0")

    def covered() -> int:
        return one.pixels(1, "a > 0")

    everything = covered()
    one.page.locator("#top").fill("2")
    assert one.page.inner_text("#top-value") == "2 %"
    one.page.wait_for_timeout(200)
    assert 0 < covered() < everything / 4
    one.page.locator("#strength").fill("0")
    one.page.wait_for_timeout(200)
    assert covered() == 0
    one.page.check("#masks")
    one.page.wait_for_timeout(200)
    assert covered() > 0  # the outlines


def test_classes_without_a_map_say_so(opened) -> None:
    one = opened("#image=1&method=AttnLRP&method=LimeCXR")
    one.page.select_option("#class", "Normal")
    one.page.wait_for_selector(".missing")
    captions = one.page.locator("#viewer figcaption").all_inner_texts()
    assert "for Normal" in captions[1]
    assert "no map for Normal was stored" in captions[2]


def test_details_have_prediction_scores_and_curves(opened) -> None:
    one = opened("#image=3&method=AttnLRP&method=LimeCXR")
    text = one.page.inner_text("#image-details")
    assert "predicted Normal, which is wrong" in text
    assert "0.900 (place 1)" in text
    assert "0.300 (place 2)" in text
    assert one.page.locator("#image-details svg.chart").count() == 2


def test_tables_sort_filter_and_copy(opened) -> None:
    one = opened(permissions=["clipboard-read", "clipboard-write"])
    table = one.page.locator("#ranking div.table", has=one.page.locator("caption", has_text="Table 1"))
    head = table.locator("th", has_text="mean").first
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    means = [float(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts()]
    assert means == sorted(means)
    head.locator("button").click()
    means = [float(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts()]
    assert means == sorted(means, reverse=True)
    table.get_by_role("button", name="Copy as CSV").click()
    one.page.wait_for_selector("text=Copied")
    lines = one.page.evaluate("() => navigator.clipboard.readText()").splitlines()
    assert lines[0].startswith("metric,method,mean,95 % interval")
    assert lines[1].startswith("RemovalCurve[removal=tokens],AttnLRP,0.6,")
    numbers = one.page.locator("#curves details").first
    numbers.locator("summary").click()
    numbers.locator("input[type=search]").fill("limecxr")
    assert numbers.locator("tbody tr:visible").count() == 5


def test_long_tables_are_folded_and_filter_and_copy_take_all_rows(opened, tmp_path) -> None:
    folder = write_folder(tmp_path / "run")
    tests = [SignificanceRow(METRICS[0], f"m{i}", "Random", 4, 0.1, 0, 1, 1.0, i / 100, i / 100, 0.5, 4, 0.2)
             for i in range(60)]  # fmt: skip
    write_table(folder / "significance.csv", SignificanceRow, tests)
    page = opened("", write_report([folder]), permissions=["clipboard-read", "clipboard-write"]).page
    table = page.locator("#ranking div.table", has=page.locator("caption", has_text="Paired tests"))
    rows = table.locator("tbody tr:visible")
    assert rows.count() == 20
    button = table.get_by_role("button", name="Show all 60 rows")
    button.focus()
    page.keyboard.press("Enter")
    assert rows.count() == 60
    assert page.evaluate("() => document.activeElement.textContent").startswith(f"{METRICS[0]}m20 - Random")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Show the first 20 rows alone"
    page.keyboard.press(" ")
    assert rows.count() == 20
    table.locator("th", has_text="pair").get_by_role("button").click()
    table.locator("th", has_text="pair").get_by_role("button").click()
    assert "m59 - Random" in rows.first.inner_text()  # the first rows are those of the new order
    table.get_by_role("button", name="Copy as CSV").click()
    page.wait_for_selector("text=Copied")
    assert len(page.evaluate("() => navigator.clipboard.readText()").splitlines()) == 61
    table.locator("input").fill("m7 - random")
    assert rows.count() == 1
    page.emulate_media(media="print")
    table.locator("input").fill("")
    assert rows.count() == 60  # on paper


def test_one_method_is_put_in_front_in_the_curves(opened) -> None:
    page = opened().page
    page.get_by_label("In front").select_option("LimeCXR")
    faint = page.locator("#curves g.faint")
    assert {faint.nth(at).get_attribute("data-line") for at in range(faint.count())} == {"AttnLRP", "Random"}


def test_the_heat_map_tells_intervals_on_focus_and_hover(opened) -> None:
    page = opened().page
    cells = page.locator("table.heat td")
    cells.first.focus()
    assert page.inner_text("#heat-readout").startswith("AttnLRP under RemovalCurve[removal=tokens]: place 1 of 3")
    page.keyboard.press("ArrowDown")
    assert "LimeCXR under RemovalCurve" in page.inner_text("#heat-readout")
    assert "95 % interval -0.200 to 0.800" in page.inner_text("#heat-readout")
    cells.last.hover()
    assert "Random under Sparseness" in page.inner_text("#heat-readout")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(opened, long_names, scheme, width) -> None:
    if importlib.util.find_spec("axe_playwright_python") is None:
        pytest.skip("needs axe-core: pip install axe-playwright-python")
    page = opened(file=long_names, viewport={"width": width, "height": 740}, color_scheme=scheme).page
    for place in page.locator("details").all():
        place.evaluate("e => { e.open = true }")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run()")["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []


def test_pictures_beside_the_page_are_loaded_from_the_disk(opened, tmp_path) -> None:
    file = write_report([write_folder(tmp_path / "run")], most_inside=0)
    one = opened("#image=2", file)
    one.shown(2)
    one.page.click("#next")
    one.shown(3)
    assert one.page.locator("#viewer canvas.overlay").count() == 3


def test_runs_side_by_side_share_the_explorer(opened, tmp_path) -> None:
    folders = [write_folder(tmp_path / name, sample_seed=seed) for seed, name in enumerate(("first", "second"))]
    one = opened("#image=1&method=first%3A%20AttnLRP&method=second%3A%20AttnLRP", write_report(folders))
    assert one.panels() == ["X-ray", "first: AttnLRP", "second: AttnLRP"]
