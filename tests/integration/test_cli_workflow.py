"""``deeplog-grpc workflow`` on a bundle, and against a server with prepared answers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from deeplog_grpc.drawing import Highlight, dot, mermaid, view
from deeplog_grpc.errors import DrawingError, NotFoundError
from deeplog_grpc.serving.workflow_messages import workflow_message
from deeplog_grpc.storage import load_bundle, save_bundle
from deeplog_grpc.v1 import workflow_pb2
from tests.integration.fake_servicer import FakeService
from tests.workflows import TWO_TASKS, large

MARKED = view(TWO_TASKS, highlight=Highlight(path=(1, 2)))


@pytest.fixture(scope="module")
def model(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a workflow that it has not learned."""
    directory = tmp_path_factory.mktemp("workflow") / "model"
    save_bundle(replace(load_bundle(small_bundle), workflow=TWO_TASKS), directory, report={})
    return directory


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Graphviz."""
    monkeypatch.setenv("PATH", str(tmp_path))


def answer(request: workflow_pb2.GetWorkflowRequest) -> Any:
    """What a server without Graphviz says."""
    texts = {workflow_pb2.WORKFLOW_FORMAT_DOT: dot(MARKED), workflow_pb2.WORKFLOW_FORMAT_MERMAID: mermaid(MARKED)}
    if request.format == workflow_pb2.WORKFLOW_FORMAT_SVG:
        return DrawingError("Graphviz is not installed here: install Graphviz, or ...", field="format")
    if request.format in texts:
        return workflow_pb2.GetWorkflowResponse(application="orders", model_version=3, text=texts[request.format])
    return workflow_pb2.GetWorkflowResponse(application="orders", model_version=3, workflow=workflow_message(MARKED))


def flat(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_tables_for_people(call: Any, model: Path) -> None:
    code, out, err = call("workflow", model)
    assert (code, err) == (0, "")
    for text in (
        "Workflow of orders, version 3",
        "built from: the sessions of training",
        "1 step 3 of <*> 1,000 4 3 1 0",
        "80.0% 4 step 4 of <*>; 20.0% 5 step",
        "key_model.history = 2",
        "key_model.candidates = 2",
    ):
        assert text in flat(out)


def test_long_tables_are_cut_in_a_terminal(call: Any, model: Path, tmp_path: Path) -> None:
    save_bundle(replace(load_bundle(model), workflow=large(200)), tmp_path / "large", report={})
    _, out, _ = call("workflow", tmp_path / "large")
    assert "more: --format html shows all" in flat(out)


def test_one_line_for_machines(call: Any, model: Path) -> None:
    code, out, err = call("workflow", model, "--json", "--task", 1)
    assert (code, err, out.count("\n")) == (0, "", 1)
    row = json.loads(out)
    assert (row["application"], row["model_version"], len(row["workflow"]["tasks"])) == ("orders", 3, 1)
    assert row["workflow"]["tasks"][0]["states"][0]["kind"] == "start"


@pytest.mark.parametrize(("ending", "text"), [("dot", dot), ("gv", dot), ("mmd", mermaid)])
def test_the_name_of_a_file_says_how_it_is_written(
    call: Any, model: Path, tmp_path: Path, ending: str, text: Any
) -> None:
    code, out, err = call("workflow", model, "--out", tmp_path / f"w.{ending}", "--min-probability", 0.3)
    assert (code, out) == (0, "")
    assert "written" in err
    assert (tmp_path / f"w.{ending}").read_text("utf-8") == text(view(TWO_TASKS, min_probability=0.3))


def test_json_is_that_of_the_contract(call: Any, model: Path) -> None:
    code, out, _ = call("workflow", model, "--format", "json")
    assert code == 0
    assert json_format.Parse(out, workflow_pb2.Workflow()) == workflow_message(view(TWO_TASKS))


@pytest.mark.usefixtures("nowhere")
def test_a_page_without_graphviz_has_the_mermaid_text(call: Any, model: Path, tmp_path: Path) -> None:
    code, _, err = call("workflow", model, "--out", tmp_path / "w.html")
    assert code == 0
    assert "no picture, Mermaid instead" in flat(err)
    assert '<pre class="mermaid">' in (tmp_path / "w.html").read_text("utf-8")


@pytest.mark.usefixtures("nowhere")
def test_a_page_of_a_server_has_its_marks(call: Any, fake: FakeService, tmp_path: Path) -> None:
    fake.answer("GetWorkflow", answer)
    code, _, _ = call("workflow", fake.address, "--out", tmp_path / "w.html", "--session", "job-1")
    assert code == 0
    assert "s1[" in (page := (tmp_path / "w.html").read_text("utf-8"))
    assert ":::path" in page
    assert {request.session for request in fake.asked("GetWorkflow")} == {"job-1"}


def test_a_server_is_asked_for_what_is_wanted(call: Any, fake: FakeService) -> None:
    fake.answer("GetWorkflow", answer)
    arguments = ("--verdict", "3-128", "--task", 0, "--min-probability", 0.25, "--application", "orders")
    code, out, err = call("workflow", fake.address, "--format", "mermaid", *arguments)
    assert (code, err, out.rstrip()) == (0, "", mermaid(MARKED).rstrip())
    assert fake.asked("GetWorkflow") == [
        workflow_pb2.GetWorkflowRequest(
            application="orders",
            task=0,
            format=workflow_pb2.WORKFLOW_FORMAT_MERMAID,
            min_probability=0.25,
            verdict_id="3-128",
        )
    ]
    _, out, _ = call("workflow", fake.address)
    assert "Workflow of orders, version 3" in out


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_where_the_server_has_no_graphviz_the_picture_is_made_here(call: Any, fake: FakeService) -> None:
    fake.answer("GetWorkflow", answer)
    code, out, _ = call("workflow", fake.address, "--format", "svg")
    assert code == 0
    assert "</svg>" in out


BAD: dict[str, tuple[list[object], str]] = {
    "no such task": (["--task", 2], "--task: there is no task 2: give one of 0 to 1"),
    "a session of a bundle": (["--session", "a"], "--session: is asked of a server: give HOST:PORT"),
    "an anomaly of a bundle": (["--verdict", "3-1"], "--verdict: is asked of a server: give HOST:PORT"),
    "a file of no known kind": (["--out", "w.png"], "--out: 'w.png' does not tell how to write it: give --format"),
    "a table in a file": (["--out", "w.svg", "--format", "table"], "--out: a table is printed"),
    "json twice": (["--json", "--format", "dot"], "--json: is printed, as a line"),
    "a folder that is not there": (["--out", "/none/w.mmd"], "--out /none/w.mmd: cannot be written: No such file"),
    "no graphviz": (["--format", "svg"], "--format: Graphviz is not installed here: install Graphviz, or ask for"),
}


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("name", BAD)
def test_what_the_caller_can_mend_is_one_line_and_exit_code_2(call: Any, model: Path, name: str) -> None:
    arguments, message = BAD[name]
    code, out, err = call("workflow", model, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"deeplog-grpc: {message}")


def test_a_model_without_a_workflow_says_how_to_come_by_one(call: Any, small_bundle: Path, tmp_path: Path) -> None:
    empty = replace(load_bundle(small_bundle), workflow=replace(TWO_TASKS, tasks=()))
    save_bundle(empty, tmp_path / "model", report={})
    code, _, err = call("workflow", tmp_path / "model")
    assert (code, err.count("\n")) == (2, 1)
    assert "has no workflow: train it anew" in err


def test_errors_of_a_server_name_the_option(call: Any, fake: FakeService) -> None:
    fake.answer("GetWorkflow", NotFoundError("'9-9' is no stored anomaly, or no longer", field="verdict_id"))
    code, _, err = call("workflow", fake.address, "--verdict", "9-9")
    assert (code, err) == (2, "deeplog-grpc: --verdict: '9-9' is no stored anomaly, or no longer\n")
    code, _, err = call("workflow", fake.address, "--verdict", "9-9", "--session", "a")
    assert (code, err) == (2, "deeplog-grpc: --session, --verdict: give at most one of them\n")


def test_help_has_an_example(call: Any) -> None:
    code, out, _ = call("workflow", "--help")
    assert code == 0
    assert "Example: deeplog-grpc workflow model --out workflow.html" in flat(out)
