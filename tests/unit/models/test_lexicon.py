import pytest

from deeplog_grpc.models import lexicon
from deeplog_grpc.models.lexicon import SLOT, says_otherwise, tells_fault, words_of

OPPOSITES = [
    ("interface eth is up", "interface eth is down"),
    ("peer connected to node", "peer disconnected from node"),
    ("verification succeeded for block", "verification failed for block"),
    ("service started in zone", "service stopped in zone"),
    ("address reachable", "address unreachable"),
    ("certificate is valid", "certificate is invalid"),
    ("disk is ready", "disk isn't ready"),
    ("mode == strict", "mode != strict"),
    ("usage > limit of pool", "usage < limit of pool"),
    ("request sent to backend", "request sent to backend: error"),
    ("connection to host", "connection to host timed out"),
    ("session ready", "session ready, access denied"),
    ("receiving block from node", "received block from node"),
    ("copied from source to mirror", "copied to source from mirror"),
    ("image visible for group", "image hidden for group"),
    ("state changed to INITED", "state changed to RUNNING"),
    ("alarm for sensor", "alarm cleared for sensor"),
    ("service restarted", "service will be restarted"),
]
REPHRASED = [
    ("Opening connection to host", "opening a connection to the host:"),
    ("deleting block from pool", "Removing data block from the pool"),
    ("server timeout for request", "Server timed out for request"),
    ("shutdown of node", "Shut down of node"),
    ("backup failed on host", "backup failure on host"),
    ("resolved host for client", "resolved hostname for client"),
    ("threadPool resized", "thread pool resized"),
]


@pytest.mark.parametrize(("one", "other"), OPPOSITES)
def test_what_decides_is_seen_both_ways_round(one: str, other: str) -> None:
    assert says_otherwise(words_of([one]), words_of([other]))
    assert says_otherwise(words_of([other]), words_of([one]))


@pytest.mark.parametrize(("one", "other"), REPHRASED)
def test_other_words_for_the_same_decide_nothing(one: str, other: str) -> None:
    assert not says_otherwise(words_of([one]), words_of([other]))
    assert not says_otherwise(words_of([other]), words_of([one]))


def test_words_are_parts_of_identifiers_with_parameters_in_between() -> None:
    words = words_of(("dfs.DataNode$DataXceiver: Got IOException at ", ", retrying"))
    assert [word.text for word in words] == [
        *("dfs", "data", "node", "data", "xceiver", "got", "io", "exception", "at", SLOT.text, "retrying")
    ]
    assert [word.is_part for word in words] == [True] * 5 + [False, True, True, False, False, False]


def test_text_of_other_alphabets_has_words() -> None:
    assert [word.text for word in words_of(["соединение открыто, größe"])] == ["соединение", "открыто", "größe"]


def test_every_opposite_pair_is_two_words_to_the_lexicon() -> None:
    for pair in lexicon._OPPOSED.split():
        one, other = (words_of([word])[0].token for word in pair.split("/"))
        assert one != other, pair
        assert (one, other) in lexicon._OPPOSITES, pair


@pytest.mark.parametrize(
    "message",
    [
        "WARN pool is small",
        "connection to peer timed out",
        "java.io.EOFException",
        "access denied for user",
        "block not found in map",
        "could not open file",
        "cannot open file",
        "it does not belong to any file",
        "no answer: error",
        "unexpected end of stream",
    ],
)
def test_what_tells_of_a_fault(message: str) -> None:
    assert tells_fault(words_of([message]))


@pytest.mark.parametrize(
    "message",
    [
        "",
        "INFO link is up",
        "no errors found",
        "finished without any fatal error",
        "not enabled, skipping",
        "is added to invalidSet of",
        "do not need to buy food",
        "maxTaskFailuresPerNode is",
    ],
)
def test_what_tells_of_none(message: str) -> None:
    assert not tells_fault(words_of([message]))
