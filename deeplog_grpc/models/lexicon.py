"""Words of templates and what they decide: general English operations vocabulary, tuned to no log.

A template is a sequence of :class:`Word`; a parameter is one too (:data:`SLOT`). Words that only tie others together
carry little weight, words that say how something went decide: two messages that differ in one are never the same.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

_NOT = re.compile(r"n['’]t\b|!=|!(?=\w)", re.IGNORECASE)
_PHRASES = re.compile(
    r"\b(time|timed|log|logged|sign|signed|shut|shutting|start|set|look|clean|back|roll|rolled)[ -]"
    r"(out|in|off|down|up|back)\b",
    re.IGNORECASE,
)
_CHUNKS = re.compile(r"(?<=\s)[<>]=?(?=\s)|[^\s=:,;()\[\]{}<>\"'|#]+")
"""Comparisons; what stands between blanks and separators: a word or an identifier."""
_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?(?:(?![A-Z])[^\W\d_])+|[A-Z]+|[<>]=?")
"""Parts of camel case; letters of other alphabets are small ones."""

_SHORTEST_STEM = 3
"""Letters that must be left of a word: "red" is no past tense."""

_SHORTEST_NEGATED = 6
"""Letters: "undo" is the opposite of nothing."""

_SHORTEST_PART = 4
"""Letters that two words must have in common to be one and its compound."""

_LIGHT_WEIGHT = 0.3
"""Of a preposition beside a word that names something."""

_WORDS_CACHED = 16_384


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a template."""

    text: str
    """Lower case."""
    token: str
    """What it means: its group of synonyms in the lexicon, else its stem."""
    form: str
    """``ing`` = going on, ``ed`` = done, else empty."""
    is_code: bool = False
    """Written in capitals: a state, a protocol, a method."""
    is_part: bool = False
    """Of an identifier: ``DataNode``, ``rpc.statd``."""


SLOT = Word("\0", "\0", "")
"""A parameter."""


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EMPTY = _word_set("s a an the is are was were be been being has have had it its this that these those there")
"""Words that may come and go."""

_LIGHT = _word_set(
    "of for with by at on in to from into onto via as and or while when after before since until during through "
    "within across over under about per now then so if"
)
"""Words that say little of what a message is about."""

_PAST = _word_set(
    "sent/send began/begin begun/begin wrote/write written/write found/find got/get built/build held/hold kept/keep "
    "left/leave made/make met/meet paid/pay ran/run took/take taken/take thrown/throw went/go gone/go done/do "
    "broken/break froze/freeze frozen/freeze bound/bind unbound/unbind chosen/choose given/give fell/fall fallen/fall "
    "rose/rise known/know seen/see spent/spend brought/bring caught/catch timedout/timeout loggedin/login "
    "loggedout/logout loggedoff/logoff signedin/signin signedout/signout rolledback/rollback"
)
_IRREGULAR = {
    **{past: (verb, "ed") for past, _, verb in (pair.partition("/") for pair in _PAST)},
    "shuttingdown": ("shutdown", "ing"),
}
_NO_FORM = _word_set("during nothing anything everything something warning hundred string")

