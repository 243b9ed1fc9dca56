"""The command line, as people and checks call it: real processes for the main job, the rest in this one."""

import csv
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeplog_grpc.storage import load_bundle
from deeplog_grpc.testing import EPOCH_S, SimulatedLog, simulate_log
from deeplog_grpc.training import Trainer

BOUND_S = 60.0
"""No wait of a test takes longer; a sound run needs seconds."""
COMMANDS = [
    *("train", "serve", "score", "parse", "evaluate sequences", "evaluate logs", "config", "demo"),
    *("templates export", "templates import", "templates forget"),
]
ROW_KEYS = [
    "file",
    "line",
    "time",
    "application",
    "session",
    "kind",
    "key",
    "template",
    "score",
    "reason",
    "abnormal_value",
    "verdict_id",
    "deviation",
    "diagnosis",
]
QUICK = ["--set", "key_model.epochs=2", "--set", "key_model.hidden=8"]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from deeplog_grpc.cli import main; main()", *map(str, arguments)]


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, training_log: SimulatedLog) -> Path:
    """A log to learn from, one to judge (its second half as JSON lines), and the model."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "normal.log.gz").write_bytes(gzip.compress(training_log.text().encode()))
    judged = simulate_log(60, seed=2, fault_rate=0.5, start_s=EPOCH_S + 86_400)
    half = len(judged.lines) // 2
    (folder / "judged.log").write_text("".join(f"{line}\n" for line in judged.lines[:half]) + "\n")
    docker = [
        json.dumps({"log": f"{line[24:]}\n", "time": f"{line[:10]}T{line[11:23]}Z"}) for line in judged.lines[half:]
    ]
    (folder / "judged.json").write_text("\n".join(docker))
    done = run(
        "train",
        folder / "normal.log.gz",
        "--out",
        folder / "model",
        "--seed",
        1,
        "--application",
        "orders",
        "--json",
        "--set",
        "key_model.epochs=15",
    )
    told = json.loads(done.stdout)
    assert (told["application"], told["version"], told["entries"]) == ("orders", 1, len(training_log.lines))
    assert done.stderr == ""
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    """What is found without a server."""
    done = run("score", folder / "judged.log", folder / "judged.json", "--model", folder / "model", "--json")
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of the model on a free port: the process and its address."""
    arguments = command("serve", "--model", folder / "model", "--listen", "127.0.0.1:0")
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        record = json.loads(process.stderr.readline())
        assert record["event"] == "serving", record
        try:
            yield process, f"127.0.0.1:{record['port']}"
        finally:
            process.kill()


