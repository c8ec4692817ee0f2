"""Asks workers for their traffic, over their control channels: for who is on their machine."""

import asyncio
from collections.abc import Collection, Iterable
from typing import Final

import msgspec
import structlog

from serving.errors import NotReadyError
from serving.local_http import LocalHttp
from serving.monitor.traffic import Lives, TrafficCounters, life_name
from serving.rollout.ports import WorkerState
from serving.worker.control import TrafficQuestion

ANSWER_S: Final = 2.0

log = structlog.get_logger(__name__)


def life_of(state: WorkerState) -> str:
    """Name the life of a worker."""
    return life_name(state.address.worker, state.restart_count)


def concerned(states: Iterable[WorkerState], question: TrafficQuestion) -> list[WorkerState]:
    """Choose the workers that run and host what was asked for."""
    keys = set(question.keys)
    return [state for state in states if state.pid and not keys.isdisjoint(state.versions)]


async def ask_traffic(state: WorkerState, question: TrafficQuestion) -> tuple[TrafficCounters, ...]:
    """Return what one worker has counted; nothing if it does not answer."""
    async with LocalHttp(state.address.control) as client:
        try:
            body = msgspec.json.encode(question)
            reply = await client.ask("POST", "/worker/traffic", body, timeout_s=ANSWER_S)
            return msgspec.json.decode(reply.body, type=tuple[TrafficCounters, ...])
        except (NotReadyError, msgspec.MsgspecError) as error:
            log.info("worker_without_traffic", worker=state.address.worker, error=str(error))
            return ()


async def ask_all(states: Collection[WorkerState], question: TrafficQuestion) -> Lives:
    """Ask several at once; who does not answer is left out."""
    async with asyncio.TaskGroup() as group:
        asked = {
            life_of(state): group.create_task(ask_traffic(state, question))
            for state in concerned(states, question)
        }
    return {life: task.result() for life, task in asked.items() if task.result()}
