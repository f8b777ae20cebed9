"""The dashboard in a real browser: what it shows, by keyboard alone, and that nothing in a cluster can run in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway.conftest import WORKLOADS, Gate, workload

from flame.testing.cluster import eventually

playwright = pytest.importorskip("playwright.sync_api")
SCRIPT = Path(__file__).parents[2] / "scripts" / "chromium.sh"
ATTACK = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = subprocess.run([str(SCRIPT)], capture_output=True, text=True, timeout=110)
    if found.returncode:
        pytest.skip(found.stderr.strip())
    sandbox = [] if os.getuid() else ["--no-sandbox"]  # Chromium has none for root
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found.stdout.split("\n")[0], args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shown(gate: Gate) -> Iterator[Gate]:
    """Things to look at: one that runs and prints something nasty, one that waits, one whose labels are nasty."""
    gate.ask("POST", WORKLOADS, workload("seen-runs", f"echo '{ATTACK}'; echo bye; sleep 600", replicas=2))
    waits = workload("seen-waits", limits={"nvidia.com/gpu": 64})
    waits["metadata"]["annotations"] = {"note": ATTACK}
    gate.ask("POST", WORKLOADS, waits)
    eventually(lambda: gate.get(f"{WORKLOADS}/seen-runs").json.get("status", {}).get("readyReplicas") == 2)
    eventually(lambda: gate.get(f"{WORKLOADS}/seen-waits").json.get("status", {}).get("reason") == "Gpu")
    yield gate
    for name in ("seen-runs", "seen-waits"):
        gate.ask("DELETE", f"{WORKLOADS}/{name}?gracePeriodSeconds=0")


@pytest.fixture
def page(browser: Any, shown: Gate) -> Iterator[Any]:
    """Logged in, and watching for what must not happen: errors, and requests to anybody else."""
    context = browser.new_context()
    context.set_default_timeout(8000)
    page = context.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if request.url.startswith(shown.url) else trouble.append(request.url))
    page.goto(shown.url + "/")
    assert page.url.endswith("/login")
    page.wait_for_selector("#token:focus")
    page.keyboard.type(shown.tokens["viewer@*"])
    page.keyboard.press("Enter")
    page.wait_for_selector("#workloads-title")
    yield page
    assert not trouble
    assert page.evaluate("window.hacked") is None
    context.close()


def focused(page: Any) -> str:
    return page.evaluate("document.activeElement.id || document.activeElement.textContent")


def test_it_shows_what_there_is_and_why_it_waits(page: Any):
    table = page.locator('table[data-list="workloads"]')
    assert "seen-runs" in table.inner_text()
    row = page.locator('tr[data-key="workload/default/seen-waits"]').inner_text()
    assert "Pending" in row
    assert "64 asked" in row
    assert "add a node that has them" in row  # and what would help
    nodes = page.locator('table[data-list="nodes"]').inner_text()
    assert "2 x A100" in nodes
    assert "Ready" in nodes
    assert "viewer" in page.locator(".who").inner_text()


def test_it_is_renewed_while_one_looks(page: Any, shown: Gate):
    shown.ask("POST", WORKLOADS, workload("seen-new"))
    page.wait_for_selector('tr[data-key="workload/default/seen-new"]', timeout=8000)
    shown.ask("DELETE", f"{WORKLOADS}/seen-new?gracePeriodSeconds=0")
    page.wait_for_selector('tr[data-key="workload/default/seen-new"]', state="detached", timeout=15000)


def test_sessions_show_their_rate(page: Any, shown: Gate):
    with shown.client.session("flmping") as session:
        row = f'tr[data-name="{session.info.alias}"]'
        page.wait_for_selector(row, timeout=8000)
        for _ in range(3):
            for future in [session.run(b"") for _ in range(200)]:
                future.result(30)
            page.wait_for_timeout(1200)
        eventually(lambda: "/s" in page.locator(row).inner_text(), 10)
        assert "flmping" in page.locator(row).inner_text()


def test_the_keyboard_does_everything(page: Any):
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the lists"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#sessions"
    page.keyboard.press("w")
    first = focused(page)
    assert first.startswith("seen-")
    page.keyboard.press("ArrowDown")
    assert focused(page) != first
    page.keyboard.press("Home")
    assert focused(page) == first
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")  # it stays at the end
    assert page.evaluate("document.activeElement.matches('.name')")
    page.keyboard.press("/")
    assert focused(page) == "filter"
    page.keyboard.type("seen-runs")
    assert page.locator('table[data-list="workloads"] tbody tr:visible').count() == 1
    page.keyboard.press("Tab")
    page.keyboard.press("w")
    assert focused(page) == "seen-runs"
    page.keyboard.press("Enter")
    eventually(lambda: "bye" in page.locator("#log-text").text_content())
    assert focused(page) == "log-text"
    page.keyboard.press("Escape")
    assert focused(page) == "seen-runs"  # back where it came from
    assert not page.locator("#log").is_visible()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#filter").input_value() == ""


def test_the_focus_stays_when_the_lists_are_renewed(page: Any):
    page.keyboard.press("w")
    page.keyboard.press("ArrowDown")
    before = focused(page)
    at = page.locator("#facts").get_attribute("data-at")
    eventually(lambda: page.locator("#facts").get_attribute("data-at") != at)
    assert focused(page) == before
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_text_of_a_cluster_is_never_code(page: Any):
    page.locator('tr[data-key="workload/default/seen-runs"] .name').click()
    eventually(lambda: "bye" in page.locator("#log-text").text_content())
    assert ATTACK in page.locator("#log-text").text_content()
    assert page.locator("#log-text img, #log-text script").count() == 0
    assert page.locator("#lists img, #lists script").count() == 0
    page.locator("#rank").select_option("seen-runs-1")
    eventually(lambda: page.locator("#log-state").text_content() == "live")


def test_names_that_are_not_names_are_only_text(shown: Gate):
    """The engine lets no such name in; the page does not count on it."""
    from flame.core.model.messages import Identity
    from flame.gateway.pages import html, overview

    found = overview.OverviewShape(
        "now", overview.shapes.StatusShape("1", 1, "process", "", 0, 0, 0, 0, 1, 1, 0, ATTACK, True), [], 0,
        [overview.WorkloadRow(ATTACK, ATTACK, ATTACK, ATTACK, 0, 1, "", overview.Wait(ATTACK, ATTACK))], 1,
        [overview.NodeRow(ATTACK, ATTACK, 0, 0, 0, 0, 1, 1, [overview.shapes.DeviceShape(ATTACK, ATTACK, 0)], 0, 0)],
    )  # fmt: skip
    made = html.dashboard(found, Identity(ATTACK, ATTACK, ATTACK), '"><script>')
    assert "<img src=x" not in made
    assert made.count("<script") == 1
    assert ATTACK not in html.login(ATTACK)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_is_readable_in_the_dark_and_on_a_small_screen(browser: Any, shown: Gate, scheme: str):
    context = browser.new_context(color_scheme=scheme, viewport={"width": 400, "height": 800})
    context.set_default_timeout(8000)
    page = context.new_page()
    page.goto(shown.url + "/login")
    page.fill("#token", shown.token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#workloads-title")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    for selector in ("body", ".next", ".state.good", ".name", "thead th"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector
    context.close()


CONTRAST = """(selector) => {
  const at = document.querySelector(selector);
  const light = (css) => {
    const [r, g, b] = css.match(/[\\d.]+/g).slice(0, 3).map((v) => {
      const part = v / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [a, b] = [light(getComputedStyle(at).color), light(getComputedStyle(document.body).backgroundColor)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""
"""Of an element against the ground of the page, as WCAG counts it."""


def test_the_documentation_shows_itself(browser: Any, shown: Gate):
    context = browser.new_context()
    context.set_default_timeout(8000)
    page = context.new_page()
    page.goto(shown.url + "/login")
    page.fill("#token", shown.token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#workloads-title")
    page.goto(shown.url + "/docs")
    page.wait_for_selector(".opblock-tag-section", timeout=15000)
    assert "Sessions, newest first" in page.locator("#swagger-ui").inner_text()
    context.close()


def test_logging_out_takes_the_cookie_away(browser: Any, shown: Gate):
    context = browser.new_context()
    context.set_default_timeout(8000)
    page = context.new_page()
    page.goto(shown.url + "/login")
    page.fill("#token", shown.token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#workloads-title")
    assert context.cookies()
    page.click("#logout")
    page.wait_for_selector("#token")
    assert not context.cookies()
    page.goto(shown.url + "/")
    assert page.url.endswith("/login")
    context.close()
