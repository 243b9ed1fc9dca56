"""SVG by Graphviz, or by a stand-in where it is missing, and the page."""

import shutil
import stat
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deeplog_grpc.drawing import Anomaly, Highlight, dot, page, svg, svg_of_dot, view
from deeplog_grpc.errors import DrawingError
from tests.workflows import ALL, CHOICE, HOSTILE, LOOP, SEQUENCE, large, renamed

HAS_GRAPHVIZ = shutil.which("dot") is not None
MARKED = Highlight(
    path=(1, 2), missing=(4,), anomaly=Anomaly(text=HOSTILE, came=HOSTILE, state=2, task=0), notes={1: HOSTILE}
)


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A program of the name that does as the test wants."""
    program = folder / "dot"
    program.write_text(f"#!{sys.executable}\nimport sys, time\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def test_without_graphviz_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DrawingError) as caught:
        svg(view(SEQUENCE))
    assert str(caught.value) == "format: Graphviz is not installed here: install Graphviz, or ask for mermaid or dot"


def test_the_graph_goes_in_and_the_picture_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "print(sys.argv[1:], sys.stdin.buffer.read().decode(), end='')")
    shown = view(renamed(CHOICE, HOSTILE))
    assert svg(shown) == f"['-Tsvg'] {dot(shown)}"


def test_a_layout_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(DrawingError, match=r"needs more than 0\.3 s for it: ask for one task"):
        svg(view(SEQUENCE), limit_s=0.3)
    assert time.monotonic() - started < 10


def test_a_failure_is_told_on_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "sys.stderr.write('bad\\nfont\\n'); sys.exit(1)")
    with pytest.raises(DrawingError, match=r"^format: Graphviz failed \(bad font\): ask for mermaid or dot$"):
        svg(view(SEQUENCE))


def test_a_program_that_does_not_read_is_a_failure_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "sys.exit(3)")
    with pytest.raises(DrawingError, match="Graphviz failed"):
        svg(view(large(400)))


@pytest.mark.skipif(not HAS_GRAPHVIZ, reason="Graphviz is not installed")
@pytest.mark.parametrize("name", ALL)
def test_graphviz_draws_every_state_and_edge(name: str) -> None:
    picture = ElementTree.fromstring(svg(view(ALL[name])))
    groups = [element.get("class") for element in picture.iter() if element.tag.endswith("}g")]
    assert groups.count("node") == len(ALL[name].states)
    assert groups.count("edge") == len(ALL[name].edges)
    assert groups.count("cluster") == len(ALL[name].tasks)


@pytest.mark.skipif(not HAS_GRAPHVIZ, reason="Graphviz is not installed")
@pytest.mark.parametrize("text", [HOSTILE, "&lt;b&gt; &#60; &quot;", "\\", '"', "]]>", "<b>", "<<b>>", "\\N\\G\\l"])
def test_graphviz_shows_hostile_templates_as_they_are(text: str) -> None:
    picture = ElementTree.fromstring(svg(view(renamed(CHOICE, text), highlight=MARKED)))
    tags = {element.tag.rpartition("}")[2] for element in picture.iter()}
    assert tags <= {"svg", "g", "title", "text", "polygon", "path", "ellipse", "polyline", "a"}
    shown = " ".join("".join(element.itertext()) for element in picture.iter() if element.tag.endswith("}text"))
    words = " ".join(text.split())[:15]
    assert words in " ".join(shown.replace("\xa0", " ").split())
    links = [value for element in picture.iter() for name, value in element.attrib.items() if name.endswith("href")]
    assert not links


class Tags(HTMLParser):
    """Collects what a browser would run or load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.attributes |= {name for name, _ in attrs}


def tags(text: str) -> Tags:
    parser = Tags()
    parser.feed(text)
    return parser


def test_without_a_picture_a_page_has_the_mermaid_text() -> None:
    text = page(view(CHOICE), title="Workflow of orders", picture=None)
    assert '<pre class="mermaid">\nflowchart TD' in text
    assert "Any Mermaid viewer shows the text below" in text
    assert "--&gt;" in text


def test_a_page_has_the_picture_and_needs_nothing_from_elsewhere() -> None:
    picture = '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg width="8pt"><g/></svg>\n'
    text = page(view(CHOICE), title="Workflow of orders", picture=picture)
    assert '<svg width="8pt"><g/></svg>' in text
    assert "<?xml" not in text
    assert "mermaid" not in text
    assert not {"script", "link", "iframe", "img"} & set(tags(text).found)
    assert not {"src", "href"} & tags(text).attributes


def test_a_page_tells_all_figures() -> None:
    text = page(view(LOOP), title="t", picture=None)
    for words in ("Tasks", "Divergence points", "Loops", "1 to 5", "Slowest steps", "key_model.history", "not known"):
        assert words in text
    assert "(h) would be 4" in text
    assert "(g) 2" in " ".join(text.split()).replace("</code> ", "")


def test_templates_and_names_are_no_markup() -> None:
    text = page(view(renamed(LOOP, HOSTILE), highlight=MARKED), title=f"<script>{HOSTILE}", picture=None)
    assert "script" not in tags(text).found
    assert "&lt;script&gt;" in text
    assert "{{ 7 }}" in text  # as it was written


def test_text_that_is_no_graph_is_a_failure() -> None:
    if not HAS_GRAPHVIZ:
        pytest.skip("Graphviz is not installed")
    with pytest.raises(DrawingError, match="Graphviz failed"):
        svg_of_dot("no graph {")
