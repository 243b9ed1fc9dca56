"""Metrics that are read when they are asked for."""

from deeplog_grpc.ingest import IngestConfig
from deeplog_grpc.serving import Server, ServerConfig
from deeplog_grpc.serving.collectors import MAX_APPLICATIONS, OTHER
from tests.unit.serving.fake_detector import FakeDetector


async def test_labels_of_applications_are_bounded() -> None:
    names = [f"app-{number}" for number in range(MAX_APPLICATIONS + 5)]
    server = Server({name: FakeDetector(name) for name in names}, ServerConfig(listen="127.0.0.1:0"), IngestConfig())
    server.metrics.entries.scored.update(dict.fromkeys(names, 3))
    for family in server.metrics.registry.collect():
        labels = {sample.labels["application"] for sample in family.samples if "application" in sample.labels}
        assert len(labels) <= MAX_APPLICATIONS + 1
    value = server.metrics.registry.get_sample_value
    assert value("deeplog_scored_entries_total", {"application": OTHER}) == 15
    assert value("deeplog_scored_entries_total", {"application": names[0]}) == 3
    assert value("deeplog_applications", {"state": "DETECTING"}) == len(names)
    await server.queue.close()
