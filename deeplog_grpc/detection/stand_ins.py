"""New log keys that are judged through known ones: what ``key_model.semantic`` does in a detector."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models import UNSEEN, LogKeyModel, SemanticIndex, StandIn
from deeplog_grpc.parsing import Parser


class StandIns:
    """Says of each log key without a unit, at its first sight and for good, which known one it is judged by.

    The words of the first line decide, not those of the template, which may have changed with the lines after it. So
    the answer depends on the order of the entries alone, as all verdicts do.

    Parameters
    ----------
    parser : Parser
        As training left it. Sealed templates are those of training: one that is no normal log key stays unseen.
    model : LogKeyModel
        With ``config.semantic`` off there are no stand-ins.
    """

    def __init__(self, parser: Parser, model: LogKeyModel) -> None:
        self._parser = parser
        self._unit_of = model.vocabulary.unit_table()
        self._units: dict[int, int] = {}
        self._decisions: dict[int, StandIn] = {}
        self._found: dict[int, StandIn] = {}
        """Those in force: of log keys that have no unit."""
        self._index: SemanticIndex | None = None
        if model.config.semantic:
            trained = {template.key: template.pieces for template in parser.templates() if template.is_sealed}
            self._units = dict.fromkeys(trained, UNSEEN)
            self._index = SemanticIndex(trained, normal=self._unit_of.keys(), least=model.config.semantic_similarity)

    @property
    def found(self) -> Mapping[int, StandIn]:
        """New log key -> the known one that it is judged by; a view."""
        return MappingProxyType(self._found)

    def adopt(self, model: LogKeyModel) -> None:
        """Go on with another version; what was decided is in force for the log keys that have no unit in it."""
        self._unit_of = model.vocabulary.unit_table()
        self._found = {key: found for key, found in self._decisions.items() if key not in self._unit_of}

    def state(self) -> list[tuple[int, int, float]]:
        """What was decided: new log key, that of its stand-in (-1 = none) and the similarity."""
        nobody = StandIn(key=-1, similarity=0.0)
        decided = {key: self._decisions.get(key, nobody) for key in self._units}
        return [(key, found.key, found.similarity) for key, found in decided.items()]

    def restore(self, parser: Parser, state: Iterable[Sequence[Any]]) -> None:
        """Go on with a parser that has learned on, and with what was decided meanwhile: that of :meth:`state`."""
        self._parser = parser
        for key, own, similarity in state:
            self._units[key] = self._unit_of.get(own, UNSEEN)
            if own in self._unit_of:
                self._decisions[key] = StandIn(key=own, similarity=similarity)
        self._found = {key: found for key, found in self._decisions.items() if key not in self._unit_of}

    def unit(self, key: int, body: str) -> int:
        """The unit by which to judge a log key that has none; :data:`UNSEEN` if nothing known is like it.

        Parameters
        ----------
        body : str
            The body that has this log key.
        """
        if self._index is None:
            return UNSEEN
        unit = self._units.get(key)
        if unit is None:
            unit = self._units[key] = self._decided(key, body, self._index)
        return unit

    def _decided(self, key: int, body: str, index: SemanticIndex) -> int:
        if not any(self._parser.template(key).pieces):  # all that found no room for a template of its own
            return UNSEEN
        found = index.stand_in(self._parser.pieces_of(body))
        if found is None:
            return UNSEEN
        self._decisions[key] = self._found[key] = found
        return self._unit_of[found.key]


def stood_for(keys: NDArray[np.int32], stand_ins: Mapping[int, StandIn]) -> dict[int, int]:
    """Row -> key of the stand-in, where there is one."""
    if not stand_ins:
        return {}
    rows = np.flatnonzero(np.isin(keys, list(stand_ins))).tolist()
    return {row: stand_ins[int(keys[row])].key for row in rows}
