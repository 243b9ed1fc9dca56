"""``deeplog-grpc evaluate``, as people and checks call it."""

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from deeplog_grpc.testing import EPOCH_S, simulate_log

SEQUENCE_KEYS = ["normal", "abnormal", "fp", "fn", "precision", "recall", "f1", "fpr", "recall_by_class", "train_s"]
QUICK = ["--set", "key_model.epochs=2", "--set", "key_model.hidden=8"]


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    paths = ["1 2 3 4 5 6 7 8 9 10 11 12\n", "1 2 3 5 4 6 7 8 9 10 11 12\n"]
    (tmp_path / "train").write_text("".join(paths) * 100)
    (tmp_path / "normal").write_text("".join(paths) * 5 + "\n")
    (tmp_path / "abnormal.gz").write_bytes(gzip.compress(b"1 2 3\n1 2 3 4 5 6 7 8 9 10 11 99\n"))
    return tmp_path


def test_evaluate_sequences(call: Any, sequences: Path) -> None:
    normal = ["--normal", sequences / "normal", "--normal", sequences / "normal"]
    files = ["--train", sequences / "train", *normal, "--abnormal", sequences / "abnormal.gz"]
    code, out, err = call("evaluate", "sequences", *files, "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    report = json.loads(out)
    assert list(report) == [*SEQUENCE_KEYS, "score_s", "by_detector", "pr_auc", "sessions"]
    assert (report["normal"], report["abnormal"], report["fp"], report["fn"]) == (20, 2, 0, 0)
    assert report["recall_by_class"] == {"short": 1.0, "unseen_key": 1.0}
    assert report["pr_auc"] == 1.0
    assert "recall: short" in call("evaluate", "sequences", *files, *QUICK)[1]


def test_evaluate_sequences_beside_rules_with_a_report(call: Any, sequences: Path, tmp_path: Path) -> None:
    files = ["--train", sequences / "train", "--normal", sequences / "normal", "--abnormal", sequences / "abnormal.gz"]
    code, out, err = call("evaluate", "sequences", *files, "--baselines", "--report", tmp_path / "r", *QUICK)
    assert (code, err) == (0, "")
    for name in ("all together", "each kind alone", "simple rules", "pca", "invariants", "PR-AUC"):
        assert name in out
    page = (tmp_path / "r" / "report.html").read_text()
    assert "A line is a session from begin to end" in page
    assert "key_model.epochs" in page


def test_a_report_without_its_extra_is_one_line_before_any_training(
    call: Any, sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Any = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    files = ["--train", sequences / "train", "--normal", sequences / "normal", "--abnormal", sequences / "abnormal.gz"]
    code, out, err = call("evaluate", "sequences", *files, "--report", tmp_path / "r")
    assert (code, out) == (2, "")
    assert err == "deeplog-grpc: --report: needs matplotlib: pip install 'deeplog-grpc[report]'\n"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One log with labels in its lines and in a table; the last sessions hold the faults."""
    folder = tmp_path_factory.mktemp("labelled")
    normal = simulate_log(150, seed=1)
    faulty = simulate_log(40, seed=2, fault_rate=0.4, start_s=EPOCH_S + 3600)
    (folder / "normal.log").write_text(normal.text())
    (folder / "faulty.log").write_text(faulty.text())
    lines = [f"OK {line}" for line in normal.lines] + [f"OK {line}" for line in faulty.lines[:-5]]
    lines += [f"BAD {line.split('[')[0]}[x] reactor {n} is gone for good" for n, line in enumerate(faulty.lines[-5:])]
    (folder / "one.log").write_text("".join(f"{line}\n" for line in lines))
    rows = [
        f"{name},{'Normal' if fault is None else fault}" for name, fault in {**normal.faults, **faulty.faults}.items()
    ]
    (folder / "labels.csv").write_text("\n".join(["session,label", *rows]))
    return folder


def test_evaluate_logs_by_session(call: Any, labelled: Path) -> None:
    files = ["--train", labelled / "normal.log", "--test", labelled / "faulty.log", "--labels", labelled / "labels.csv"]
    code, out, err = call("evaluate", "logs", *files, "--json", "--seed", 1)
    assert (code, err, out.count("\n")) == (0, "", 1)
    report = json.loads(out)
    assert report["entries"] is None
    sessions = report["sessions"]
    assert sessions["normal"] + sessions["abnormal"] == 40
    assert (sessions["fn"], sessions["recall"]) == (0, 1.0)
    assert sessions["tp"] + sessions["fn"] == sessions["abnormal"]
    assert {"unseen_key", "pca", "invariants", "ngram"} <= set(sessions["baselines"])
    assert sessions["by_detector"]["unseen_key"]["tp"] >= 1
    assert report["running_sessions"] == 0


def test_evaluate_logs_by_line_with_a_split_and_a_report(call: Any, labelled: Path, tmp_path: Path) -> None:
    split = ["--split", 0.7, "--split-by", "time", "--line-label", "^(OK|BAD) ", "--normal-label", "ok"]
    code, out, err = call("evaluate", "logs", labelled / "one.log", *split, "--report", tmp_path / "r", *QUICK)
    assert (code, err) == (0, "")
    assert "Entries judged" in out
    assert "Sessions judged" in out
    page = (tmp_path / "r" / "report.html").read_text()
    assert page.count("<img") == 2
    assert "A session ends" in page
    report = json.loads(call("evaluate", "logs", labelled / "one.log", *split, "--json", *QUICK)[1])
    assert (report["entries"]["abnormal"], report["entries"]["fn"]) == (5, 0)
    assert report["entries"]["baselines"]["unseen_key"]["tp"] == 5
    assert report["left_out_entries"] == 0


def test_sessions_running_at_the_cut_are_not_counted(call: Any, labelled: Path) -> None:
    report = json.loads(
        call(
            *("evaluate", "logs", labelled / "one.log", "--split", 0.5, "--line-label", "^(OK|BAD) "),
            *(
                "--normal-label",
                "OK",
                "--normal-label",
                "Normal",
                "--labels",
                labelled / "labels.csv",
                "--json",
                *QUICK,
            ),
        )[1]
    )
    assert report["running_sessions"] > 0
    assert report["sessions"]["fpr"] < 0.5
