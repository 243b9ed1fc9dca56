"""Notifications over HTTP: Alertmanager, Slack, and any other that takes JSON."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import jinja2
import orjson

from deeplog_grpc.access.trust import ssl_context
from deeplog_grpc.outputs.alert_shapes import alertmanager_alerts, rendered, slack_message
from deeplog_grpc.outputs.alerts import Notice
from deeplog_grpc.outputs.config import AlertmanagerOutput, AlertOutput, SlackOutput, WebhookOutput, secret
from deeplog_grpc.outputs.failures import NotTakenError, TryAgainError

_BUSY = frozenset({408, 429})
_ANSWER_BYTES = 4_096
_ALERTMANAGER_BATCH = 100
ALERTMANAGER_PATH = "/api/v2/alerts"

Body = Callable[[Sequence[Notice]], bytes]


class WebSender:
    """Sends notifications as bodies of HTTP requests.

    Parameters
    ----------
    config : AlertOutput
    url : callable
        The address, asked for each request: it may stand in a file.
    body : callable
        Makes a body of notifications.
    batch : int
        How many a body may hold.

    Raises
    ------
    ConfigError
        If a certificate cannot be read.
    """

    def __init__(
        self, config: AlertOutput, url: Callable[[], str], body: Body, *, batch: int = 1, method: str = "POST"
    ) -> None:
        self.batch = batch
        self._config = config
        self._url = url
        self._body = body
        self._method = method
        self._tls = ssl_context(config.ca_file, config.cert_file, config.key_file, field="outputs")
        self._session: aiohttp.ClientSession | None = None

    async def send(self, items: Sequence[Notice]) -> None:
        """See :class:`~deeplog_grpc.outputs.senders.Sender`."""
        try:
            body = self._body(items)
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise NotTakenError(f"the template failed: {type(error).__name__}", answer=str(error)) from error
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._config.timeout_s)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            async with self._session.request(
                self._method, self._url(), data=body, headers=self._headers(), ssl=self._tls, allow_redirects=False
            ) as answer:
                text = (await answer.content.read(_ANSWER_BYTES)).decode("utf-8", "replace")
                _check(answer.status, text, answer.headers)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # their texts may name the address
            raise TryAgainError(_why(error)) from None

    async def close(self) -> None:
        """See :class:`~deeplog_grpc.outputs.senders.Sender`."""
        if self._session is not None:
            await self._session.close()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if token := secret(self._config.token, self._config.token_file):
            headers["Authorization"] = f"Bearer {token}"
        return headers | {name: value.get_secret_value() for name, value in self._config.headers.items()}


def web_sender(name: str, config: AlertOutput) -> WebSender:
    """The sender of an output of alerts."""
    match config:
        case AlertmanagerOutput():
            return WebSender(
                config,
                lambda: config.url.rstrip("/") + ALERTMANAGER_PATH,
                lambda notices: _json(
                    alertmanager_alerts(notices, name, labels=config.labels, resend_s=config.resend_s, now=time.time())
                ),
                batch=_ALERTMANAGER_BATCH,
            )
        case SlackOutput():
            return WebSender(
                config,
                lambda: secret(config.url, config.url_file),
                lambda notices: _json(slack_message(notices[0], name)),
            )
        case WebhookOutput():
            return WebSender(
                config,
                lambda: config.url,
                lambda notices: rendered(config.template, notices[0], name).encode("utf-8", "replace"),
                method=config.method,
            )
        case _:
            raise TypeError(f"{type(config).__name__} sends no alerts")


def retry_after_s(header: str, now: datetime) -> float:
    """Seconds of a ``Retry-After``: a number or a date; 0 where it is neither.

    Examples
    --------
    >>> retry_after_s("120", datetime.now(UTC))
    120.0
    >>> retry_after_s("Wed, 21 Oct 2015 07:28:10 GMT", datetime(2015, 10, 21, 7, 28, tzinfo=UTC))
    10.0
    """
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _check(status: int, text: str, headers: Mapping[str, str]) -> None:
    if 200 <= status < 300:
        return
    if status in _BUSY or status >= 500:
        wait_s = retry_after_s(headers.get("Retry-After", ""), datetime.now(UTC))
        raise TryAgainError(f"HTTP status {status}", retry_after_s=wait_s, answer=text)
    raise NotTakenError(f"HTTP status {status}", answer=text)


def _why(error: Exception) -> str:
    """What went wrong with a connection, without its URL."""
    inner: object = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
    text = getattr(inner, "verify_message", "") or getattr(inner, "strerror", "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _json(value: Any) -> bytes:
    return orjson.dumps(value)
