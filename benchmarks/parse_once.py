"""One parser over one list of lines: the processor time, and on request each line's group and template.

Runs in a process of its own, under the interpreter that has the parser; so it imports nothing else at its head.
Prints a JSON object: ``cpu_s``; with ``--groups`` also ``groups`` and ``templates``, an entry a line.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

BATCH = 1_000
"""Lines given to our parser at once, as in a stream; Drain3 takes them one by one."""

Run = Callable[[Sequence[str], bool], Callable[[], tuple[list[int], list[str]]]]
"""Parses lines, reading each line's parameters on request; the answer gives groups and templates, untimed."""


def ours(lines: Sequence[str], extract: bool) -> Callable[[], tuple[list[int], list[str]]]:
    """Parse with this project's parser."""
    from collections import deque

    from deeplog_grpc.parsing import Parser

    parser = Parser()
    keys: list[int] = []
    for start in range(0, len(lines), BATCH):
        batch = parser.parse(lines[start : start + BATCH])
        keys += batch.keys.tolist()
        if extract:
            deque(batch.columns(), maxlen=0)  # reads every value of every line

    def found() -> tuple[list[int], list[str]]:
        groups = [parser.resolve(key) for key in keys]
        return groups, [parser.template(group).text for group in groups]

    return found


def drain3(lines: Sequence[str], extract: bool) -> Callable[[], tuple[list[int], list[str]]]:
    """Parse with Drain3 as its users get it: its defaults, no masks."""
    from drain3 import TemplateMiner  # type: ignore[import-not-found]  # in an environment of its own
    from drain3.template_miner_config import TemplateMinerConfig  # type: ignore[import-not-found]  # as above

    miner = TemplateMiner(config=TemplateMinerConfig())
    keys = []
    for line in lines:
        result = miner.add_log_message(line)
        keys.append(int(result["cluster_id"]))
        if extract:
            miner.extract_parameters(result["template_mined"], line)

    def found() -> tuple[list[int], list[str]]:
        texts = {cluster.cluster_id: cluster.get_template() for cluster in miner.drain.clusters}
        return keys, [texts[key] for key in keys]

    return found


PARSERS: dict[str, Run] = {"ours": ours, "drain3": drain3}


def main() -> None:
    """Parse a file of lines (a JSON list) and print what it took."""
    arguments = argparse.ArgumentParser(description=main.__doc__)
    arguments.add_argument("parser", choices=PARSERS)
    arguments.add_argument("lines", type=Path)
    arguments.add_argument("--extract", action="store_true", help="read the parameters of every line too")
    arguments.add_argument("--groups", action="store_true", help="print each line's group and template")
    options = arguments.parse_args()
    lines: list[str] = json.loads(options.lines.read_text())
    run = PARSERS[options.parser]
    run(["warm up"], options.extract)  # Imports are not what is measured.
    started = time.process_time()
    found = run(lines, options.extract)
    report: dict[str, object] = {"cpu_s": time.process_time() - started}
    if options.groups:
        report["groups"], report["templates"] = found()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
