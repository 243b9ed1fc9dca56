"""Workflows for tests: of the simulated application, and small ones by hand."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from deeplog_grpc.detection import ApplicationModel
from deeplog_grpc.parsing import Parser
from deeplog_grpc.testing import simulate_log
from deeplog_grpc.workflow import Block, Method, Workflow, build_workflow, distinct_paths
from deeplog_grpc.workflow.discovery import discover
from tests.trained import entries_of


def workflow_of_orders(model: ApplicationModel, *, sessions: int = 300, seed: int = 1) -> Workflow:
    """What an application that takes orders does."""
    log = simulate_log(sessions, seed=seed)
    parser = Parser.from_state(model.parser.state())
    keys: defaultdict[str, list[int]] = defaultdict(list)
    times_ns: defaultdict[str, list[int]] = defaultdict(list)
    batch = entries_of(log.lines)
    for key, time_ns, line in zip(
        parser.parse(batch.bodies).keys.tolist(), batch.times_ns.tolist(), log.lines, strict=True
    ):
        session = next(word.strip("[]:,") for word in line.split() if "req-" in word)
        keys[session].append(key)
        times_ns[session].append(time_ns)
    elapsed_s = [np.diff(np.array(own), prepend=own[0]) / 1e9 for own in times_ns.values()]
    paths = distinct_paths(keys.values(), elapsed_s)
    block = discover([(path.keys, float(path.count)) for path in paths])
    return build_workflow([block], paths, method=Method.SESSIONS, template=lambda key: parser.template(key).text)


def workflow(
    *blocks: Block,
    normal: Sequence[Sequence[int]] = (),
    seconds: float = 1.0,
    follows: dict[tuple[int, int], int] | None = None,
) -> Workflow:
    """Blocks with what some normal sessions did; every entry comes so many seconds after the one before."""
    paths = distinct_paths(normal, [np.full(len(keys), seconds) for keys in normal])
    return build_workflow(blocks, paths, method=Method.SESSIONS, follows=follows)
