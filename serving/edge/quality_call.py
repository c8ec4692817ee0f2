"""`GET /v1/models/{model}/quality` on the admin socket: what data contracts have seen.

Answered by the node itself, of its own workers: where an instance has several nodes, each knows its
part, and the sum is a question to Prometheus.
"""

from dataclasses import dataclass

from starlette.requests import Request

from serving.edge.admin_openapi import AdminCall, Words
from serving.edge.desk import Desk
from serving.ids import model_name
from serving.monitor.quality.report import QualityReport, WindowRate


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionQuality:
    """What one version's contract has seen."""

    model: str
    version: int
    report: QualityReport | None = None
    """None: the version has no contract."""
    alarms: tuple[WindowRate, ...] = ()
    """Rates that are over their limits now."""


def quality_calls(desk: Desk) -> tuple[AdminCall, ...]:
    """Return the call, over a node's desk."""

    async def quality(request: Request) -> object:
        counted = await desk.statistics(model_name(request.path_params["model"]), None)
        return tuple(
            VersionQuality(
                model=item.model,
                version=item.version,
                report=item.quality,
                alarms=() if item.quality is None else item.quality.alarms(),
            )
            for item in counted
        )

    words = Words(
        "models", "What data contracts have seen on this node", tuple[VersionQuality, ...]
    )
    return (AdminCall("GET", "/v1/models/{model}/quality", quality, words),)
