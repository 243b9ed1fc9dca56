"""Outlines and skeletons."""

from hypothesis import given, settings
from hypothesis import strategies as st

from deeplog_grpc.parsing import Parser
from deeplog_grpc.parsing.skeletons import fold, outlines_of, valid_text

_PARTS = ("a", "bcdef", "node", "0", "17", " ", ".", "..", "-", "_", "/", "é", "\0", "\ud800", "0x9f3ab", "3fe-ab7")
_lines = st.lists(st.lists(st.sampled_from(_PARTS), max_size=12).map("".join), min_size=1, max_size=8)


@settings(deadline=None)
@given(_lines)
def test_an_outline_has_the_skeleton_of_its_line(lines: list[str]) -> None:
    assert fold(outlines_of(lines)) == fold([valid_text(line).encode() for line in lines])


@settings(deadline=None)
@given(_lines)
def test_an_outline_depends_on_its_line_alone(lines: list[str]) -> None:
    assert outlines_of(lines) == [outline for line in lines for outline in outlines_of([line])]


def test_hexadecimal_ids_have_one_outline() -> None:
    assert outlines_of(["3f2a91bc-77de started", "ab0c1d2e-f004 started"]) == [b"0 started"] * 2


def test_a_form_with_ever_new_outlines_takes_little_of_the_cache() -> None:
    parser = Parser()
    letters = "ghijklmnopqrstuvwxyz"
    lines = [f"opened {a}{b}{c}zzzz7 at once" for a in letters for b in letters for c in letters[:3]]
    assert set(parser.parse(lines).keys.tolist()) == {0}
    assert len(parser._outlines) == 512