def test_a_server_gives_exactly_the_rows_of_the_model_and_stops_on_sigterm(
    folder: Path, rows: list[dict[str, Any]], server: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, address = server
    done = run("score", folder / "judged.log", folder / "judged.json", "--server", address, "--json")
    served = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(row["verdict_id"] for row in served)  # stored: that is all that a server adds
    assert [{**row, "verdict_id": ""} for row in served] == rows
    taken = run("serve", "--model", folder / "model", "--state", tmp_path, "--listen", address, code=2)
    assert taken.stderr.count("\n") == 1
    assert f"cannot listen on {address} (Address already in use)" in taken.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(BOUND_S) == 0


def test_rows_are_complete_and_tell_what_is_wrong(folder: Path, rows: list[dict[str, Any]]) -> None:
    assert {row["kind"] for row in rows} == {"unseen_key", "unseen_transition", "incomplete_session", "parameter_value"}
    lines = {str(folder / name): (folder / name).read_text().splitlines() for name in ("judged.log", "judged.json")}
    for row in rows:
        assert list(row) == ROW_KEYS
        assert row["application"] == "orders"
        assert 0 < row["score"] <= 1
        assert row["reason"]
        assert row["diagnosis"]
        assert row["deviation"] == "unknown" or row["kind"] != "unseen_key"
        if row["kind"] != "incomplete_session":
            assert row["session"] in lines[row["file"]][row["line"] - 1]
    flushed = [row for row in rows if row["kind"] == "incomplete_session" and row["file"].endswith(".json")]
    assert max(row["line"] for row in flushed) == len(lines[str(folder / "judged.json")])


def test_rows_for_people(call: Any, folder: Path, rows: list[dict[str, Any]]) -> None:
    code, out, err = call("score", folder / "judged.log", folder / "judged.json", "--model", folder / "model")
    assert code == 0
    assert out.splitlines()[0].split() == ["line", "time", "(UTC)", "kind", "score", "session"]
    for row in rows:
        assert row["session"][:12] in out
    assert "sessions with an anomaly" in err


def test_without_flush_open_sessions_are_not_judged(call: Any, folder: Path) -> None:
    one = folder / "one.log"
    one.write_text((folder / "judged.log").read_text().splitlines()[0] + "\n")
    model = ["--model", folder / "model", "--json"]
    assert "incomplete_session" in call("score", one, *model)[1]
    assert call("score", one, *model, "--no-flush") == (0, "", "")


def test_training_again_replaces_the_model_by_the_next_version(call: Any, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "model", tmp_path / "model")
    code, out, err = call("train", folder / "judged.log", "--out", tmp_path / "model", *QUICK)
    assert (code, err) == (0, "")
    assert "model version 2 in" in out
    assert load_bundle(tmp_path / "model").version == 2


def test_a_session_pattern_makes_the_sessions(call: Any, tmp_path: Path) -> None:
    log = tmp_path / "jobs.log"
    log.write_text("".join(f"job={number} {step}\n" for number in range(30) for step in ("begins", "works", "ends")))
    code, out, _ = call(
        "train", log, "--out", tmp_path / "model", "--session-pattern", r"job=(\d+)", "--seed", 1, "--json", *QUICK
    )
    assert code == 0
    assert json.loads(out)["sessions"] == 30


def test_parse_against_the_truth(call: Any, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    with truth.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Content", "EventTemplate"])
        writer.writerows([f"took {number} ms, done", "took <*> ms, done"] for number in range(20))
    code, out, err = call("parse", "--ground-truth", truth, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert set(report) == {"ga", "fga", "pa", "fta", "templates", "true_templates", "lines", "lines_per_s"}
    assert (report["ga"], report["templates"], report["true_templates"], report["lines"]) == (1.0, 1, 1, 20)


def test_parse_prints_templates_with_their_counts(call: Any, folder: Path, training_log: SimulatedLog) -> None:
    code, out, _ = call("parse", folder / "normal.log.gz", "--json")
    templates = json.loads(out)
    assert code == 0
    assert sum(row["count"] for row in templates) == len(training_log.lines)
    assert [row["count"] for row in templates] == sorted((row["count"] for row in templates), reverse=True)
    assert list(templates[0]) == [
        *("key", "count", "template", "share", "first_seen", "last_seen", "typed_template", "slots")
    ]
    assert sum(row["share"] for row in templates) == pytest.approx(1.0)
    assert "order closed after" in call("parse", folder / "normal.log.gz")[1]


def test_parse_tells_when_templates_were_seen_and_what_their_values_are(call: Any, tmp_path: Path) -> None:
    lines = [f"2024-05-01 10:00:{n:02} order ord-{n} closed after {n % 5} ms" for n in range(40)]
    log = _written(tmp_path / "orders.log", "\n".join(["order without a time", *lines]))
    (code, out, _), table = call("parse", log, "--json", "--examples", 2), call("parse", log, "--examples", 2)[1]
    row, untimed = json.loads(out)
    assert code == 0
    assert row["typed_template"] == "order <identifier> closed after <duration> ms"
    assert (row["first_seen"], row["last_seen"]) == ("2024-05-01T10:00:00.000Z", "2024-05-01T10:00:39.000Z")
    assert (untimed["first_seen"], untimed["last_seen"]) == ("", "")
    assert row["examples"] == ["order ord-0 closed after 0 ms", "order ord-1 closed after 1 ms"]
    assert [slot["is_identifier"] for slot in row["slots"]] == [True, False]
    assert "order ord-1 closed" in " ".join(table.split())
    assert "order ord-2 closed" not in " ".join(table.split())


def test_parse_shows_what_changed_since_a_log_or_a_model(call: Any, folder: Path, tmp_path: Path) -> None:
    old = _written(tmp_path / "old.log", "session opened for user ann\nshutdown now\nbye\n")
    new = _written(tmp_path / "new.log", "session opened for user bob\ndisk is on fire\nbye\nbye\n")
    changes = json.loads(call("parse", new, "--diff", old, "--json")[1])
    assert [(c["change"], c["count_before"], c["count"], c["template_before"], c["template"]) for c in changes] == [
        ("new", 0, 1, "", "disk is on fire"),
        ("changed", 1, 1, "session opened for user ann", "session opened for user <*>"),
        ("gone", 1, 0, "shutdown now", "shutdown now"),
    ]
    assert "1 new, 1 changed, 1 gone" in call("parse", new, "--diff", old)[1]
    found = json.loads(call("parse", folder / "judged.log", "--diff", folder / "model", "--json")[1])
    assert [c["template"] for c in found if c["change"] == "new"] == [
        "ERROR stock [<*>] database connection lost: timeout after <*> ms"
    ]


def test_two_models_are_compared_by_the_texts_of_their_templates(call: Any, folder: Path, tmp_path: Path) -> None:
    assert json.loads(call("parse", folder / "model", "--diff", folder / "model", "--json")[1]) == []
    code, _, err = call("parse", folder / "model", "--diff", folder / "judged.log")
    assert (code, err.count("\n")) == (2, 1)
    assert "is compared with one other model bundle" in err


def test_templates_of_a_model_are_exported(call: Any, folder: Path) -> None:
    code, out, _ = call("templates", "export", folder / "model")
    rows = json.loads(out)
    assert code == 0
    assert set(rows[0]) == {"key", "template", "count", "sealed"}
    assert [row["key"] for row in rows] == sorted(row["key"] for row in rows)
    assert all(row["sealed"] for row in rows)
    assert yaml.safe_load(call("templates", "export", folder / "model", "--yaml")[1]) == rows


def test_a_parser_starts_from_the_templates_of_another(call: Any, folder: Path, tmp_path: Path) -> None:
    listed = _written(tmp_path / "templates.json", call("templates", "export", folder / "model")[1])
    code, out, err = call("templates", "import", listed)
    assert (code, err) == (0, "")
    seeds = _written(tmp_path / "seeds.yaml", out)
    changes = json.loads(call("parse", folder / "normal.log.gz", "--config", seeds, "--json")[1])
    assert {row["template"] for row in changes} == {row["template"] for row in json.loads(listed.read_text())}


def test_a_forgotten_template_is_an_unseen_key(
    call: Any, folder: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(folder / "model", model)
    text = "INFO parcel [<*>] label printed on printer <*>"
    key = next(row["key"] for row in json.loads(call("templates", "export", model)[1]) if row["template"] == text)
    code, out, _ = call("templates", "forget", model, key, "--json")
    assert (code, [row["template"] for row in json.loads(out)["forgotten"]]) == (0, [text])
    assert load_bundle(model).version == 2
    assert text not in call("templates", "export", model)[1]
    judged = call("score", folder / "judged.log", "--model", model, "--json")[1].splitlines()
    found = [json.loads(line) for line in judged]
    printed = [line for line in (folder / "judged.log").read_text().splitlines() if "label printed" in line]
    unseen = [row for row in found if row["kind"] == "unseen_key" and row["template"] == text]
    assert len(unseen) == len(printed) > 0
    assert {row["key"] for row in unseen}.isdisjoint({key})
    assert call("templates", "forget", model, key)[0] == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(call: Any, name: str) -> None:
    code, out, _ = call(*name.split(), "--help")
    assert code == 0
    assert f"Example: deeplog-grpc {name}" in " ".join(out.split())


def test_the_version(call: Any) -> None:
    from deeplog_grpc import __version__

    assert call("--version") == (0, f"{__version__}\n", "")


def _truncated_bundle(folder: Path, place: Path) -> list[object]:
    shutil.copytree(folder / "model", place / "model")
    os.truncate(place / "model" / "key_model.safetensors", 100)
    return ["serve", "--model", place / "model"]


def _written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


WRONG = {
    "truncated bundle": (_truncated_bundle, "key_model.safetensors: has 100 bytes instead of"),
    "no bundle": (lambda f, p: ["serve", "--model", p / "none"], "is not there"),
    "twice the same application": (lambda f, p: ["serve", *["--model", f / "model"] * 2], "a second bundle of"),
    "bad key": (
        lambda f, p: ["serve", "--model", f / "model", "--config", _written(p / "c.yaml", "server: {listne: x}")],
        "server.listne: ",
    ),
    "no yaml": (lambda f, p: ["serve", "--model", f / "model", "-c", _written(p / "c.yaml", "a: [")], "is not YAML"),
    "bad flag": (lambda f, p: ["serve", "--model", f / "model", "--listen", "nonsense"], "is not HOST:PORT"),
    "missing log": (lambda f, p: ["train", p / "none.log", "--out", p / "m"], "none.log: no such file"),
    "folder as log": (lambda f, p: ["train", p, "--out", p / "m"], "cannot be read: Is a directory"),
    "empty log": (lambda f, p: ["train", _written(p / "e.log", ""), "--out", p / "m"], "no window to learn from"),
    "damaged gzip": (
        lambda f, p: ["train", _written(p / "e.gz", (f / "normal.log.gz").read_bytes()[:500]), "--out", p / "m"],
        "e.gz: cannot be read",
    ),
    "out is something else": (lambda f, p: ["train", f / "judged.log", "--out", f], "is not a model bundle"),
    "bad pattern": (
        lambda f, p: ["train", f / "judged.log", "--out", p / "m", "--session-pattern", "order=("],
        "sessions.patterns[0]: not a regular expression",
    ),
    "neither server nor model": (lambda f, p: ["score", f / "judged.log"], "give either a running server or"),
    "both server and model": (
        lambda f, p: ["score", f / "judged.log", "--server", "127.0.0.1:1", "--model", f / "model"],
        "give either a running server or",
    ),
    "other application": (
        lambda f, p: ["score", f / "judged.log", "--model", f / "model", "--application", "x", "--json"],
        "application 'x' is not 'orders'",
    ),
    "no columns": (lambda f, p: ["parse", "--ground-truth", _written(p / "t.csv", "A,B\n1,2\n")], "no column Content"),
    "short row": (
        lambda f, p: ["parse", "--ground-truth", _written(p / "t.csv", "Content,EventTemplate\na,a\nb\n")],
        "row 2 has fewer columns",
    ),
    "no such template": (lambda f, p: ["templates", "forget", f / "model", 9999], "log key 9999 was never given"),
    "no list": (lambda f, p: ["templates", "import", _written(p / "t", "a: 1\n")], "is not a list of templates"),
    "no YAML": (lambda f, p: ["templates", "import", _written(p / "t", "[a, \n")], "t: cannot be read"),
    "no template": (
        lambda f, p: ["templates", "import", _written(p / "t", '["a", {"key": 3}]')],
        "entry 2: is neither",
    ),
    "twice": (lambda f, p: ["templates", "import", _written(p / "t", '["user 1", "user <*>"]')], "the same constants"),
    "no labels": (
        lambda f, p: ["evaluate", "logs", f / "judged.log", "--split", 0.5],
        "--labels, --line-label: one of them is needed",
    ),
    "a split of nothing": (
        lambda f, p: ["evaluate", "logs", "--split", 0.5, "--line-label", "x"],
        "give either one log and --split, or --train and --test",
    ),
    "both a log and parts": (
        lambda f, p: ["evaluate", "logs", f / "judged.log", "--train", f / "judged.log", "--line-label", "x"],
        "give either one log and --split, or --train and --test",
    ),
    "a split past the end": (
        lambda f, p: ["evaluate", "logs", f / "judged.log", "--split", 1.5, "--line-label", "x"],
        "--split: 1.5 is not between 0 and 1",
    ),
    "a split by times that are not there": (
        lambda f, p: [
            *("evaluate", "logs", _written(p / "t", "a b\nc d\n"), "--split", 0.5, "--split-by", "time"),
            *("--line-label", "x"),
        ],
        "--split-by: no line has a time stamp",
    ),
    "labels of other sessions": (
        lambda f, p: [
            *("evaluate", "logs", f / "judged.log", "--split", 0.5, *QUICK),
            *("--labels", _written(p / "l.csv", "session,label\nnobody,1\n")),
        ],
        "nothing that is judged has a label",
    ),
    "no table of labels": (
        lambda f, p: ["evaluate", "logs", f / "judged.log", "--split", 0.5, "--labels", p / "none.csv"],
        "none.csv: cannot be read: No such file",
    ),
    "words as keys": (
        lambda f, p: [
            *("evaluate", "sequences", "--train", _written(p / "t", "1 2\n3 x\n")),
            *("--normal", p / "t", "--abnormal", p / "t"),
        ],
        "t:2: is not a sequence of key numbers",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_caller_can_mend_is_one_line_and_exit_code_2(
    call: Any, folder: Path, tmp_path: Path, name: str
) -> None:
    arguments, message = WRONG[name]
    code, _, err = call(*arguments(folder, tmp_path))
    assert code == 2
    assert err.count("\n") == 1, err
    assert err.startswith("deeplog-grpc: ")
    assert message in err
    assert not (tmp_path / "m").exists()


def test_a_server_that_is_not_there_is_one_line(call: Any, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    code, _, err = call("score", folder / "judged.log", "--server", address, "--json")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot reach the server" in err


def test_an_error_in_a_process_of_its_own_is_one_line_without_a_traceback(folder: Path, tmp_path: Path) -> None:
    done = run(*_truncated_bundle(folder, tmp_path), code=2)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_standard_input_is_judged_as_it_comes(folder: Path) -> None:
    """A line written to the pipe is judged before the pipe ends."""
    arguments = command("score", "-", "--model", folder / "model", "--json")
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("kernel panic: not syncing, attempted to kill init\n")
        process.stdin.flush()
        started = time.monotonic()
        row = json.loads(process.stdout.readline())
        assert (row["file"], row["line"], row["kind"], row["session"]) == ("-", 1, "unseen_key", "@-")
        process.stdin.close()
        assert process.wait(BOUND_S) == 0
        assert time.monotonic() - started < BOUND_S


def test_training_with_a_checkpoint_leaves_none_and_the_model_of_one_without(
    call: Any, folder: Path, tmp_path: Path
) -> None:
    for name, options in {"plain": [], "saved": ["--checkpoint", tmp_path / "p", "--checkpoint-s", 0]}.items():
        code, _, err = call("train", folder / "judged.log", "--out", tmp_path / name, *options, *QUICK)
        assert (code, err) == (0, "")
    assert not (tmp_path / "p").exists()
    plain, saved = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("plain", "saved"))
    assert plain == saved


def test_a_checkpoint_of_other_arguments_or_input_is_refused_with_the_remedy(
    call: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "app.log"
    log.write_bytes((folder / "judged.log").read_bytes())
    train = ["train", log, "--out", tmp_path / "m", "--checkpoint", tmp_path / "p", *QUICK]

    def cut_off(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "fit", cut_off)
        assert call(*train)[0] == 130
    assert (tmp_path / "p").exists()
    for more, what in (
        (["--seed", 5], "(seed: was 0, is 5)"),
        (["--set", "sessions.timeout_s=7"], "(sessions.timeout_s: was None, is 7.0)"),
    ):
        code, _, err = call(*train, *more)
        assert (code, err.count("\n")) == (2, 1)
        assert what in err
        assert "give those again, or delete the folder to begin anew" in err
    with log.open("a") as file:
        file.write("2024-01-01 00:00:00 one more\n")
    code, _, err = call(*train)
    assert (code, err.count("\n")) == (2, 1)
    assert f"(file {log}: was " in err
    damaged = next((tmp_path / "p").glob("*/history_keys.bin"))
    damaged.write_bytes(damaged.read_bytes()[4:])
    code, _, err = call(*train)
    assert (code, err.count("\n")) == (2, 1)
    assert "history_keys.bin: has " in err
    code, _, err = call("train", "-", "--out", tmp_path / "m", "--checkpoint", tmp_path / "q")
    assert (code, err) == (2, "deeplog-grpc: --checkpoint: standard input cannot be read again: give files\n")


def test_training_goes_on_from_its_checkpoint(
    call: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = ["train", folder / "judged.log", "--checkpoint", tmp_path / "p", *QUICK]

    def cut_off(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "fit", cut_off)
        assert call(*train, "--out", tmp_path / "m")[0] == 130
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "add", cut_off)  # nothing is left to read
        code, _, err = call(*train, "--out", tmp_path / "m")
    assert code == 0
    assert "going on after" in err
    assert not (tmp_path / "p").exists()
