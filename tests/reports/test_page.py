"""The page stands alone: nothing from outside, no script, and no name that becomes markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from fcnseg.reports.experiment import read_experiment
from fcnseg.reports.page import page
from fcnseg.reports.summary import summarise
from sweeps import HOSTILE, write_experiment, write_job, write_predictions

VOID = {"meta", "link", "img", "br"}


class Checked(HTMLParser):
    """Notes elements, addresses and identities, and that every element is closed in its place."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.addresses, self.identities = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        known = dict(attributes)
        self.addresses += [known[key] for key in ("src", "href", "srcset", "action", "data") if key in known]
        self.identities += [known["id"]] if "id" in known else []
        assert not any(key.startswith("on") for key in known)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_part_is_there(summary):
    html = page(summary)
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings == ["Scores", "Runs", "Learning curves", "IU of each class", "Confusion of classes", "Predictions"]
    assert "Yes: 16s is ahead of 32s." in html
    checked = Checked(html)
    assert checked.seen.count("table") == 3
    assert checked.seen.count("img") == 2 * (2 + 2)
    assert len(checked.identities) == len(set(checked.identities))


@pytest.mark.parametrize("photographs", [True, False])
def test_nothing_is_loaded_from_anywhere(summary, photographs):
    html = page(summary, photographs)
    checked = Checked(html)
    assert all(address.startswith("data:") for address in checked.addresses)
    assert "script" not in checked.seen
    assert not re.search(r"url\(|@import|https?:", html)
    assert "default-src 'none'" in html
    assert ("data:image/jpeg" in html) is photographs


def test_hostile_names_become_no_markup(tmp_path):
    job = write_job(tmp_path / "r" / "a", HOSTILE, 0, 0.4, device='"><img src=x onerror=alert(1)>')
    write_predictions(job, names=("%22%3E%3Cscript%3E",))
    failed = write_job(tmp_path / "r" / "b", HOSTILE, 1, finished=False)
    (failed / "console.log").write_text("error: <script>alert(2)</script>\n")
    path = write_experiment(tmp_path / "x.yaml", rows=[HOSTILE], paper={HOSTILE: {"mean_iu": 1}}, claim=HOSTILE)
    summary = replace(summarise(read_experiment(str(path)), tmp_path / "r"), verdict=HOSTILE)
    html = page(summary)
    checked = Checked(html)
    assert "script" not in checked.seen
    assert "alert(2)" in html
    assert checked.seen.count("img") == 3


def test_a_sweep_of_which_nothing_is_finished_has_a_page(tmp_path, experiment):
    write_job(tmp_path / "r" / "a", "8s", 0, steps=0, finished=False)
    html = page(summarise(experiment, tmp_path / "r"))
    Checked(html)
    assert "not finished" in html
    assert re.findall(r"<h2>(.*?)</h2>", html) == ["Scores"]


def test_results_without_classes_curves_or_pictures_have_a_page(tmp_path, experiment):
    job = write_job(tmp_path / "r" / "a", "8s", 0, 0.4, confusion_matrix=None, per_class_iu=None, best=None)
    (job / "metrics.csv").unlink()
    html = page(summarise(experiment, tmp_path / "r"))
    Checked(html)
    assert re.findall(r"<h2>(.*?)</h2>", html) == ["Scores", "Runs"]
    assert "best mean IU" not in html
