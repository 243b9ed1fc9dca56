"""Configuration files that somebody else wrote: settings, or one line that says what is wrong."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.detection.identifiers import BUILT_IN, compile_patterns, identify, last_entries
from deeplog_grpc.errors import ConfigError
from deeplog_grpc.settings import load_settings, parse_overrides
from tests.fuzz.bounds import MIB, memory_within, tries
from tests.fuzz.hostile import TEXTS, seeds

_SOURCE = (Path(__file__).parents[2] / "docs" / "config.yaml").read_text()
_WHOLE: dict[str, Any] = yaml.safe_load(_SOURCE)
_ODD: Sequence[Any] = (
    *(None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), float("inf"), "", "\0", "x" * 5_000, [], {}, [[]]),
    *({"": None}, {1: 2}, {None: []}, [None], ["("], b"\xff", "\ud800", ["\ud800("], "${HOME}", "../../etc/passwd"),
)
_MAX_LINE = 1_000


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "deeplog.yaml"


def loaded(place: Path, content: bytes) -> None:
    """Load a file: either it is good, or one short line says what is not."""
    place.write_bytes(content)
    said = ""
    try:
        load_settings(place)
    except ConfigError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < _MAX_LINE + len(str(place))


@tries(60)
@given(content=st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode(errors="surrogatepass")))
def test_random_files(place: Path, content: bytes) -> None:
    loaded(place, content)


@tries(150)
@given(seed=seeds)
def test_odd_values_under_any_key(place: Path, seed: int) -> None:
    rng = random.Random(seed)
    section = rng.choice(sorted(_WHOLE))
    keys = _WHOLE[section]
    content: Any = rng.choice(_ODD)
    if isinstance(keys, dict) and keys and rng.random() < 0.9:
        key = rng.choice(sorted(keys))
        inner = keys[key]
        if isinstance(inner, dict) and inner and rng.random() < 0.8:
            content = {rng.choice(sorted(inner)): content}
        content = {key: content}
    raw = yaml.safe_dump({section: content}, allow_unicode=True)
    loaded(place, raw.encode(errors="surrogatepass"))


@tries(60)
@given(seed=seeds)
def test_the_documented_file_with_changed_characters(place: Path, seed: int) -> None:
    rng = random.Random(seed)
    text = bytearray(_SOURCE.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text))
        match rng.randrange(4):
            case 0:
                text[at : at + 1] = rng.choice(
                    (b"\t", b"\0", b"\xff", b"&a ", b"*a ", b"!!python/none ", b"- ", b": ", b"#")
                )
            case 1:
                del text[at : at + rng.randint(1, 30)]
            case 2:
                del text[at + 200 :]
            case _:
                text[at:at] = b"\n  odd: {a: [b, 1]}\n"
    loaded(place, bytes(text))


def _laughs(level: int) -> str:
    """A list that holds a list ten times, and so on: 10 ** level words in some hundred characters."""
    if not level:
        return "&a0 ha"
    return f"&a{level} [{_laughs(level - 1)}{f', *a{level - 1}' * 9}]"


@pytest.mark.parametrize(
    "content",
    [
        f"sessions: {{patterns: [{_laughs(9)}]}}",
        f"sessions: {_laughs(9)}",
        f"server: {{max_queue_entries: {_laughs(9)}}}",
        f"redaction: {{patterns: {{x: {_laughs(9)}}}}}",
        f"outputs: {{a: {_laughs(9)}}}",
        f"ship: {{files: {_laughs(9)}}}",
        f"server: {{max_queue_entries: 0x{'f' * 9_000}}}",
        "sessions: &s {patterns: *s}\n",
        "outputs: &o {a: *o}\n",
        "server: &s [*s]\n",
        "a: " + "[" * 400,
        "a: " + "{b: " * 400 + "1" + "}" * 400,
        "server: {max_queue_entries: " + "9" * 10_000 + "}",
        "server: {listen: 2024-13-45}",
        "server: {listen: 2024-02-30 25:61:61}",
        "server: {listen: !!python/object/apply:os.system [exit]}",
        "server: {listen: !!binary '****'}",
        "server: {listen: !!int 'x'}",
        "server: {? [a, b] : 1}",
        "server: {<<: 1}",
        "\ufeffserver: {}",
        'sessions: {patterns: ["\\ud800"]}',
        "x: 0o9\ny: 0x\nz: 1:99:99\n",
    ],
    ids=lambda content: content[:30].strip(),
)
def test_bombs_and_oddities(place: Path, content: str) -> None:
    with memory_within(32 * MIB):
        loaded(place, content.encode(errors="surrogatepass"))


@tries(80)
@given(
    assignment=st.sampled_from(TEXTS) | st.text(max_size=30) | st.sampled_from(sorted(_WHOLE)),
    value=st.text(max_size=20),
)
def test_odd_overrides(assignment: str, value: str) -> None:
    said = ""
    try:
        load_settings(None, parse_overrides([f"{assignment[:200]}={value}"]))
    except ConfigError as error:
        said = str(error)
    assert len(said) < _MAX_LINE


@tries(100)
@given(
    expression=st.sampled_from([r"(\w+)=", "(a|aa)+$", r"(?i)x{3}", r"\pL+", "(", "\ud800", r"[^a]"])
    | st.text(max_size=8),
    bodies=st.lists(st.sampled_from(["\ud800", "a=1 \udfff", "\0", "a" * 3_000]) | st.text(max_size=20), max_size=4),
)
def test_expressions_of_users_meet_any_text(expression: str, bodies: list[str]) -> None:
    try:
        patterns = compile_patterns([expression], field="sessions.patterns")
    except ConfigError:
        return
    assert len(identify(bodies, [""] * len(bodies), ["s"] * len(bodies), (*patterns, *BUILT_IN))) == len(bodies)
    last_entries(bodies, patterns)


def test_half_a_surrogate_pair_hides_nothing_else() -> None:
    (pattern,) = compile_patterns([r"order=(\w+)"], field="sessions.patterns")
    assert identify(["\ud800 order=17"], [""], ["s"], (pattern,)) == ["17"]