# Groups of synonyms, between commas, each named by its first word. With ! its presence in one of two messages only
# decides: it says that something went wrong, ended, is not so, or is not done yet.
_GROUPS = """
!start begin commence launch initiate boot startup, !stop halt terminate shutdown exit quit, !finish complete end done
conclude, initialize initialise init, !resume continue, !suspend pause, !restart reboot, !open, !close shut, !connect,
!disconnect, succeed success successful successfully, ok okay fine, !fail failure, !error err, !exception, !timeout,
!fault faulty, !crash, !panic, !abort, !cancel, !interrupt, !deny refuse, !reject decline, !forbid disallow prohibit,
accept, !grant, allow permit, !up, !down, !off, !online, !offline, !enable, !disable, !activate, !deactivate, !active,
!inactive, !alive, !dead die, !kill, !lose loss, !drop discard, !not no never none neither nor cannot without, !warn
warning, !critical, !fatal, !severe, !alert, !emergency, !corrupt, !damage, !break, !reset, !miss missing, !lack,
!unable, !skip, !ignore, !retry, !expire, !exceed, !overflow, !underflow, !insufficient, !incorrect wrong, !bad,
!invalid, !illegal, !impossible, !abnormal, !incomplete, !inconsistent, !incompatible, !degrade, !unhealthy, !violate
violation, !leak, !stale, !stuck, !hang hung, !attack, !ban, !revoke, !evict, !throttle, !deprecate, !danger
dangerous, !will would shall, !may might, !should must, !only, !almost nearly, !partial partially, !too excessive,
!except, !unless, !true, !already, !still, !again, !yet, !false, !empty, !full, add append, !remove delete erase,
create, !destroy, insert, !attach, !detach, !mount, !unmount, load, !unload, !lock, !unlock, acquire obtain, !release,
allocate, !free deallocate, !register, !unregister deregister, !subscribe, !unsubscribe, !login signin, !logout logoff
signout, !join, !leave, !install, !uninstall, include, !exclude, link, !unlink, bind, !unbind, send transmit, receive,
increase raise grow, !decrease lower reduce shrink, maximum max, minimum min, source src, destination dest dst,
response reply, !slave, store persist, move migrate relocate, fetch retrieve, update refresh modify, check verify
validate, execute run perform, process handle, generate produce, detect discover, wait await, call invoke, show
display print, compute calculate, catch get, ask request, choose select pick, forward route, ensure guarantee, gather
collect, old previous, new next, same equal, any some, !rollback, !undeploy, !demote, !unfreeze thaw, !downgrade,
!distrust, !mismatch, inbound incoming, outbound outgoing, !unassign, !<, !>, !<=, !>=, configuration config conf
settings, directory dir folder, address addr, message msg, database db, application app, authentication auth,
administrator admin, transaction txn tx, identifier id, number num, memory mem, connection conn, parameter param
argument arg, environment env, temporary temp tmp, second sec, millisecond ms msec, statistics stats, repository repo,
synchronize sync, length len, average avg, each every
"""

_OPPOSED = """
start/stop start/finish resume/suspend open/close connect/disconnect success/fail success/error accept/reject
accept/deny grant/deny allow/deny allow/forbid grant/revoke on/off in/out enable/disable active/inactive
activate/deactivate alive/dead add/remove create/remove create/destroy insert/remove attach/detach mount/unmount
load/unload lock/unlock acquire/release allocate/free register/unregister subscribe/unsubscribe login/logout join/leave
enter/leave enter/stop install/uninstall include/exclude link/unlink bind/unbind push/pull put/get set/get read/write
send/receive upload/download import/export encode/decode encrypt/decrypt compress/decompress increase/decrease high/low
maximum/minimum first/last before/after above/below over/under into/out into/from from/to local/remote
source/destination input/output client/server request/response primary/secondary master/slave leader/follower
parent/child sender/receiver public/private internal/external old/new early/late same/different true/false yes/not
all/not all/any always/not fast/slow commit/rollback backup/restore save/restore deploy/undeploy promote/demote
freeze/unfreeze upgrade/downgrade arrive/depart apply/revert find/lose trust/distrust ready/busy busy/idle active/idle
approve/reject match/mismatch inbound/outbound ingress/egress pass/fail hit/miss assign/unassign hide/show
inside/outside ahead/behind forward/backward ascend/descend expand/collapse merge/split more/less hot/cold info/debug
read/send write/receive save/remove load/save ok/fail ok/error left/right
"""

_TIMELESS = _word_set(
    "fail error fault timeout crash abort lose miss deny reject corrupt damage exceed expire violate succeed"
)
"""Of these, "failed" and "failure" say the same."""

_FAULTS = _word_set(
    "fail error exception timeout fault crash panic abort interrupt deny reject forbid lose lost corrupt damage unable "
    "exceed overflow underflow insufficient incorrect bad invalid illegal impossible abnormal incomplete inconsistent "
    "incompatible degrade unhealthy violate leak stuck hang dead attack mismatch danger unexpected warn critical fatal "
    "severe alert emergency"
)
"""Groups of words, and words, that say that something went wrong; severities among them."""

_WANTED = _word_set("find found exist available allow permit respond reachable ready belong match")
"""What should have happened, and did not: "not found". Much else that is not so is no fault: "not enabled"."""

_ABLE = _word_set("can could did")

_NEGATING = ("un", "dis", "non", "in", "im", "il", "ir", "de", "ab", "mis", "mal")
_NOT_NEGATED = re.compile(r"un(?:i|der|til|le?ss|to$|cle$)")


