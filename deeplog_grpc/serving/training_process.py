"""Runs a training in a process of its own and listens to it."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import orjson

from deeplog_grpc.errors import DeepLogError, InputError
from deeplog_grpc.training.process import TrainingOrder

_MODULE = "deeplog_grpc.training.process"
_SHOWN_ERROR = 200
"""Characters of the kind of an error."""


class TrainingFailedError(DeepLogError):
    """The process ended without a result: it crashed, or was killed."""


async def train(order: TrainingOrder, on_progress: Callable[[float], None]) -> dict[str, Any]:
    """Do an order; a cancellation kills the process.

    Parameters
    ----------
    on_progress : callable
        Gets the progress, in [0, 1].

    Returns
    -------
    dict
        What the process told at its end: see :func:`deeplog_grpc.training.process.run`.

    Raises
    ------
    InputError
        If there is too little to learn from.
    TrainingFailedError
        If the process failed.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", _MODULE, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError("they are piped")
        errors = asyncio.create_task(process.stderr.read())
        process.stdin.write(order.to_json())  # and stays open: the process ends when it is closed
        result = await _listen(process.stdout, on_progress)
        process.stdin.close()
        code, written = await process.wait(), (await errors).decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if "refused" in result:
        raise InputError(result["refused"])
    if "done" not in result:
        raise TrainingFailedError(f"the training ended with code {code}: {_kind_of_error(written)}")
    done: dict[str, Any] = result["done"]
    return done


def _kind_of_error(written: str) -> str:
    """What an error was, without its text, which may hold log lines."""
    last = (written.strip().splitlines() or ["killed, or out of memory"])[-1]
    return last.partition(":")[0][:_SHOWN_ERROR]


async def _listen(stream: asyncio.StreamReader, on_progress: Callable[[float], None]) -> dict[str, Any]:
    """All that a process tells, until it says no more."""
    told: dict[str, Any] = {}
    highest = 0.0
    async for line in stream:
        told |= orjson.loads(line)
        highest = max(highest, told.get("progress", 0.0))
        on_progress(highest)
    return told
