"""The playground in a real browser, against a real server and the bundled model.

With PICTURES=1 in the environment, as `make pictures` has it, the pictures of the docs are made.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from amulet_server import read_settings
from langchain_amulet.preferences import TRAITS
from langchain_amulet.trace import as_factor, ratio
from support.browsers import CHROMIUM, browser
from support.servers import QUESTION, STEADY, RunningServer, running

if CHROMIUM is None:
    pytest.skip("needs a browser: install chromium", allow_module_level=True)

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Request, expect

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
OTHER_QUESTION = "How do I start running?"
WIDE = {"width": 1280, "height": 720}
PHONE = {"width": 360, "height": 780}
SECONDS = 60


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def requests() -> list[Request]:
    """All that the page asked for, of anybody."""
    return []


@pytest.fixture
def page(chromium: Browser, requests: list[Request]) -> Iterator[Page]:
    """A fresh browser's page, in which nothing may go wrong unnoticed."""
    context = chromium.new_context(viewport=WIDE, device_scale_factor=1)
    context.set_default_timeout(SECONDS * 1000)
    expect.set_options(timeout=SECONDS * 1000)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: requests.append(request))
    yield page
    context.close()
    assert faults == []


def opened(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#model")).not_to_be_empty()


def ask(page: Page, question: str = QUESTION) -> list[str]:
    """Ask by keyboard; the texts of the answers, once they are complete."""
    page.get_by_label("Question").fill(question)
    page.keyboard.press("Enter")
    turn = page.locator(".turn", has_text=question).last
    expect(turn.locator("article[aria-busy=false]")).to_have_count(3)
    return turn.locator(".answer").all_text_contents()


def tokens_of(page: Page) -> Locator:
    return page.get_by_role("listbox").get_by_role("option")


def colours_of(page: Page) -> list[str]:
    background = "all => all.map(token => getComputedStyle(token).backgroundColor)"
    found: list[str] = tokens_of(page).evaluate_all(background)
    return found


def word_moved_furthest(page: Page) -> int:
    """Which token it is, of those that are words."""
    shares: list[int] = tokens_of(page).evaluate_all(
        "all => all.map(token => /\\w{4}/.test(token.textContent)"
        " ? parseInt(token.style.getPropertyValue('--moved')) : -1)"
    )
    return shares.index(max(shares))


def picture(page: Page, name: str) -> None:
    """Make a picture of the docs, if pictures are asked for."""
    if os.environ.get("PICTURES"):
        page.screenshot(path=PICTURES / f"{name}.png")


def test_a_question_is_answered_by_the_model_alone_prompted_and_steered(
    server: RunningServer, page: Page
) -> None:
    opened(page, server.url)
    page.get_by_role("button", name="enthusiastic").click()
    page.get_by_label("Method").select_option("amulet")
    page.get_by_role("button", name="balanced").click()
    llm, wish = server.service.llm, TRAITS["enthusiastic"].more
    assert ask(page) == [
        llm.invoke(QUESTION).text,
        llm.invoke(QUESTION, preference=wish, method="pref").text,
        llm.invoke(QUESTION, preference=wish, method="balanced").text,
    ]


def test_each_column_goes_on_from_its_own_answers(
    server: RunningServer, page: Page, requests: list[Request]
) -> None:
    opened(page, f"{server.url}/#preference=Be+uplifting.")
    first = ask(page)
    ask(page, OTHER_QUESTION)
    asked = [json.loads(each.post_data) for each in requests if each.post_data]
    assert [each["messages"][1]["content"] for each in asked[-3:]] == first
    assert len({each["seed"] for each in asked[-3:]}) == 1
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)


def test_tokens_tell_by_colour_and_on_hover_how_far_they_were_moved(
    server: RunningServer, page: Page
) -> None:
    opened(page, f"{server.url}/#preference=Be+uplifting.&method=amulet:strength=1")
    ask(page)
    colours = colours_of(page)
    assert len(set(colours)) > 2
    moved = word_moved_furthest(page)
    tokens_of(page).nth(moved).hover()
    tooltip = page.get_by_role("tooltip")
    for name in ("base", "prompted", "steered"):
        expect(tooltip.locator("dt", has_text=name)).to_be_visible()
    trace = server.service.llm.invoke(
        QUESTION, preference="Be uplifting.", method="balanced", trace=True
    ).response_metadata["trace"]
    for stream in ("base", "pref", "steered"):
        expect(tooltip).to_contain_text(f"{100 * trace[moved][stream]:.1f} %")
    expect(tooltip).to_contain_text(f"steered / prompted {as_factor(ratio(trace[moved]))}, div")
    page.get_by_text("Further settings").click()
    page.get_by_label("Colours show").select_option("steered / base")
    assert colours_of(page) != colours


