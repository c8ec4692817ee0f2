"""One question to one model, asked by the load client of `bascule loadtest` while faults happen."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.cli.load.clients import Asked, Load
from serving.cli.load.clients import record as record_load
from serving.cli.load.ledger import Ledger
from serving.cli.load.question import Question
from serving.cli.load.truth import Steps, Truth
from serving.cli.predict_tensors import NamedTensor
from serving.host_port import host_port

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is asked: one input and one output of a model that computes `expected[version]`."""

    http: str
    grpc: str
    model: str
    input_name: str
    output_name: str
    value: Array
    """FP32, shape (rows, columns)."""
    expected: Mapping[str, Array]


async def record(
    target: Target, stop: asyncio.Event, *, http_clients: int = 8, grpc_clients: int = 8
) -> Ledger:
    """Run the clients until `stop` is set; returns when every request has been answered."""
    ledger = Ledger()
    load = Load(
        http=host_port(target.http),
        grpc=host_port(target.grpc),
        asked=(asked(target.model, target.input_name, target.value, _told(target)),),
        http_client_count=http_clients,
        grpc_client_count=grpc_clients,
    )
    await record_load(load, stop, ledger)
    return ledger


def asked(model: str, input_name: str, value: Array, told: Mapping[str, Steps]) -> Asked:
    """Return a question of one FP32 input whose answers are all known beforehand."""
    tensor = NamedTensor(name=input_name, datatype=Datatype.FP32, array=value)
    return Asked(
        question=Question(model=model, tensors=(tensor,)), truth=Truth(_nothing_else, told)
    )


def _told(target: Target) -> Mapping[str, Steps]:
    return {
        version: ((NamedTensor(name=target.output_name, datatype=Datatype.FP32, array=value),),)
        for version, value in target.expected.items()
    }


async def _nothing_else(version: str) -> Steps:
    raise InvalidArgumentError(f"nobody asked for version {version}")


async def during(
    target: Target, act: Callable[[], object], *, before_s: float = 1.0, after_s: float = 1.0
) -> Ledger:
    """Record while `act` runs in a thread, with some seconds of load before and after it."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(record(target, stop))
        await asyncio.sleep(before_s)
        await asyncio.to_thread(act)
        await asyncio.sleep(after_s)
        stop.set()
    return running.result()
