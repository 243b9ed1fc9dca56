"""Short names of steps: templates without the head that nearly all lines of an application have."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from deeplog_grpc.workflow.graph import StateKind, Workflow

COMMON_SHARE = 0.8
"""Share of the templates that have a word of the head."""

LEAST_TEMPLATES = 4
"""With fewer, words in common tell nothing."""


@dataclass(frozen=True)
class Names:
    """Names of steps.

    Examples
    --------
    >>> head = "<*> INFO nova.manager [<*> - -] [instance:"
    >>> names = Names.of(f"{head} <*>] {text}" for text in ("VM started", "VM paused", "VM resumed", "Took <*> s"))
    >>> names.name("<*> INFO nova.manager [<*> - -] [instance: <*>] VM started")
    'VM started'
    >>> names.name("nothing in common")
    'nothing in common'
    """

    common: frozenset[str]
    """Words that nearly all templates have."""

    @classmethod
    def of(cls, templates: Iterable[str]) -> "Names":
        """Find the common words."""
        distinct = set(templates)
        counts = Counter(word for template in distinct for word in set(template.split()) if any(map(str.isalpha, word)))
        if len(distinct) < LEAST_TEMPLATES:
            return cls(frozenset())
        return cls(frozenset(word for word, count in counts.items() if count >= COMMON_SHARE * len(distinct)))

    @classmethod
    def of_workflow(cls, workflow: Workflow) -> "Names":
        """Those of the steps of a workflow."""
        return cls.of(state.template for state in workflow.states if state.kind is StateKind.KEY)

    @cached_property
    def _known(self) -> dict[str, str]:
        return {}

    def name(self, template: str) -> str:
        """The template after its last common word, from the first word with a letter on; all if nothing is left."""
        known = self._known.get(template)
        if known is None:
            words = template.split()
            last = max((place for place, word in enumerate(words) if word in self.common), default=-1)
            rest = words[last + 1 :]
            while rest and not any(char.isalpha() for char in rest[0]):
                rest = rest[1:]
            known = self._known[template] = " ".join(rest) if rest and last >= 0 else template
        return known