def test_everything_can_be_done_by_keyboard_alone(server: RunningServer, page: Page) -> None:
    opened(page, f"{server.url}/#preference=Be+uplifting.&method=amulet:strength=1")
    expect(page.get_by_label("Question")).to_be_focused()
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator("article[aria-busy=false]")).to_have_count(3)
    page.keyboard.press("Shift+Tab")  # from the question to the answer above it
    tokens = tokens_of(page)
    expect(tokens.first).to_be_focused()
    expect(page.get_by_role("tooltip")).to_be_visible()
    expect(tokens.first).to_have_accessible_description(re.compile("base .* prompted .* steered"))
    page.keyboard.press("ArrowDown")  # the next that was moved
    focused = page.locator("[role=option]:focus")
    expect(focused).not_to_have_attribute("data-moved", "no")
    page.keyboard.press("End")
    expect(tokens.last).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("tooltip")).to_be_hidden()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
    assert {"preference", "compose", "method", "how-far", "user", "scheme", "copy-link"} <= reached


def test_what_is_over_is_shown_as_such_and_can_be_forgotten(
    server: RunningServer, page: Page
) -> None:
    server.service.llm.memory.set("hedy", "Keep it short.", expires=0.05)
    time.sleep(0.1)
    opened(page, server.url)
    page.get_by_label("User").fill("hedy")
    page.get_by_label("User").press("Tab")
    kept = page.get_by_role("listitem")
    expect(kept).to_contain_text("over since")
    expect(page.get_by_role("button", name="Change: Keep it short.")).to_have_count(0)
    page.get_by_role("button", name="Forget: Keep it short.").click()
    expect(kept).to_have_count(0)


def test_a_stored_preference_changes_the_next_answer(server: RunningServer, page: Page) -> None:
    opened(page, server.url)
    base, _, before = ask(page)
    assert before == base
    page.get_by_label("User").fill("grace")
    page.get_by_label("User").press("Tab")
    page.get_by_label("Remember").fill("Be creative.")
    page.get_by_label("Remember").press("Enter")
    kept = page.get_by_role("listitem")
    expect(kept).to_contain_text("Be creative.")
    page.get_by_role("button", name="Change: Be creative.").click()
    page.get_by_label("Preference", exact=True).last.fill("Keep it short.")
    page.keyboard.press("Enter")
    expect(kept).to_contain_text("Keep it short.")
    expect(kept).to_have_count(1)
    page.get_by_role("button", name="New conversation").click()
    base, _, after = ask(page)
    assert after == server.service.llm.invoke(QUESTION, preference="Keep it short.").text != base
    picture(page, "stored")
    page.get_by_role("button", name="Forget: Keep it short.").click()
    expect(kept).to_have_count(0)
    assert server.service.llm.memory.get("grace") == ()


def test_a_link_has_the_settings_and_restores_them(server: RunningServer, page: Page) -> None:
    opened(page, server.url)
    page.get_by_label("Preference", exact=True).fill("Talk like a pirate & <b>shout</b>.")
    page.get_by_label("Method").select_option("linear_alignment")
    page.get_by_label("Ratio", exact=True).fill("3.5")
    page.get_by_text("Further settings").click()
    page.get_by_label("Temperature").fill("0.4")
    link = page.evaluate("location.href")
    page.goto("about:blank")
    opened(page, link)
    expect(page.get_by_label("Preference", exact=True)).to_have_value(
        "Talk like a pirate & <b>shout</b>."
    )
    expect(page.get_by_label("Method")).to_have_value("linear_alignment")
    expect(page.get_by_label("Ratio, as a number")).to_have_value("3.5")
    expect(page.get_by_label("Temperature")).to_have_value("0.4")


def test_what_people_write_is_never_markup(server: RunningServer, page: Page) -> None:
    written = "<img src=x onerror=alert(1)>"
    opened(page, f"{server.url}/#preference={written}&max_tokens=4&method={written}")
    page.get_by_label("User").fill(written)
    page.get_by_label("User").press("Tab")
    page.get_by_label("Remember").fill(written)
    page.get_by_label("Remember").press("Enter")
    expect(page.get_by_role("listitem")).to_contain_text(written)
    ask(page, written)
    expect(page.locator(".turn h2")).to_have_text(written)
    assert page.locator("img").count() == 0
    server.service.llm.memory.erase(written)


