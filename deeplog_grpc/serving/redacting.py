"""The evidence of an anomaly without secrets: its body, its context, and every text that was made of them."""

from collections.abc import Iterator, Mapping

from deeplog_grpc.storage.redaction import Redactor
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2

_SHORTEST = 4
"""Characters of a secret that is sought wherever text stands: a shorter one would be found in words."""


def redact_evidence(evidence: anomaly_pb2.Anomaly, redactor: Redactor) -> None:
    """Replace secrets in place.

    A parameter, a reason or a template may have the secret without the words beside it by which it is known: what was
    found in the body and the context is sought there too. Names (session, source, entry id) and numbers that are judged
    as such stay: anomalies are asked for by the former, and learned from by the latter.

    Parameters
    ----------
    evidence : Anomaly
        With whole bodies: what is cut can hide half a secret.
    redactor : Redactor
    """
    body = evidence.body
    evidence.body, hidden = redactor.with_hidden(body)
    of_body = dict(hidden)
    for entry in evidence.context:
        entry.body, found = redactor.with_hidden(entry.body)
        hidden |= found
    clean = _Cleaner(redactor, hidden)
    verdict = evidence.verdict
    _redact_parameters(verdict, _spans(body, of_body), clean)
    verdict.template, verdict.reason = clean(verdict.template), clean(verdict.reason)
    for candidate in verdict.candidates:
        candidate.template = clean(candidate.template)
    if verdict.HasField("abnormal_value"):
        value = verdict.abnormal_value
        value.text = clean(value.text)
        value.known[:] = map(clean, value.known)
    if verdict.HasField("diagnosis"):
        diagnosis = verdict.diagnosis
        diagnosis.text, diagnosis.template = clean(diagnosis.text), clean(diagnosis.template)
        for expected in diagnosis.expected:
            expected.template = clean(expected.template)
        for slow in diagnosis.slow_steps:
            slow.template = clean(slow.template)


class _Cleaner:
    """Redacts a text that was made of others, in which these secrets were found."""

    def __init__(self, redactor: Redactor, hidden: Mapping[str, str]) -> None:
        self._redactor = redactor
        found = {form: replacement for secret, replacement in hidden.items() for form in (secret, repr(secret)[1:-1])}
        self._hidden = sorted(found.items(), key=lambda pair: -len(pair[0]))
        self._replacements = frozenset(hidden.values())

    def __call__(self, text: str) -> str:
        for secret, replacement in self._hidden:
            if text == secret:
                return replacement
            if len(secret) >= _SHORTEST and not any(secret in shown for shown in self._replacements):
                text = text.replace(secret, replacement)
        return self._redactor.text(text)


def _spans(body: str, hidden: Mapping[str, str]) -> list[tuple[int, int, str]]:
    """Where secrets stand in a body, with what stands in their place."""
    return [(start, start + len(secret), shown) for secret, shown in hidden.items() for start in _places(body, secret)]


def _places(body: str, secret: str) -> Iterator[int]:
    place = body.find(secret)
    while place >= 0:
        yield place
        place = body.find(secret, place + len(secret))


def _redact_parameters(verdict: verdict_pb2.Verdict, spans: list[tuple[int, int, str]], clean: _Cleaner) -> None:
    """Parameters that a secret reaches into, or that hold one."""
    for place, parameter in enumerate(verdict.typed_parameters):
        reached = (shown for start, end, shown in spans if start < parameter.end and parameter.start < end)
        text = next(reached, None) or clean(parameter.text)
        if text != parameter.text:
            parameter.text = text
            parameter.ClearField("number")
            if place < len(verdict.parameters):
                verdict.parameters[place] = text
    verdict.parameters[:] = map(clean, verdict.parameters)