def _stem(word: str) -> tuple[str, str]:
    """Stem and form of a word in lower case.

    Examples
    --------
    >>> [_stem(w) for w in ("stopping", "stops", "retried", "deleted", "sent", "process", "during")]
    [('stop', 'ing'), ('stop', ''), ('retry', 'ed'), ('delet', 'ed'), ('send', 'ed'), ('proces', ''), ('during', '')]
    """
    if word in _IRREGULAR:
        stem, form = _IRREGULAR[word]
        return _bare(stem), form
    form = ""
    if word not in _NO_FORM:
        for ending in ("ing", "ed"):
            rest = word.removesuffix(ending)
            if rest != word and len(rest) >= _SHORTEST_STEM and re.search("[aeiouy]", rest) and not rest.endswith("e"):
                return _bare(rest), ending
    if word.endswith("s") and len(word) > _SHORTEST_STEM and word[-2] not in "sui":
        word = word[:-1]
    return _bare(word), form


def _bare(stem: str) -> str:
    """Without what an ending changes: the last e, a doubled last letter, y that became i."""
    if len(stem) <= _SHORTEST_STEM:
        return stem
    stem = stem.removesuffix("e")
    stem = f"{stem[:-1]}y" if stem.endswith("i") else stem
    return stem[:-1] if stem[-1] == stem[-2] and len(stem) > _SHORTEST_STEM else stem


def _read_groups() -> tuple[dict[str, str], frozenset[str]]:
    """Stem -> group, and the groups whose presence decides."""
    tokens: dict[str, str] = {}
    strong = set()
    for group in _GROUPS.split(","):
        words = group.strip().removeprefix("!").split()
        tokens |= {stem: words[0] for word in words for stem in (_stem(word)[0], word)}
        if group.strip().startswith("!"):
            strong.add(words[0])
    return tokens, frozenset(strong)


_TOKENS, _STRONG = _read_groups()


def _token(stem: str) -> str:
    return _TOKENS.get(stem, stem)


_OPPOSITES = frozenset(
    pair
    for one, other in (tuple(_token(_stem(word)[0]) for word in entry.split("/")) for entry in _OPPOSED.split())
    for pair in ((one, other), (other, one))
)
_OPPOSABLE = frozenset(one for one, _ in _OPPOSITES)


@lru_cache(_WORDS_CACHED)
def _word(part: str, is_part: bool) -> Word:
    text = part.lower()
    stem, form = _stem(text)
    return Word(text, _TOKENS.get(text, _token(stem)), form, len(part) > 1 and part.isupper(), is_part)


def words_of(pieces: Sequence[str]) -> tuple[Word, ...]:
    r"""Read the words of a template.

    Parameters
    ----------
    pieces : sequence of str
        The constant text before, between and after its parameters.

    Returns
    -------
    tuple of Word
        In order, :data:`SLOT` at each parameter; articles and auxiliary verbs, punctuation and case are left out.

    Examples
    --------
    >>> [word.token for word in words_of(("NameSystem.delete: ", " isn't in the invalidSet"))]
    ['nam', 'system', 'remove', '\x00', 'not', 'in', 'invalid', 'set']
    """
    found = []
    for number, piece in enumerate(pieces):
        if number:
            found.append(SLOT)
        text = _PHRASES.sub(r"\1\2", _NOT.sub(" not ", piece))
        for chunk in _CHUNKS.findall(text):
            parts = _PARTS.findall(chunk)
            found += [_word(part, len(parts) > 1) for part in parts if part.lower() not in _EMPTY]
    return tuple(found)


def weight_of(token: str) -> float:
    """How much of a message's subject a word can tell, in (0, 1]."""
    return _LIGHT_WEIGHT if token in _LIGHT else 1.0


def says_otherwise(known: Sequence[Word], new: Sequence[Word]) -> bool:
    """Tell whether words that decide differ between two messages: states, faults, negations, opposites, tenses.

    Parameters
    ----------
    known, new : sequence of Word
        All words of both messages, in order; parameters do not matter.

    Examples
    --------
    >>> def differ(known, new):
    ...     return says_otherwise(words_of([known]), words_of([new]))
    >>> differ("link is up", "link is down"), differ("receiving block", "received block")
    (True, True)
    >>> differ("mirror reachable", "mirror not reachable"), differ("block available", "block unavailable")
    (True, True)
    >>> differ("Starting the worker", "launching worker now"), differ("copied from a to b", "copied to a from b")
    (False, True)
    """
    if _strong(known) != _strong(new):
        return True
    rest_known, rest_new = _difference(known, new), _difference(new, known)
    return (
        any(_opposes(old, other) for old in rest_known for other in rest_new)
        or any(_is_negated(word) or (word.is_code and word.is_part) for word in (*rest_known, *rest_new))
        or _common_order(known, new) != _common_order(new, known)
        or _done(known, new) != _done(new, known)
        or _exchanges(_content(rest_known), _content(rest_new))
        or _adds_verb(known, rest_known)
        or _adds_verb(new, rest_new)
    )


