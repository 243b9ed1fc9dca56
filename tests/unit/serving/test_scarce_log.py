from structlog import get_logger
from structlog.testing import capture_logs

from deeplog_grpc.serving.scarce_log import INTERVAL_S, ScarceLog


def test_a_warning_is_logged_once_in_a_while_with_the_number_of_those_in_between() -> None:
    now = 0.0
    log = ScarceLog(get_logger(), clock=lambda: now)
    with capture_logs() as logs:
        for number in range(5):
            log.warning("odd", number=number)
        log.warning("other")
        now = INTERVAL_S
        log.warning("odd", number=5)
        log.warning("odd", number=6)
        now = 2 * INTERVAL_S
        log.warning("odd", number=7)
        now = 4 * INTERVAL_S
        log.warning("odd", number=8)
    assert [(entry["event"], entry.get("number"), entry.get("unsaid")) for entry in logs] == [
        ("odd", 0, None),
        ("other", None, None),
        ("odd", 5, 4),
        ("odd", 7, 1),
        ("odd", 8, None),
    ]
