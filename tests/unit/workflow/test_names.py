import pytest

from deeplog_grpc.workflow import NO_WORKFLOW, Step, sequence
from deeplog_grpc.workflow.names import Names
from tests import workflows

HEAD = "<*> INFO nova.manager [<*> - -] [instance: <*>]"
TEXTS = ("VM started", "VM paused", "VM resumed", "Took <*> s", "Deleting /var/<*>")


@pytest.mark.parametrize("text", TEXTS)
def test_a_head_that_all_have_is_left_out(text: str) -> None:
    assert Names.of(f"{HEAD} {one}" for one in TEXTS).name(f"{HEAD} {text}") == text


def test_a_head_that_nearly_all_have_is_left_out() -> None:
    templates = [f"daemon: {text}" for text in ("a b", "c d", "e f", "g h")]
    assert Names.of([*templates, "restart now"]).name("daemon: a b") == "a b"
    assert Names.of([*templates, "restart now"]).name("restart now") == "restart now"
    assert Names.of([*templates, "restart now", "stop now"]).name("daemon: a b") == "daemon: a b"


def test_of_few_templates_nothing_is_common() -> None:
    templates = [f"daemon: {text}" for text in ("a", "b", "c")]
    assert [Names.of(templates).name(template) for template in templates] == templates


def test_templates_count_once() -> None:
    assert Names.of(["daemon: a"] * 10).common == frozenset()


def test_marks_and_parameters_are_no_words() -> None:
    names = Names.of(f"<*> - 42 {text} <*>" for text in "abcd")
    assert names.common == frozenset()
    assert names.name("<*> - 42 a <*>") == "<*> - 42 a <*>"


def test_after_the_head_a_name_begins_with_a_letter() -> None:
    names = Names.of(f"INFO <*> - {text}" for text in ("start", "stop", "go", "<*>"))
    assert names.name("INFO <*> - start") == "start"


def test_a_template_that_is_all_head_keeps_it() -> None:
    names = Names.of(["INFO a", "INFO b", "INFO c", "INFO d", "INFO <*>"])
    assert [names.name("INFO <*>"), names.name("INFO"), names.name("")] == ["INFO <*>", "INFO", ""]


def test_a_template_learned_later_is_named_too() -> None:
    assert Names.of(f"INFO {text}" for text in "abcd").name("INFO later on") == "later on"


def test_names_of_a_workflow_are_of_its_steps() -> None:
    found = workflows.workflow(
        sequence(*map(Step, range(1, 6))), texts={key: f"app: {key} runs" for key in range(1, 6)}
    )
    assert Names.of_workflow(found).common == {"app:", "runs"}
    assert Names.of_workflow(NO_WORKFLOW).common == frozenset()
