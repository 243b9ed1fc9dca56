"""A training in a process of its own: ``python -m deeplog_grpc.training.process``.

The interpreter runs one thread at a time, so a training inside a server would hold up what it scores. The order comes
as one line of JSON on standard input, how far it has come goes out as lines of JSON on standard output. When standard
input ends, the process does: a server that is killed leaves no training behind.
"""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from deeplog_grpc.errors import InputError
from deeplog_grpc.models import set_threads
from deeplog_grpc.storage import SamplePlace, load_bundle, place_of_last, read_sample, save_bundle
from deeplog_grpc.training.recipe import Recipe
from deeplog_grpc.training.replacement import compare, halves

MAX_ENTRIES = 1_000_000
"""The newest entries of a sample, about, that are trained on: some minutes of work, and below a gigabyte."""
NICENESS = 10
"""Scoring goes first where cores are short."""
READING, FITTING = 0.3, 0.8
"""Progress when all is read, and when the log key model is there."""


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", ser_json_inf_nan="strings"))
class TrainingOrder:
    """What to train, on what, and where to put it."""

    application: str
    version: int
    sample: Path
    """Folder of the sample."""
    segment: int
    """The sample ends in this segment ..."""
    offset: int
    """... after so many bytes of it."""
    out: Path
    """Where the bundle goes."""
    recipe: Recipe
    old: Path | None = None
    """Bundle of the model that is to be replaced; None = there is none."""
    held_out_share: float = 0.0
    """Share of the entries, the newest, that the two are compared on."""

    def to_json(self) -> bytes:
        """One line."""
        return TypeAdapter(TrainingOrder).dump_json(self) + b"\n"

    @classmethod
    def from_json(cls, line: str) -> "TrainingOrder":
        """Read what :meth:`to_json` wrote."""
        return TypeAdapter(TrainingOrder).validate_json(line)


Tell = Callable[[Mapping[str, Any]], None]


def run(order: TrainingOrder, tell: Tell) -> None:
    """Train, save the bundle, compare it to the old one.

    Parameters
    ----------
    tell : callable
        Gets ``{"progress": share}`` on the way, and ``{"done": ...}`` at the end: entries, sessions, log keys, and what
        the two models say of the entries held out, if there is an old one.

    Raises
    ------
    InputError
        If there is too little to learn from, or the bundle cannot be written.
    """
    stop = SamplePlace(segment=order.segment, offset=order.offset)
    batches = list(read_sample(order.sample, start=place_of_last(order.sample, MAX_ENTRIES, stop=stop), stop=stop))
    total = sum(map(len, batches))
    learned, held_out = halves(batches, total - round(total * order.held_out_share))
    del batches
    trainer = order.recipe.trainer()
    while learned:
        trainer.add(learned.pop(0))
        tell({"progress": READING * trainer.entries / total})
    model, report = order.recipe.fit(
        trainer,
        application=order.application,
        version=order.version,
        on_epoch=lambda epoch: tell({"progress": READING + (FITTING - READING) * epoch.number / epoch.epochs}),
        on_fold=lambda done, folds: tell({"progress": FITTING + (1 - FITTING) * done / folds}),
    )
    save_bundle(model, order.out, report=report.to_json())
    replacement = None if order.old is None else asdict(compare(load_bundle(order.old), model, held_out))
    tell(
        {
            "done": {
                "entries": report.entries,
                "sessions": report.sessions + report.stream_blocks,
                "log_keys": len(model.key_model.vocabulary.keys),
                "replacement": replacement,
            }
        }
    )


def _end_with(descriptor: int) -> None:
    """End the process when nobody is there any more who wants its result.

    Reads below Python's own buffer, whose lock would be in the way of an orderly end.
    """
    while os.read(descriptor, 1):
        continue
    os._exit(1)


def main() -> None:
    """Do the order on standard input; exit code 0 = done, or the reason why not was told."""
    os.nice(NICENESS)
    set_threads(1)
    order = TrainingOrder.from_json(sys.stdin.readline())
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()

    def tell(message: Mapping[str, Any]) -> None:
        sys.stdout.write(orjson.dumps(message).decode() + "\n")
        sys.stdout.flush()

    try:
        run(order, tell)
    except InputError as error:
        tell({"refused": str(error)})


if __name__ == "__main__":
    main()
