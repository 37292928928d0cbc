"""The report in a real Chromium: its table is read, at a phone's width and in the dark, and nothing leaves the page.

make test-browser runs this. A browser that is missing fails it: what was not looked at is not known to work.
"""

import re
from tempfile import TemporaryDirectory

import pytest

from chromium import Chromium
from fcnseg.report import write
from fcnseg.reports.experiment import read_experiment
from fcnseg.reports.summary import summarise
from sweeps import HOSTILE, PAPER, write_experiment, write_job, write_predictions, write_sweep

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PHONE = 360
TABLE = """[...document.querySelectorAll("#scores tbody tr")].map(row => [...row.children].map(
    cell => cell.textContent))"""
WIDE = """[...document.querySelectorAll("body *")].filter(each => {
    const box = each.getBoundingClientRect();
    const outside = box.right > LIMIT + 0.5 || box.left < -0.5;
    return outside && box.width > 0 && !each.closest(".scroll table, thead, svg");
}).map(each => each.tagName + "." + each.className)"""
"""Elements that reach over the edge; a phone would zoom out for them, so its window says nothing."""
COLOURS = """(() => {
    const of = (element, key) => getComputedStyle(element)[key].match(/[\\d.]+/g).map(Number);
    return [of(document.body, "backgroundColor"), of(document.body, "color"),
        of(document.querySelector(".remarks"), "color"), of(document.querySelector("td.missing"), "color"),
        of(document.querySelector("path.line"), "stroke"), of(document.querySelector("svg text"), "fill")];
})()"""


@pytest.fixture(scope="module")
def chromium():
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Chromium(folder)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """A report of a sweep in every state, with a row whose name and error mean something to HTML."""
    folder = tmp_path_factory.mktemp("sweep")
    runs = write_sweep(folder / "runs")
    write_predictions(write_job(runs / "small" / "hostile", HOSTILE + "-unbroken" * 20, 0, 0.2), names=("2007_000033",))
    failed = write_job(runs / "small" / "failed", "8s", 2, steps=20, finished=False)
    (failed / "console.log").write_text(f"error: {'/a/very/long/path' * 20}\n")
    path = write_experiment(folder / "t2.yaml", figure="curves", claim="A claim. " * 9, cost="10 GPU-hours")
    summary = summarise(read_experiment(str(path)), runs, verdict="Yes: 16s is ahead of 32s.")
    return next(path for path in write(summary, folder / "report") if path.suffix == ".html")


def luminance(colour):
    parts = [each / 255 for each in colour[:3]]
    red, green, blue = (each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("width", [PHONE, 1280])
def test_the_table_can_be_read_at_every_width(chromium, html, width):
    chromium.open(html, width)
    rows = {row[0]: row[1:] for row in chromium.run(TABLE)}
    assert list(rows)[:4] == list(PAPER)
    assert rows["16s"][6:9] == ["62.4", "49.5 ± 0.7", "\N{MINUS SIGN}12.9"]
    assert rows["fixed"][6:9] == ["45.4", "-", "-"]
    assert rows["fixed"][-1] == "not run"
    assert "seed 1: failed at step 120 of 400" in rows["8s"][-1]
    assert HOSTILE + "-unbroken" * 20 in rows  # as text


def test_a_reader_without_eyes_finds_table_and_headings_on_a_phone(chromium, html):
    chromium.open(html, PHONE)
    nodes = chromium.ask("Accessibility.getFullAXTree")["nodes"]
    named = {(node["role"]["value"], node["name"]["value"]) for node in nodes if "name" in node and "role" in node}
    assert {("rowheader", "16s"), ("columnheader", "mean IU"), ("columnheader", "difference")} <= named
    assert any(role == "image" and "Training loss over iterations" in name for role, name in named)
    assert ("image", "truth, 2007_000033") in named


@pytest.mark.parametrize("width", [PHONE, 768, 1280])
def test_nothing_is_wider_than_the_window(chromium, html, width):
    chromium.open(html, width)
    assert chromium.run("document.documentElement.scrollWidth") <= width
    assert chromium.run(WIDE.replace("LIMIT", str(width))) == []


def test_on_a_phone_rows_are_cards_that_need_no_scrolling(chromium, html):
    chromium.open(html, PHONE)
    assert (
        chromium.run("""(() => { const box = document.querySelector("#scores").parentElement;
        return box.scrollWidth - box.clientWidth; })()""")
        <= 0
    )
    shown = chromium.run("""getComputedStyle(document.querySelectorAll("#scores tbody tr")[2].children[8],
        "::before").content""")
    assert shown.replace('"', "").split() == ["mean", r"IU\a", "ours"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everything_stands_out_by_day_and_by_night(chromium, html, dark):
    chromium.open(html, dark=dark)
    paper, *inks = chromium.run(COLOURS)
    assert (luminance(paper) < 0.05) is dark
    for ink, least in zip(inks, (7, 4.5, 4.5, 3, 4.5), strict=True):
        assert contrast(paper, ink) >= least


@pytest.mark.parametrize("width", [PHONE, 1280])
def test_no_request_leaves_the_page_and_nothing_complains(chromium, html, width):
    chromium.open(html, width)
    chromium.run("""Promise.all([...document.images].map(image => image.decode()))""")
    assert chromium.run("[...document.images].every(image => image.naturalWidth > 0)")
    assert chromium.run("document.images.length") == 9
    assert [each for each in chromium.requests if not each.startswith("data:")] == [html.resolve().as_uri()]
    assert chromium.complaints == []


def test_a_page_that_is_worse_is_found_out(chromium, html, tmp_path):
    """The checks above can fail: a picture from elsewhere, a wide element and a script are noticed."""
    policy = r'<meta http-equiv="Content-Security-Policy"[^>]*>'
    worse = re.sub(policy, "", html.read_text()).replace(
        "<main>", '<img src="http://127.0.0.1:9/x.png"><div style="width:900px">wide</div><main>'
    )
    (tmp_path / "worse.html").write_text(worse)
    chromium.open(tmp_path / "worse.html", PHONE)
    assert "http://127.0.0.1:9/x.png" in chromium.requests
    assert "DIV." in chromium.run(WIDE.replace("LIMIT", str(PHONE)))
    assert chromium.run("document.documentElement.scrollWidth") > PHONE
    (tmp_path / "script.html").write_text(
        html.read_text().replace("<main>", "<script>document.title = 1</script><main>")
    )
    chromium.open(tmp_path / "script.html")
    assert any("Content Security Policy" in each for each in chromium.complaints)
