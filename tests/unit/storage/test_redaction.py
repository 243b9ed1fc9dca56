from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.storage.redaction import Redactor
from deeplog_grpc.storage.redaction_config import RedactionConfig

ALL = RedactionConfig(
    built_in=("email", "ip", "credit_card", "credentials"),
    patterns={"[order]": r"ORD-\d+", "[who]": r"user (\w+)"},
)
REDACTOR = Redactor(ALL)

# Pieces that are, or nearly are, what is looked for, so that they meet in one text.
_WORDS = (
    'ORD-17|user |bo@example.org|a.b+c@d-e.f.gh|@|password=|PWD: |"token": |\'|"|hunter2|://|u:p@|host|/|?|&|,|;| |=|:|'
    "10.0.0.1|999.1.1.1|1.2.3.4.5.6.7.8|::1|fe80::1|2001:db8:0:0:0:0:0:1|dead::beef|12:34:56|std::vector|"
    "4111 1111 1111 1111|4111111111111111|378282246310005|0000000000000000|1234|-|411|Bearer |basic |abcdefgh.IJK~x=|"
    "eyJhbGciOi.eyJzdWIi.sig-x|AKIAIOSFODNN7EXAMPLE|ghp_aaaaaaaaaaaaaaaaaaaaaaaa|sk-aaaaaaaaaaaaaaaaaaaa|[redacted]|[ip]|"
    "[|]|é|\ud800|\0|\n|\u202e"
)
_PIECES = st.sampled_from(_WORDS.split("|"))
_TEXTS = st.one_of(st.text(max_size=40), st.lists(_PIECES, max_size=12).map("".join))


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("mail to bo.b+x@mail.example.org!", "mail to [email]!"),
        ("from 10.0.0.1:80 and 10.0.0.300", "from [ip]:80 and 10.0.0.300"),
        ("fe80::1%eth0 2001:db8::7 ::ffff:10.0.0.1", "[ip]%eth0 [ip] [ip]"),
        ("at 12:34:56 std::vector 00:11:22:33:44:55", "at 12:34:56 std::vector 00:11:22:33:44:55"),
        ("card 4111 1111 1111 1111, 4111-1111-1111-1112", "card [card], 4111-1111-1111-1112"),
        ("081109 4111111111111111 0000000000000000", "081109 [card] 0000000000000000"),
        ("password=hunter2, user=x", "password=[redacted], user=x"),
        ('{"api_key": "a b", "Token":"c"}', '{"api_key": "[redacted]", "Token":"[redacted]"}'),
        ("db_password: 'a b' access-key=c;d", "db_password: '[redacted]' access-key=[redacted];d"),
        ("https://bo:pw@host/x", "https://[redacted]@host/x"),
        ("Authorization: Bearer abc.DEF-123=", "Authorization: Bearer [redacted]"),
        ("key AKIAIOSFODNN7EXAMPLE here", "key [redacted] here"),
        ("ORD-17 of user bo", "[order] of user [who]"),
        ("half \ud800 of ORD-17", "half \ufffd of [order]"),
        ("nothing here", "nothing here"),
    ],
)
def test_what_is_named_is_replaced_and_nothing_else(text: str, redacted: str) -> None:
    assert REDACTOR.text(text) == redacted


@settings(max_examples=400, deadline=None)
@given(_TEXTS)
def test_redacting_again_changes_nothing(text: str) -> None:
    once, hidden = REDACTOR.with_hidden(text)
    assert REDACTOR.text(once) == once
    assert all(len(secret) for secret in hidden)


@given(st.lists(_TEXTS, max_size=5))
def test_a_column_is_redacted_text_by_text(texts: list[str]) -> None:
    assert list(REDACTOR.texts(texts)) == [REDACTOR.text(text) for text in texts]


def test_long_texts_take_time_by_their_length_only() -> None:
    for piece in ("a", "a.", "1", "1 ", "411 ", "@", "a@", ":", "f:", "password=", "://", "eyJ"):
        long = piece * (200_000 // len(piece))
        assert REDACTOR.text(REDACTOR.text(long)) == REDACTOR.text(long)


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        ({"[x]": "("}, "redaction.patterns.[x]: not a regular expression"),
        ({"[x]": "\ud800"}, "redaction.patterns.[x]: not a regular expression"),
        ({"[x]": "a*"}, "redaction.patterns.[x]: matches the empty text"),
        ({"[x]": "x"}, "redaction.patterns.[x]: matches its own replacement"),
    ],
)
def test_bad_patterns_are_refused(patterns: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RedactionConfig(patterns=patterns)
    assert str(caught.value).startswith(said)


def test_nothing_is_redacted_unless_it_is_asked_for() -> None:
    found: dict[str, Any] = asdict(RedactionConfig())
    assert found == {"built_in": (), "patterns": {}, "samples": True}
    assert not RedactionConfig().is_on
