import re
from html.parser import HTMLParser
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeplog_grpc.cli.html_report import Level, Report, picture, prepare, render, write
from deeplog_grpc.errors import InputError
from deeplog_grpc.settings import Settings
from deeplog_grpc.training import Comparison
from deeplog_grpc.training.metrics import Judged, Labelled

LABELS = Labelled.of(np.array([True, False, True, False]))
RULES = ("unseen_key", "length", "unseen_pair", "ngram", "counts")


def judged(*scores: float) -> Judged:
    return Judged(scores=np.array(scores), flagged=np.array(scores) > 0.5)


def comparison() -> Comparison:
    return Comparison.of(
        LABELS,
        combined=judged(0.9, 0.1, 0.8, 0.2),
        by_detector={"execution_path": judged(0.9, 0.0, 0.0, 0.0)},
        baselines={name: judged(0.2, 0.1 * place, 0.7, 0.3) for place, name in enumerate(RULES)},
    )


def report(title: str = "A log") -> Report:
    levels = [Level(title="Entries", comparison=comparison()), Level(title="Sessions", comparison=comparison())]
    return Report(
        title=title, levels=levels, facts={"judged": "4"}, end_of_session="It ends at its end.", settings=Settings()
    )


class Links(HTMLParser):
    """Collects all that a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_a_report_needs_nothing_from_elsewhere() -> None:
    links = Links()
    links.feed(render(report()))
    assert len(links.found) == 2
    assert all(link.startswith("data:image/svg+xml;base64,") for link in links.found)
    assert not {"script", "link", "iframe"} & set(links.tags)


def test_a_report_says_what_was_done() -> None:
    page = render(report())
    for text in ("It ends at its end.", "thresholds.false_positive_rate", "execution_path", "2 normal, 2 abnormal"):
        assert text in page
    assert re.search(r'class="ours"><td>all together</td><td>0</td><td>0</td><td>1.0000</td>', page)


def test_text_is_no_markup() -> None:
    assert "<b>a & b" not in render(report("<b>a & b"))
    assert "&lt;b&gt;a &amp; b" in render(report("<b>a & b"))


def test_the_same_figures_give_the_same_file(tmp_path: Path) -> None:
    prepare(tmp_path / "deep" / "r")
    first = write(tmp_path / "deep" / "r", report()).read_text()
    assert write(tmp_path / "deep" / "r", report()).read_text() == first


def test_a_picture_shows_all_together_and_the_best_rules() -> None:
    figure = picture(comparison())
    (axes,) = figure.axes
    labels = axes.get_legend_handles_labels()[1]
    assert labels[0].startswith("all together (1.000)")
    assert len(labels) == 5
    assert not any("counts" in label for label in labels)  # the least one of five


def test_a_level_without_anything_abnormal_has_a_picture() -> None:
    nothing = Labelled.of(np.zeros(0, np.bool_))
    found = Comparison.of(nothing, combined=judged(), by_detector={}, baselines={"unseen_key": judged()})
    assert picture(found).axes


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find: Any = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    with pytest.raises(InputError, match=r"^--report: needs matplotlib: pip install 'deeplog-grpc\[report\]'$"):
        prepare(tmp_path / "r")
    assert not (tmp_path / "r").exists()
    prepare(None)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="no such folder can be made"):
        prepare(tmp_path / "file" / "r")
