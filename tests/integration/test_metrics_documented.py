"""docs/observability.md and a running server name the same metrics."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deeplog_grpc.outputs.config import FileOutput
from deeplog_grpc.outputs.metrics import OutputsCollector
from deeplog_grpc.outputs.service import Outputs
from deeplog_grpc.testing import Fault
from deeplog_grpc.v1.feedback_pb2 import FEEDBACK_LABEL_CONFIRMED
from tests.integration.served import served
from tests.integration.server_harness import until

DOCS = Path(__file__).parents[2] / "docs" / "observability.md"
_ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| ([\w, ]*) ?\| ", re.MULTILINE)


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Name -> kind and labels."""
    return {
        name: (kind, frozenset(filter(None, labels.replace(" ", "").split(","))))
        for name, kind, labels in _ROW.findall(DOCS.read_text())
    }


def exposed(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Name -> kind and the labels that its samples have."""
    found = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        if not name.endswith("_created"):
            found[name] = family.type, frozenset(labels)
    return found


@pytest.fixture(name="text")
async def _text(small_bundle: Path, tmp_path: Path) -> str:
    """What a server exposes that has judged, learned, and sends anomalies on."""
    async with served(small_bundle, tmp_path / "state") as up:
        config = {"copy": FileOutput(type="file", path=str(tmp_path / "out.jsonl"))}
        outputs = Outputs(config, up.state.anomalies, tmp_path / "state", newest=lambda: up.state.recorder.last_number)
        await outputs.start()
        up.server.metrics.registry.register(OutputsCollector(outputs))
        (first, *_) = await up.alarm(next(iter(Fault)), flush=True)
        await up.client.feedback(FEEDBACK_LABEL_CONFIRMED, verdict_id=first.verdict_id)
        await until(lambda: outputs.status()[0].sent > 0)
        exposition = generate_latest(up.server.metrics.registry).decode()
        await outputs.stop()
    return exposition


def test_every_metric_is_documented_and_every_documented_one_is_there(text: str) -> None:
    said, found = documented(), exposed(text)
    assert found.keys() == said.keys()
    assert {name: kind for name, (kind, _) in found.items()} == {name: kind for name, (kind, _) in said.items()}


def test_labels_are_the_documented_ones(text: str) -> None:
    said = documented()
    with_samples = {name: labels for name, (_, labels) in exposed(text).items() if labels}
    assert len(with_samples) > 12
    assert with_samples == {name: said[name][1] for name in with_samples}


def test_what_a_server_did_is_in_its_metrics(text: str) -> None:
    for line in (
        'deeplog_feedback_total{kind="feedback",outcome="RECORDED"} 1.0',
        "deeplog_update_seconds_count 1.0",
        'deeplog_applications{state="DETECTING"} 1.0',
        'deeplog_requests_total{code="OK",method="Score"} 1.0',
        'deeplog_request_seconds_count{method="Score"} 1.0',
        "deeplog_ready 1.0",
    ):
        assert line in text, [found for found in text.splitlines() if found.startswith(line.partition("{")[0])]
    for name in ("anomalies", "ended_sessions", "output_sent_items"):
        assert re.search(rf"^deeplog_{name}_total\{{.*\}} [1-9]", text, re.MULTILINE), name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_promtool_finds_nothing_to_say(text: str) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
