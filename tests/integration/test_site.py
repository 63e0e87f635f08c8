"""The site of the committed records in a real browser: sorting, filters, console, requests, accessibility."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium

from pmbench.report.pages.book import Book
from pmbench.report.pages.site import write_site
from pmbench.report.record_files import read_record, read_records
from pmbench.report.rows import label_of

pytestmark = pytest.mark.slow

RECORDS = Path(__file__).parents[2] / "leaderboard" / "records"
HAPT = [r.cell for r in read_records(RECORDS / "hapt")[0] if r.status == "done" and r.cell.seed == 0]
PAGES = ("index.html", "tables/hapt-few-10.html", "methods/rad.html")
SCHEMES = ("light", "dark")


DRAW = """
import sys
from pmbench.report.pages.figures import Planned, draw
from pmbench.report.pages.shown import Costs, Point
points = tuple(Point(f"m{i}", 50.0 + i % 7, 1e5 + i % 3, 10.0 + i, i == 0) for i in range(12))
sys.stdout.write(draw(Planned("costs", Costs("t", "accuracy", True, points)))[""])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "board"
    write_site(folder, Book.of(read_records(RECORDS)[0]), [])
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def opened(browser: Any, folder: Path, page: str, scheme: str = "light", width: int = 1280) -> Any:
    """The page, from the disk; screenshots of it are kept in $PMBENCH_SCREENSHOTS, if set."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((folder / page).as_uri())
    if place := os.environ.get("PMBENCH_SCREENSHOTS"):
        browser.save_screenshot(str(Path(place) / f"{page.replace('/', '-')}-{scheme}-{width}.png"))
    return browser


def column(browser: Any, table: str, number: int) -> list[str]:
    """Sort values of the shown rows."""
    script = (
        "return [...document.querySelectorAll(`#${arguments[0]}-table tbody tr`)].filter((r) => !r.hidden)"
        ".map((r) => r.cells[arguments[1]].dataset.value ?? '')"
    )
    return browser.execute_script(script, table, number)


def click(browser: Any, table: str, number: int) -> Any:
    head = browser.find_elements("css selector", f"#{table}-table thead th")[number]
    head.find_element("tag name", "button").click()
    return head.get_attribute("aria-sort")


def test_columns_are_sorted_and_say_so(browser: Any, folder: Path) -> None:
    opened(browser, folder, "tables/hapt-few-10.html")
    assert click(browser, "results", 1) == "descending"
    values = [float(v) for v in column(browser, "results", 1)]
    assert len(values) == len(HAPT)
    assert values == sorted(values, reverse=True)
    assert click(browser, "results", 2) == "descending"
    gains = column(browser, "results", 2)
    known = [float(v) for v in gains if v]
    assert known == sorted(known, reverse=True)
    assert gains[len(known) :] == [""] * (len(HAPT) - len(known)), "missing values are last"
    assert click(browser, "results", 2) == "ascending"
    assert column(browser, "results", 2)[: len(known)] == gains[: len(known)][::-1]
    assert click(browser, "results", 0) == "ascending"
    assert column(browser, "results", 0) == sorted(column(browser, "results", 0))
    sorted_heads = browser.find_elements("css selector", "#results-table th[aria-sort]")
    assert len(sorted_heads) == 1


def test_rows_are_filtered_by_name_and_kind(browser: Any, folder: Path) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.select import Select

    opened(browser, folder, "tables/hapt-few-10.html")
    form = browser.find_element("css selector", "#results form")
    text, said = form.find_element("name", "text"), form.find_element("tag name", "output")
    assert said.text == f"{len(HAPT)} of {len(HAPT)} rows"
    text.send_keys("RAD")
    assert column(browser, "results", 0) == ["rad", "rad_dad", "rad_dad_joint"]
    assert said.text == f"3 of {len(HAPT)} rows"
    text.send_keys(Keys.ENTER)
    assert browser.current_url.endswith("hapt-few-10.html"), "Enter sends nothing"
    text.clear()
    text.send_keys(Keys.BACKSPACE)
    Select(form.find_element("name", "kind")).select_by_visible_text("methods")
    assert len(column(browser, "results", 0)) == sum(cell.role == "method" for cell in HAPT)
    assert "target_only" not in column(browser, "results", 0)


def test_the_keyboard_reaches_and_sorts(browser: Any, folder: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    opened(browser, folder, "index.html")
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.get_attribute("class") == "skip"
    button = browser.find_element("css selector", "#overview-table thead th button")
    browser.execute_script("arguments[0].focus()", button)
    ActionChains(browser).send_keys(Keys.SPACE).perform()
    assert column(browser, "overview", 0) == sorted(column(browser, "overview", 0))


def test_numbers_lead_to_seeds_and_these_to_records(browser: Any, folder: Path) -> None:
    opened(browser, folder, "index.html")
    link = browser.find_element("css selector", "#overview-table tbody td a")
    browser.get(link.get_attribute("href"))
    row = browser.find_element("css selector", ":target")
    record = row.find_element("css selector", "td a")
    linked = read_record((folder / "tables" / record.get_dom_attribute("href")).resolve())
    assert f"{linked.metrics['accuracy']:.2f}" == record.text
    assert label_of(linked.cell) == row.find_element("tag name", "th").text


@pytest.mark.parametrize("page", PAGES)
def test_no_console_error_and_no_request_elsewhere(browser: Any, folder: Path, page: str) -> None:
    browser.get_log("performance")
    opened(browser, folder, page)
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert urls
    assert [url for url in urls if not url.startswith((folder.as_uri(), "data:,"))] == []


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
def test_accessibility(browser: Any, folder: Path, page: str, scheme: str, width: int) -> None:
    from axe_core_python.selenium import Axe

    opened(browser, folder, page, scheme, width)
    found = Axe().run(browser)["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["help"], [n["html"] for n in v["nodes"]][:3]) for v in serious] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_phone_scrolls_tables_not_pages(browser: Any, folder: Path, page: str) -> None:
    opened(browser, folder, page, width=360)
    wide = "return [document.documentElement.scrollWidth, window.innerWidth]"
    needed, there = browser.execute_script(wide)
    assert needed <= there


def test_dark_differs_from_light(browser: Any, folder: Path) -> None:
    script = "return getComputedStyle(document.body).backgroundColor"
    colours = [opened(browser, folder, "index.html", scheme).execute_script(script) for scheme in SCHEMES]
    assert colours == ["rgb(255, 255, 255)", "rgb(13, 17, 23)"]
    shown = "return document.querySelector('figure img').currentSrc"
    assert browser.execute_script(shown).endswith("overview-dark.svg")


def test_equal_values_give_equal_bytes_whatever_the_hash_seed_and_settings(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nsvg.fonttype: path\n")
    found = []
    for seed, folder in (("1", ""), ("2", str(tmp_path))):
        environment = {**os.environ, "PYTHONHASHSEED": seed, **({"MATPLOTLIBRC": folder} if folder else {})}
        found.append(
            subprocess.run([sys.executable, "-c", DRAW], env=environment, capture_output=True, check=True)
        )
    assert found[0].stdout == found[1].stdout
    assert b"<dc:date>" not in found[0].stdout
