"""Alarms on the admin socket: what is wrong now, and the self-test that they ring."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from serving.edge.admin_api import call_with_body
from serving.edge.admin_openapi import AdminCall, Words
from serving.edge.control import AlarmControl
from serving.ids import model_name
from serving.monitor.alarms.latch import StandingAlarm
from serving.monitor.selftest.trial import SelfTest

MAX_NAME_CHARACTERS: Final = 1000


class SelfTestBody(BaseModel):
    """Whose alarms are tried."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(None, min_length=1, max_length=MAX_NAME_CHARACTERS)
    """None: those of all models."""


def alarm_calls(control: AlarmControl) -> tuple[AdminCall, ...]:
    """Return the calls, over the controller."""

    async def alarms(_: Request) -> object:
        return await control.alarms()

    async def self_test(_: Request, body: SelfTestBody) -> object:
        return await control.self_test(None if body.model is None else model_name(body.model))

    return (
        AdminCall(
            "GET",
            "/v1/alarms",
            alarms,
            Words("monitor", "What is wrong now, drift aside", tuple[StandingAlarm, ...]),
        ),
        call_with_body(
            "/v1/monitor/selftest",
            SelfTestBody,
            self_test,
            Words("monitor", "Try every alarm with data that are made up", SelfTest),
        ),
    )
