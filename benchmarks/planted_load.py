"""Clients for `planted_faults`: normal rows, every answer checked and written down.

What is right is y = x + 1, whichever version answers. Nothing is retried.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Final

import aiohttp
import numpy as np
import tritonclient.grpc.aio as triton_grpc

from benchmarks.ledger import Array
from benchmarks.loads import Request
from benchmarks.planted_models import COLUMNS

ROWS: Final = 4
REQUEST_COUNT: Final = 4000
HTTP_CLIENTS: Final = 6
GRPC_CLIENTS: Final = 2
AFTER_FAILURE_S: Final = 0.01
OK: Final = 200
LENGTH_HEADER: Final = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one call. Times are seconds of the monotonic clock."""

    sent_s: float
    answered_s: float
    version: str
    """Empty where the call failed."""
    error: str
    """Empty for a right answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Who is asked what."""

    http: str
    grpc: str
    model: str
    inputs: tuple[Array, ...]


def load_of(http: str, grpc: str, model: str, seed: int = 1) -> Load:
    """Draw the rows that clients send, again and again."""
    random = np.random.default_rng(seed)
    drawn = random.standard_normal((REQUEST_COUNT, ROWS, COLUMNS)).astype(np.float32)
    return Load(http=http, grpc=grpc, model=model, inputs=tuple(drawn))


async def run_load(load: Load, stop: asyncio.Event, answers: list[Answer]) -> None:
    """Keep asking until `stop` is set; returns when every request has been answered."""
    async with asyncio.TaskGroup() as group:
        for number in range(HTTP_CLIENTS):
            group.create_task(_http_client(load, number, stop, answers))
        for number in range(GRPC_CLIENTS):
            group.create_task(_grpc_client(load, HTTP_CLIENTS + number, stop, answers))


async def _http_client(load: Load, number: int, stop: asyncio.Event, answers: list[Answer]) -> None:
    async with aiohttp.ClientSession() as session:
        place = number
        while not stop.is_set():
            place = (place + HTTP_CLIENTS + GRPC_CLIENTS) % len(load.inputs)
            value = load.inputs[place]
            request = Request(model=load.model, inputs={"x": value})
            sent_s = time.monotonic()
            try:
                version, error = await _asked(session, f"http://{load.http}", request, value)
            except (aiohttp.ClientError, TimeoutError, OSError) as failure:
                version, error = "", f"{type(failure).__name__}: {failure}"
            await _note(answers, sent_s, version, error)


async def _asked(
    session: aiohttp.ClientSession, where: str, request: Request, value: Array
) -> tuple[str, str]:
    body, header_length = request.http_body()
    headers = {LENGTH_HEADER: str(header_length), "Content-Type": "application/octet-stream"}
    async with session.post(where + request.path, data=body, headers=headers) as reply:
        raw = await reply.read()
        if reply.status != OK:
            return "", f"{reply.status}: {raw[:300].decode(errors='replace')}"
        length = int(reply.headers[LENGTH_HEADER])
        version = str(json.loads(raw[:length])["model_version"])
        return version, _difference(np.frombuffer(raw[length:], np.float32), value)


async def _grpc_client(load: Load, number: int, stop: asyncio.Event, answers: list[Answer]) -> None:
    alone = [("grpc.use_local_subchannel_pool", 1)]
    async with triton_grpc.InferenceServerClient(load.grpc, channel_args=alone) as client:
        place = number
        while not stop.is_set():
            place = (place + HTTP_CLIENTS + GRPC_CLIENTS) % len(load.inputs)
            value = load.inputs[place]
            tensor = triton_grpc.InferInput("x", list(value.shape), "FP32")
            tensor.set_data_from_numpy(value)
            sent_s = time.monotonic()
            try:
                reply = await client.infer(load.model, [tensor])
                version = str(reply.get_response().model_version)
                error = _difference(reply.as_numpy("y").ravel(), value)
            except triton_grpc.InferenceServerException as failure:
                version, error = "", str(failure)[:300]
            await _note(answers, sent_s, version, error)


def _difference(got: Array, value: Array) -> str:
    want = value.ravel() + np.float32(1)
    if got.shape == want.shape and np.allclose(got, want, rtol=1e-4, atol=1e-4):
        return ""
    return "wrong answer"


async def _note(answers: list[Answer], sent_s: float, version: str, error: str) -> None:
    answered_s = time.monotonic()
    answers.append(Answer(sent_s=sent_s, answered_s=answered_s, version=version, error=error))
    if error and not version:
        await asyncio.sleep(AFTER_FAILURE_S)  # a refused connection must not be a busy loop
