"""What many tests share: one small trained application, and fresh detectors of it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplog_grpc.detection import ApplicationModel, Detector
from deeplog_grpc.models import set_threads
from deeplog_grpc.storage import save_bundle
from deeplog_grpc.testing import SimulatedLog, simulate_log
from tests.trained import fresh_detector, train_orders, train_small

# Servers that tests start must not be in the way of one another; read by processes that they start, too.
for _receiver in ("FORWARD", "OTLP_HTTP"):
    os.environ[f"DEEPLOG_GRPC_RECEIVERS__{_receiver}__LISTEN"] = "127.0.0.1:0"
os.environ["DEEPLOG_GRPC_METRICS__LISTEN"] = "127.0.0.1:0"

NewDetector = Callable[..., Detector]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tests share a machine: none takes more than one core."""
    before = torch.get_num_threads()
    set_threads(1)
    yield
    set_threads(before)


@pytest.fixture(scope="session")
def training_log() -> SimulatedLog:
    """A log of normal operation."""
    return simulate_log(300, seed=1)


@pytest.fixture(scope="session")
def trained(training_log: SimulatedLog) -> ApplicationModel:
    """An application trained on the log; take :func:`new_detector` to score, since scoring changes its parser."""
    return train_orders(training_log)


@pytest.fixture(scope="session")
def new_detector(trained: ApplicationModel) -> NewDetector:
    """Makes detectors of the trained application that have nothing in common; see :func:`fresh_detector`."""

    def make(**options: Any) -> Detector:
        return fresh_detector(trained, **options)

    return make


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An application that was trained quickly, on disk; not to be changed."""
    directory = tmp_path_factory.mktemp("small") / "model"
    save_bundle(train_small(), directory, report={"entries": 1})
    return directory


@pytest.fixture(scope="session")
def bundle(trained: ApplicationModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained application on disk; not to be changed."""
    directory = tmp_path_factory.mktemp("bundle") / "model"
    save_bundle(trained, directory, report={"entries": 1})
    return directory
