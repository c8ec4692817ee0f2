"""Drift on the admin socket: what is known of a model's versions, and to say that one has seen it.

Answered by the controller, which decides on the rows of all nodes' workers together.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from runtimes.errors import InvalidArgumentError
from serving.edge.admin_api import call_with_body, who_asked
from serving.edge.admin_openapi import AdminCall, Words
from serving.edge.control import Asked, DriftControl
from serving.edge.rollout_body import MAX_REASON_CHARACTERS
from serving.errors import NotFoundError
from serving.ids import MAX_VERSION, model_name
from serving.monitor.drift.view import DriftAlarm, VersionDrift

DRIFT: Final = "/v1/models/{model}/drift"
MAX_ALARM_CHARACTERS: Final = 64


class AckBody(BaseModel):
    """Which alarms somebody has seen, and what they say to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int | None = Field(None, gt=0, le=MAX_VERSION, strict=True)
    """None: those of all versions."""
    alarm: str = Field("", max_length=MAX_ALARM_CHARACTERS)
    """Its id; empty: all that are open."""
    reason: str = Field(min_length=1, max_length=MAX_REASON_CHARACTERS)


def drift_calls(control: DriftControl) -> tuple[AdminCall, ...]:
    """Return the calls, over the controller."""

    async def drift(request: Request) -> object:
        model, version = model_name(request.path_params["model"]), _version(request)
        found = await control.drift(model)
        chosen = tuple(one for one in found if version in {None, one.version})
        if not chosen:
            raise NotFoundError(
                f"no version of '{model}' is watched for drift: pack it with a reference "
                "(bascule drift learn, bascule pack --reference)"
            )
        return chosen

    async def acknowledge(request: Request, body: AckBody) -> object:
        asked = Asked(who=who_asked(request), reason=body.reason.strip())
        if not asked.reason:
            raise InvalidArgumentError("an acknowledgement needs a reason: say why, with --reason")
        model = model_name(request.path_params["model"])
        return await control.acknowledge_drift(model, body.version, body.alarm, asked)

    return (
        AdminCall(
            "GET",
            DRIFT,
            drift,
            Words("models", "How far rows are from the reference", tuple[VersionDrift, ...]),
            query={"version": {"type": "integer", "minimum": 1}},
        ),
        call_with_body(
            f"{DRIFT}/ack",
            AckBody,
            acknowledge,
            Words("models", "Say that somebody has seen alarms of drift", tuple[DriftAlarm, ...]),
        ),
    )


def _version(request: Request) -> int | None:
    text = request.query_params.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and 0 < len(text) <= 18):  # noqa: PLR2004  int64
        raise InvalidArgumentError(f"version: a number is expected, got {text[:40]!r}")
    return int(text)