def test_a_key_is_asked_for_and_is_in_no_link(
    tmp_path: Path, page: Page, requests: list[Request]
) -> None:
    keys = [{"name": "ada", "key": "sk-of-ada", "user": "ada"}]
    store = str(tmp_path / "preferences.db")
    with running(read_settings(store=store, keys=keys, **STEADY)) as guarded:
        page.goto(guarded.url)
        key = page.get_by_label("API key")
        expect(key).to_be_focused()
        key.fill("sk-of-ada")
        key.press("Enter")
        expect(page.get_by_text("You are ada.")).to_be_visible()
        expect(page.get_by_label("User")).to_be_hidden()
        page.get_by_role("button", name="concise").click()
        assert (
            ask(page)[2] == guarded.service.llm.invoke(QUESTION, preference="Keep it short.").text
        )
        assert "sk-of-ada" not in page.url
        assert all("sk-of-ada" not in request.url for request in requests)
        assert page.evaluate("JSON.stringify(localStorage)") == "{}"


def test_an_answer_can_be_stopped_and_what_fails_is_told(server: RunningServer, page: Page) -> None:
    opened(page, f"{server.url}/#preference=Please+explain+everything+in+detail.&max_tokens=200")
    page.get_by_label("Question").fill(QUESTION)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("article [role=alert]").first).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_enabled()
    page.goto(f"{server.url}/?#max_tokens=999999")
    expect(page.locator("#model")).not_to_be_empty()
    ask(page)
    expect(page.locator("article [role=alert]").first).to_contain_text("context")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_page_fits_follows_the_scheme_and_is_accessible(
    server: RunningServer, page: Page, scheme: str, size: dict[str, int]
) -> None:
    page.set_viewport_size(size)  # type: ignore[arg-type]
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    opened(page, f"{server.url}/#preference=Be+creative.&method=amulet:strength=2")
    ask(page)
    tokens_of(page).nth(word_moved_furthest(page)).click()
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    assert is_dark(page) == (scheme == "dark")
    assert axe_violations(page) == []
    if (size, scheme) == (WIDE, "light"):
        picture(page, "playground")
    if (size, scheme) == (PHONE, "dark"):
        picture(page, "phone")
    page.get_by_label("Scheme").select_option("dark" if scheme == "light" else "light")
    assert is_dark(page) == (scheme == "light")


def is_dark(page: Page) -> bool:
    """Whether text is lighter than what it is on."""
    background = "getComputedStyle(document.body).backgroundColor"
    return bool(page.evaluate(f"Number({background}.match(/\\d+/)[0]) < 128"))


def axe_violations(page: Page) -> list[str]:
    return [
        f"{each['id']}: {node['html']}"
        for each in Axe().run(page).response["violations"]
        for node in each["nodes"]
    ]


def test_the_page_asks_nobody_but_its_own_server(
    server: RunningServer, page: Page, requests: list[Request]
) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    opened(page, server.url)
    page.get_by_role("button", name="concise").click()
    ask(page)
    assert complaints == []
    hosts = {urlsplit(request.url).netloc for request in requests}
    assert hosts == {urlsplit(server.url).netloc}
    blocked = page.evaluate("fetch('https://example.com').then(() => 'sent', () => 'blocked')")
    assert blocked == "blocked"
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<i onclick=\"alert(1)\">x</i>')")
    assert page.evaluate("document.querySelector('body > i').onclick") is None


def test_files_have_a_strict_policy_and_answers_are_kept_by_no_cache(server: RunningServer) -> None:
    http = server.http()
    for path in ("/", "/playground/main.js", "/playground/style.css"):
        headers = http.get(path).raise_for_status().headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy and "*" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
    assert http.get("/playground/../app.py").status_code == 404
    body = {"model": "pocket", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    for kept in (
        http.get("/v1/steering"),
        http.get("/v1/preferences", params={"user": "ada"}),
        http.post("/v1/chat/completions", json=body),
        http.post("/v1/chat/completions", json={**body, "stream": True}),
    ):
        assert kept.raise_for_status().headers["cache-control"] == "no-store"


def test_a_server_may_go_without_a_playground() -> None:
    with running(read_settings(playground=False)) as server:
        for path in ("/", "/playground/main.js"):
            assert httpx.get(f"{server.url}{path}").status_code == 404
