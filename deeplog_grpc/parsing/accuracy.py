"""How right a parser is, against lines whose templates are known.

The four measures of the log parsing literature [1]_: grouping accuracy over lines (GA) and over templates (FGA),
and the same with the text of the template right (PA, FTA).

References
----------
.. [1] Z. Jiang et al., "A Large-Scale Evaluation for Log Parsing Techniques: How Far Are We?", ISSTA 2024.
"""

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

_RUN = re.compile(r"<\*>(?:[ ,.:/_#@+-]*<\*>)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsingAccuracy:
    """Four shares in [0, 1] and the counts they rest on."""

    ga: float
    """Share of lines whose group has exactly the lines of a true group."""
    fga: float
    """F1 over groups of the same test."""
    pa: float
    """Share of lines whose template text is right, after `normalise`."""
    fta: float
    """F1 over groups whose lines and text are both right."""
    templates: int
    true_templates: int
    lines: int


def normalise(template: str) -> str:
    """Bring a template's text to the form in which texts are compared.

    Runs of blanks become one; parameters with nothing but blanks and ``, . : / _ # @ + -`` between become one, for
    how many values a list holds is not what is judged.

    Examples
    --------
    >>> normalise("from  <*>:<*> size <*>, <*> ")
    'from <*> size <*>'
    """
    return _RUN.sub("<*>", " ".join(template.split()))


def grouping_accuracy(
    predicted_keys: Sequence[Hashable],
    true_templates: Sequence[str],
    predicted_templates: Sequence[str],
) -> ParsingAccuracy:
    """Compare a parse with the truth.

    Parameters
    ----------
    predicted_keys : sequence [n]
        A line's group, aliases resolved.
    true_templates : sequence of str [n]
        A line's true template; equal texts are one group.
    predicted_templates : sequence of str [n]
        The text of the template a line was given.

    Raises
    ------
    ValueError
        If the lengths differ.

    Examples
    --------
    >>> truth = ["a <*>", "a <*>", "b", "b"]
    >>> result = grouping_accuracy([0, 0, 1, 2], truth, ["a <*>", "a <*>", "b", "b"])
    >>> result.ga, round(result.fga, 2), result.pa, result.templates, result.true_templates
    (0.5, 0.4, 1.0, 3, 2)
    """
    if not len(predicted_keys) == len(true_templates) == len(predicted_templates):
        raise ValueError("the three sequences must have one entry a line")
    lines = len(true_templates)
    predicted, true = _groups(predicted_keys), _groups(true_templates)
    true_text = {group: normalise(true_templates[group[0]]) for group in true}
    right = [group for group in predicted if group in true_text]
    right_text = [group for group in right if normalise(predicted_templates[group[0]]) == true_text[group]]
    equal = sum(normalise(a) == normalise(b) for a, b in zip(predicted_templates, true_templates, strict=True))
    return ParsingAccuracy(
        ga=_share(sum(map(len, right)), lines),
        fga=_share(2 * len(right), len(predicted) + len(true)),
        pa=_share(equal, lines),
        fta=_share(2 * len(right_text), len(predicted) + len(true)),
        templates=len(predicted),
        true_templates=len(true),
        lines=lines,
    )


def _groups(labels: Sequence[Hashable]) -> list[tuple[int, ...]]:
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for line, label in enumerate(labels):
        members[label].append(line)
    return [tuple(group) for group in members.values()]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
