"""Talks to the running instance of one home: JSON over its admin socket, blocking."""

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

import msgspec

from runtimes.errors import BasculeError
from serving.errors import NotReadyError
from serving.registry.rollouts.forecast import Forecast
from serving.registry.rollouts.record import Order, Rollout

if TYPE_CHECKING:
    from serving.edge.control import ClusterStatus, RolloutReport
    from serving.edge.quality_call import VersionQuality
    from serving.monitor.alarms.latch import StandingAlarm
    from serving.monitor.drift.view import DriftAlarm, VersionDrift
    from serving.monitor.selftest.trial import SelfTest
    from serving.predictions.labels.forecast import ModelForecast
    from serving.predictions.labels.reviews import Review

STATUS_LIMIT_S: Final = 10.0
LOG_LIMIT_S: Final = 120.0
"""Reading a log takes its time."""
CHANGE_LIMIT_S: Final = 900.0
"""Longest wait for a change to be done: a large model takes minutes to load."""


class RefusedCallError(BasculeError):
    """The instance refused a call; the message is its own."""


class SilentInstanceError(BasculeError):
    """An instance runs and does not answer in time: it may be busy, or hang."""


class AdminClient:
    """A client of one admin socket; each call has its own connection.

    Any call raises `SilentInstanceError` where an instance does not answer in time: unlike where
    none runs, calls may go to what it serves, and what it was asked for may be done yet.
    """

    def __init__(self, admin_socket: Path) -> None:
        """Remember the socket; nothing is connected yet."""
        self._socket = admin_socket

    def is_running(self) -> bool:
        """Whether something listens on the socket."""
        try:
            self.status_bytes()
        except NotReadyError:
            return False
        except SilentInstanceError:
            return True
        return True

    def status(self) -> "ClusterStatus":
        """Return everything that `bascule status` shows.

        Raises:
            NotReadyError: No instance runs.
        """
        # Most commands, and those in a hurry, need none of what it imports.
        from serving.edge.control import ClusterStatus  # noqa: PLC0415  see above

        return _decoded(self.status_bytes(), ClusterStatus)

    def status_bytes(self) -> bytes:
        """Return the status as the instance wrote it: JSON.

        Raises:
            NotReadyError: No instance runs.
        """
        return self._call("GET", "/v1/status", None, STATUS_LIMIT_S)

    def sync(self) -> None:
        """Let the instance read its registry again; return when all has settled.

        Its repository too, unless the mode is none.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: The instance could not do it.
        """
        self._call("POST", "/v1/sync", {}, CHANGE_LIMIT_S)

    def promote(self, model: str, version: int, *, force: bool = False, reason: str = "") -> int:
        """Make a version live; return the route revision that every edge acknowledged.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: The version does not exist, is not ready, or would break callers.
        """
        path = f"/v1/models/{quote(model, safe='')}/promote"
        reply = self._call(
            "POST", path, {"version": version, "force": force, "reason": reason}, CHANGE_LIMIT_S
        )
        return _decoded(reply, _Promoted).revision

    def retire(self, model: str, version: int | None) -> None:
        """Unload one version, or all of a model (None).

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: Nothing of that name is loaded.
        """
        path = f"/v1/models/{quote(model, safe='')}/retire"
        self._call("POST", path, {"version": version}, CHANGE_LIMIT_S)

    def start_rollout(self, model: str, body: Mapping[str, object]) -> Rollout:
        """Begin a rollout; the body is `serving.edge.rollout_body.RolloutBody` as JSON.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: The version does not exist, or another rollout is under way.
        """
        reply = self._call("POST", f"{_model(model)}/rollout", body, CHANGE_LIMIT_S)
        return _decoded(reply, Rollout)

    def plan_rollout(self, model: str, body: Mapping[str, object]) -> Forecast:
        """Return what a rollout would do; the body is that of `start_rollout`.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: The version does not exist, or the plan cannot work.
        """
        reply = self._call("POST", f"{_model(model)}/rollout/plan", body, STATUS_LIMIT_S)
        return _decoded(reply, Forecast)

    def order_rollout(self, model: str, order: Order, reason: str) -> Rollout:
        """Pause, resume, skip a step of, or abort the rollout of a model.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: There is none, or the order makes no sense now.
        """
        path = f"{_model(model)}/rollout/{order}"
        reply = self._call("POST", path, {"reason": reason}, CHANGE_LIMIT_S)
        return _decoded(reply, Rollout)

    def rollback(self, model: str, reason: str) -> Rollout:
        """Give all traffic to the version before; return when every edge does.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: There is no version before, or it cannot serve.
        """
        path = f"{_model(model)}/rollback"
        reply = self._call("POST", path, {"reason": reason}, CHANGE_LIMIT_S)
        return _decoded(reply, Rollout)

    def rollouts(self, model: str | None) -> tuple[Rollout, ...]:
        """Return the latest rollouts, newest first.

        Raises:
            NotReadyError: No instance runs.
        """
        query = "" if model is None else f"?model={quote(model, safe='')}"
        reply = self._call("GET", f"/v1/rollouts{query}", None, STATUS_LIMIT_S)
        return _decoded(reply, tuple[Rollout, ...])

    def rollout(self, number: int) -> "RolloutReport":
        """Return one rollout with all its changes.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: There is none of that number.
        """
        reply = self._call("GET", f"/v1/rollouts/{number}", None, STATUS_LIMIT_S)
        from serving.edge.control import RolloutReport  # noqa: PLC0415  as for a status

        return _decoded(reply, RolloutReport)

    def quality(self, model: str) -> "tuple[VersionQuality, ...]":
        """Return what the data contracts of a model's versions have seen on this node.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: No version of the model is ready.
        """
        from serving.edge.quality_call import VersionQuality  # noqa: PLC0415  as for a status

        reply = self._call("GET", f"{_model(model)}/quality", None, STATUS_LIMIT_S)
        return _decoded(reply, tuple[VersionQuality, ...])

    def drift(self, model: str, version: int | None = None) -> "tuple[VersionDrift, ...]":
        """Return how far the rows of a model's versions are from their references.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: No version of the model is watched.
        """
        from serving.monitor.drift.view import VersionDrift  # noqa: PLC0415  as for a status

        query = "" if version is None else f"?version={version}"
        reply = self._call("GET", f"{_model(model)}/drift{query}", None, STATUS_LIMIT_S)
        return _decoded(reply, tuple[VersionDrift, ...])

    def alarms(self) -> "tuple[StandingAlarm, ...]":
        """Return what is wrong now, drift aside.

        Raises:
            NotReadyError: No instance runs.
        """
        from serving.monitor.alarms.latch import StandingAlarm  # noqa: PLC0415  as for a status

        reply = self._call("GET", "/v1/alarms", None, STATUS_LIMIT_S)
        return _decoded(reply, tuple[StandingAlarm, ...])

    def self_test(self, model: str | None) -> "SelfTest":
        """Try every alarm of a model's versions, or of all.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: No version of the model is served.
        """
        from serving.monitor.selftest.trial import SelfTest  # noqa: PLC0415  as for a status

        body = {"model": model}
        reply = self._call("POST", "/v1/monitor/selftest", body, CHANGE_LIMIT_S)
        return _decoded(reply, SelfTest)

    def acknowledge_drift(
        self, model: str, version: int | None, alarm: str, reason: str
    ) -> "tuple[DriftAlarm, ...]":
        """Say that somebody has seen alarms of a model; return which.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: There is no such alarm that is open and was not seen.
        """
        from serving.monitor.drift.view import DriftAlarm  # noqa: PLC0415  as for a status

        body = {"version": version, "alarm": alarm, "reason": reason}
        reply = self._call("POST", f"{_model(model)}/drift/ack", body, STATUS_LIMIT_S)
        return _decoded(reply, tuple[DriftAlarm, ...])

    def label_estimate(self, model: str, version: int | None) -> "ModelForecast":
        """Return what is expected of a model's answers without labels.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: It logs no predictions.
        """
        from serving.predictions.labels.forecast import ModelForecast  # noqa: PLC0415  likewise

        query = "" if version is None else f"?version={version}"
        path = f"{_model(model)}/labels/estimate{query}"
        return _decoded(self._call("GET", path, None, LOG_LIMIT_S), ModelForecast)

    def review_label(self, model: str, decided: Mapping[str, object]) -> "Review":
        """Decide about a label; the body is `serving.edge.label_review_body.ReviewBody` as JSON.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: There is no such label, or the instance logs no predictions.
        """
        from serving.predictions.labels.reviews import Review  # noqa: PLC0415  likewise

        reply = self._call("POST", f"{_model(model)}/labels/review", decided, LOG_LIMIT_S)
        return _decoded(reply, Review)

    def rollout_page(self, number: int, form: str) -> str:
        """Return one page about a rollout, as text.

        Raises:
            NotReadyError: No instance runs.
            RefusedCallError: There is none of that number.
        """
        path = f"/v1/rollouts/{number}/report?format={form}"
        return self._call("GET", path, None, STATUS_LIMIT_S).decode()

    def _call(
        self, method: str, path: str, body: Mapping[str, object] | None, limit_s: float
    ) -> bytes:
        connection = _UnixConnection(self._socket, limit_s)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            reply = response.read()
        except TimeoutError as error:
            raise SilentInstanceError(
                f"the instance at {self._socket} did not answer {method} {path} within "
                f"{limit_s:.0f} s: try again, and see {self._socket.parents[1] / 'logs'}; if it "
                "stays so, end it and start it again"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise NotReadyError(
                f"no instance answers at {self._socket} ({type(error).__name__}): start one with "
                "bascule serve or bascule up, or set BASCULE_HOME to its home"
            ) from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise RefusedCallError(_refusal(reply, response.status))
        return reply


def _model(model: str) -> str:
    return f"/v1/models/{quote(model, safe='')}"


class _Promoted(msgspec.Struct, frozen=True):
    revision: int


class _Refusal(msgspec.Struct, frozen=True):
    error: str


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, limit_s: float) -> None:
        super().__init__("local", timeout=limit_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


T = TypeVar("T")


def _decoded(reply: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply, type=kind)
    except msgspec.MsgspecError as error:
        raise RefusedCallError(
            f"the running instance answers as another version of Bascule does ({error}): use the "
            "bascule that it was started with, or start it again with this one"
        ) from error


def _refusal(reply: bytes, status: int) -> str:
    try:
        return msgspec.json.decode(reply, type=_Refusal).error
    except msgspec.DecodeError:
        return f"the instance answered with status {status}: {reply[:200].decode(errors='replace')}"