def tells_fault(words: Sequence[Word]) -> bool:
    """Tell whether a message says that something went wrong.

    Examples
    --------
    >>> faults = ("WARN disk slow", "block not found", "java.io.IOException: reset", "could not read")
    >>> others = ("no fatal errors found", "link is up", "add to invalidSet", "food is not needed")
    >>> [[tells_fault(words_of([message])) for message in messages] for messages in (faults, others)]
    [[True, True, True, True], [False, False, False, False]]
    """
    rest = [word for word in words if word is not SLOT]
    denied = False
    for at, word in enumerate(rest):
        follows = rest[at + 1] if at + 1 < len(rest) else SLOT
        if {word.token, word.text} & _FAULTS:
            names_more = word.is_part and follows.is_part  # "invalidSet", but "IOException"
            if not denied and not names_more:
                return True
        else:
            # What follows is denied too: "no fatal errors", "without any error".
            denied = _TOKENS.get(word.text) == "not" or (denied and word.text == "any")
            cannot = word.text == "cannot" or (word.text == "not" and at > 0 and rest[at - 1].text in _ABLE)
            if cannot or (word.text == "not" and {follows.token, follows.text} & _WANTED):
                return True
    return False


def _strong(words: Iterable[Word]) -> list[str]:
    """What decides by its presence, in order; "error: ... error" says it once."""
    tokens = [word.token for word in words if word.token in _STRONG]
    return [token for at, token in enumerate(tokens) if at == 0 or token != tokens[at - 1]]


def _difference(words: Iterable[Word], others: Iterable[Word]) -> list[Word]:
    tokens = {word.token for word in others}
    return [word for word in words if word.token not in tokens]


def _opposes(word: Word, other: Word) -> bool:
    if (word.token, other.token) in _OPPOSITES:
        return True
    short, long = sorted((_stem(word.text)[0], _stem(other.text)[0]), key=len)
    return any(long == prefix + short for prefix in _NEGATING)


def _is_negated(word: Word) -> bool:
    return len(word.text) >= _SHORTEST_NEGATED and word.text.startswith("un") and not _NOT_NEGATED.match(word.text)


def _common_order(words: Iterable[Word], others: Sequence[Word]) -> list[str]:
    """Words with an opposite that both messages have, in the order of the first one: "from a to b" has a direction."""
    tokens = {word.token for word in others}
    return list(dict.fromkeys(word.token for word in words if word.token in _OPPOSABLE & tokens))


def _done(words: Iterable[Word], others: Sequence[Word]) -> set[str]:
    """What is told as done, of what both messages tell: "received" is another event than "receiving"."""
    tokens = {word.token for word in others}
    return {word.token for word in words if word.form == "ed" and word.token in tokens - _TIMELESS}


def _content(words: Iterable[Word]) -> list[Word]:
    return [word for word in words if word is not SLOT and word.token not in _LIGHT]


def _exchanges(gone: Sequence[Word], come: Sequence[Word]) -> bool:
    """Whether another word stands for one that tells something.

    Synonyms of the lexicon are one word here, and so are "log" and "logfile". Of other words nobody can know whether
    they mean the same ("image visible", "image hidden"): a word may be added or left out, but not exchanged.
    """
    return any(not _related(word, come) for word in gone) and any(not _related(word, gone) for word in come)


def _related(word: Word, others: Iterable[Word]) -> bool:
    """Whether one of the others is this word with a part more: "host" and "hostname"."""
    for other in others:
        short, long = sorted((word.text, other.text), key=len)
        is_part = len(short) >= _SHORTEST_PART and len(long) > len(short) + 1
        if is_part and (long.startswith(short) or long.endswith(short)):
            return True
    return False


def _adds_verb(words: Iterable[Word], rest: Sequence[Word]) -> bool:
    """Whether the only word that says what happened is in one message alone: "alarm for" and "alarm cleared for"."""
    return any(word.form == "ed" for word in rest) and not any(word.form for word in words if word not in rest)
