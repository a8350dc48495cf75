"""The page as a reader uses it, in headless Chromium: sorts, filters, saves, follows links, switches its theme."""

import csv
import io
import json

import pytest

from . import browser, report_store

COMMAND = browser.find()
pytestmark = [
    pytest.mark.skipif(COMMAND is None, reason="no Chromium here (apt-get install chromium, or set CHROMIUM)"),
    pytest.mark.filterwarnings("ignore:os.fork"),  # of jax, once another test has loaded it
]


@pytest.fixture(scope="module")
def address(reported, tmp_path_factory):
    """The page of the tasks of `report_store`, from disk."""
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(reported[3], encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    opened = browser.Browser(COMMAND, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def opened(chromium, address):
    """The page at desktop width, with no problem before and none after."""
    chromium.problems.clear()
    chromium.view(1200)
    chromium.open(address)
    chromium.run("localStorage.clear()")
    yield chromium
    assert chromium.problems == []
    assert all(one.startswith(address) for one in chromium.loaded), chromium.loaded


def shown(chromium, table: str) -> list[str]:
    """First cells of the rows that are seen."""
    script = (
        "[...document.querySelectorAll('%s tbody tr:not(.group)')].filter(row => row.checkVisibility())"
        ".map(row => row.cells[0].textContent.trim())"
    )
    return chromium.run(script % table)


def test_it_loads_alone(opened):
    assert opened.run("document.title") == "tangentbench report, laptop tier"
    assert opened.run("document.querySelectorAll('svg.plot').length") > 10
    assert opened.run("document.scripts.length") == 2
    assert opened.run("document.querySelector('.tools').hidden") is False


def test_what_a_page_may_not_do_is_noticed(chromium, address):
    chromium.open(address)
    chromium.problems.clear()
    chromium.run("fetch('https://tangentbench.invalid/x').catch(() => 0)")
    assert chromium.problems
    chromium.problems.clear()
    chromium.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.x = 1'}))")
    assert chromium.run("window.x") is None
    chromium.problems.clear()


def test_tables_sort_both_ways(opened):
    scores = "[...document.querySelectorAll('table.arena')][0]"
    column = f"[...{scores}.tHead.rows[0].cells].find(c => c.textContent == 'score')"
    values = f"[...{scores}.tBodies[0].rows].map(r => Number(r.querySelector('[data-title=score]').dataset.sort))"
    opened.run(f"{column}.querySelector('button').click()")
    assert opened.run(f"{column}.getAttribute('aria-sort')") == "ascending"
    rising = opened.run(values)
    assert rising == sorted(rising) and len(set(rising)) == 3
    opened.run(f"{column}.querySelector('button').click()")
    assert opened.run(f"{column}.getAttribute('aria-sort')") == "descending"
    assert opened.run(values) == rising[::-1]
    assert opened.run(f"{scores}.querySelectorAll('[aria-sort]').length") == 1


def test_claims_sort_within_their_paper(opened):
    before = shown(opened, ".claims")
    opened.run("document.querySelector('.claims thead button').click()")
    opened.run("document.querySelector('.claims thead button').click()")
    after = shown(opened, ".claims")
    assert sorted(after) == sorted(before) and after != before
    papers = "[...document.querySelectorAll('.claims tbody')].map(body => body.rows[0].className)"
    assert set(opened.run(papers)) == {"group"}


def test_filters_hide_rows_and_count_them(opened):
    total = len(shown(opened, ".claims"))
    select = "document.querySelector('[data-by=verdict]')"
    opened.run(f"{select}.value = 'rejected'; {select}.dispatchEvent(new Event('input', {{bubbles: true}}))")
    (row,) = shown(opened, ".claims")
    assert "show/scaling: stays" in row
    assert opened.run("document.querySelector('[data-count=claims]').textContent") == f"1 of {total} rows"
    assert opened.run("[...document.querySelectorAll('tr.group')].filter(g => g.checkVisibility()).length") == 1
    opened.run(f"{select}.value = ''; {select}.dispatchEvent(new Event('input'))")
    assert len(shown(opened, ".claims")) == total
    field = "document.querySelector('[data-filter=claims][type=search]')"
    opened.run(f"{field}.focus()")
    opened.send("Input.insertText", text="2205 CATAPULTS")
    assert len(shown(opened, ".claims")) == 1


def test_a_permalink_opens_what_it_names(opened, address):
    opened.open(f"{address}#show/split")
    assert opened.run("document.activeElement.id") == "show/split"
    top = opened.run("document.getElementById('show/split').getBoundingClientRect().top")
    assert 0 <= top < 200
    opened.run("document.querySelectorAll('details').forEach(d => d.open = false)")
    opened.run("location.hash = '#' + document.querySelector('details figure').id")
    opened.run("new Promise(done => setTimeout(done, 100))")
    assert opened.run("document.querySelector('details:has(figure)').open") is True


def test_saved_data_is_the_page_s(opened):
    opened.run("window.blobs = []; URL.createObjectURL = (blob) => (blobs.push(blob), 'data:,')")
    opened.run("window.names = []; HTMLAnchorElement.prototype.click = function () { names.push(this.download) }")
    for kind in ("csv", "json"):
        opened.run(f"document.querySelector('[data-key=\"show/scaling-runs\"][data-save={kind}]').click()")
    assert opened.run("names") == ["show-scaling.csv", "show-scaling.json"]
    texts = opened.run("Promise.all(blobs.map((blob) => blob.text()))")
    embedded = json.loads(opened.run("document.getElementById('data').textContent"))["show/scaling-runs"]
    columns, values = report_store.unpacked(embedded)
    rows = list(csv.reader(io.StringIO(texts[0])))
    assert rows[0] == columns and len(rows) == 37
    records = json.loads(texts[1])
    assert [list(record.values()) for record in records] == values
    at = rows[0].index("kernel_change")
    assert [float(row[at]) for row in rows[1:]] == [record["kernel_change"] for record in records]


@pytest.mark.parametrize("dark", [False, True])
def test_the_theme_follows_the_system_until_it_is_chosen(opened, address, dark):
    opened.view(1200, dark=dark)
    opened.open(address)
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('svg.plot text')).fill"
    light, night = "rgb(255, 255, 255)", "rgb(22, 25, 29)"
    assert opened.run(paper) == (night if dark else light)
    first = opened.run(ink)
    opened.run("document.getElementById('theme').click()")
    assert opened.run(paper) == (light if dark else night)
    assert opened.run(ink) != first
    opened.open(address)
    assert opened.run(paper) == (light if dark else night)
    assert opened.run("document.getElementById('theme').textContent") == ("Dark theme" if dark else "Light theme")


def test_a_phone_scrolls_down_only(opened, address):
    opened.view(360)
    opened.open(address)
    assert opened.run("document.documentElement.scrollWidth") <= 360


def test_a_phone_shows_captions_and_tasks_whole(opened, address):
    """A caption is not cut at the edge of the screen; a task is a card, whose numbers say what they count."""
    opened.view(420)
    opened.open(address)
    ends = "[...document.querySelectorAll('table.arena caption .fit, #tasks table.cards td')]"
    assert opened.run(f"{ends}.length") > 7
    assert opened.run(f"Math.max(...{ends}.map((e) => e.getBoundingClientRect().right))") <= 420
    caption = "document.querySelector('table.arena caption .fit').getBoundingClientRect()"
    table = "document.querySelector('table.arena').getBoundingClientRect()"
    assert opened.run(f"{table}.width") > opened.run(f"{caption}.width")  # what would be cut without a width of its own
    named = "getComputedStyle(document.querySelector('#tasks td[data-title=runs]'), '::before').content"
    assert opened.run(named) == '"runs "'
    opened.view(1280)
    opened.open(address)
    assert opened.run(named) == "none"


def test_the_keyboard_is_enough(opened):
    opened.press("Tab")
    assert opened.run("document.activeElement.textContent") == "Skip to the results"
    opened.press("Enter")
    assert opened.run("location.hash") == "#main"
    button = "document.querySelector('.claims thead button')"
    opened.run(f"{button}.focus()")
    opened.press("Enter")
    assert opened.run(f"{button}.parentElement.getAttribute('aria-sort')") == "ascending"
    assert opened.run(f"getComputedStyle({button}, ':focus-visible').outlineStyle") != "none"
