"""How long the runs of fault tests are: bounded by default, as long as is asked for otherwise.

``FAULT_RUNS=200`` has each test bring its fault about so often, or as many times more as its runs are longer;
``FAULT_SEED`` draws other moments.
"""

import os

SEED = int(os.environ.get("FAULT_SEED", "11"))


def runs(usual: int) -> int:
    """How often a fault is brought about: as usual, or as the environment asks, never less often."""
    return max(usual, int(os.environ.get("FAULT_RUNS", "0")))


SESSIONS_SURVIVE = True
"""Whether open sessions and the answers to named deliveries outlive the process: then a run with kills says to the last
verdict what a run without them says. False = only what lies between two stops is compared."""
