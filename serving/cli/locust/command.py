"""`bascule bench locust`: load from many users by Locust, judged by thresholds."""

import json
import math
from pathlib import Path

import msgspec
import typer

from runtimes.errors import InvalidArgumentError
from serving.cli.listeners import listeners
from serving.cli.load.preparing import described
from serving.cli.locust import options
from serving.cli.locust.plan import NAMES, Client, Plan, Transport
from serving.cli.locust.results import Thresholds, broken, results_view
from serving.cli.locust.run import require, run_locust
from serving.cli.locust.shapes import Shape
from serving.cli.predict_tensors import read_text
from serving.cli.progress import Progress
from serving.cli.render import console
from serving.cli.result_file import check_places, write_result
from serving.cli.rollout_options import seconds
from serving.host_port import HostPort, host_port, of_url
from serving.ids import model_name


def locust(  # noqa: PLR0913  one parameter for each flag
    model: options.Model,
    *,
    host: options.Host = None,
    grpc: options.Grpc = None,
    transport: options.TransportOption = Transport.BOTH,
    client: options.ClientOption = Client.TRITONCLIENT,
    shape: options.ShapeOption = Shape.STEADY,
    users: options.Users = 8,
    duration: options.Duration = "60s",
    rows: options.Rows = 1,
    json_input: options.JsonInput = None,
    rate: options.Rate = 0.0,
    timeout_s: options.Timeout = 60.0,
    max_p99_ms: options.MaxP99 = None,
    max_failure_share: options.MaxFailureShare = 0.0,
    report: options.Report = None,
    json_file: options.JsonFile = None,
) -> None:
    """Load a model from many users by Locust, on this instance or any server of the protocol.

    Inputs are made up by the server's metadata. Times of failed requests count like others.
    Answers are counted, not compared: `bascule loadtest` does that. Exit status 1 if a threshold
    is broken. Locust comes with Bascule's extra `bench`.
    """
    require(client)
    try:
        name, length_s = model_name(model), seconds("--duration", duration)
        http_at, grpc_at = addresses(host, grpc, transport)
        _check_shares(users, length_s, transport)
        given = read_text(json_input) if json_input else ""
        check_places(report, json_file)
    except InvalidArgumentError as error:
        raise typer.BadParameter(error.message) from error
    plan = Plan(
        model=name,
        http=http_at,
        grpc=grpc_at,
        transport=transport,
        client=client,
        shape=shape,
        user_count=users,
        duration_s=length_s,
        rate=rate,
        row_count=rows,
        limit_s=timeout_s,
        inputs=described(http_at, name, timeout_s).inputs,
        json_input=given,
    )
    plan.tensors()  # what does not suit the model is said now
    limits = Thresholds(max_p99_ms=max_p99_ms, max_failure_share=max_failure_share)
    _report(plan, limits, report, json_file)


def addresses(
    host: str | None, grpc: str | None, transport: Transport
) -> tuple[HostPort, HostPort]:
    """Return where HTTP and gRPC are served; of this node's instance where no host is named.

    Raises:
        InvalidArgumentError: One is no address, or gRPC's is missing.
    """
    if host is None:
        here = listeners(grpc_url=grpc)
        return here.http, here.grpc
    if host.startswith("https:"):
        raise InvalidArgumentError(f"--url {host}: only http:// is spoken")
    http_at = of_url(host)
    if grpc is not None:
        return http_at, host_port(grpc)
    if transport is not Transport.HTTP:
        raise InvalidArgumentError(
            "--url needs --grpc-url HOST:PORT beside it, or --transport http"
        )
    return http_at, http_at


def _check_shares(users: int, length_s: float, transport: Transport) -> None:
    if not 0 < length_s < math.inf:
        raise InvalidArgumentError(f"--duration: {length_s:g} s is no time to run")
    if transport is Transport.BOTH and users < 2:  # noqa: PLR2004  one for each transport
        raise InvalidArgumentError(
            "--users 1 cannot ask over both transports: name one --transport"
        )


def _report(plan: Plan, limits: Thresholds, report: Path | None, json_file: Path | None) -> None:
    """Run it, print what was found and write it down; exit status 1 if a threshold is broken."""
    with Progress() as progress:
        progress.say("starting Locust")
        found = run_locust(plan, progress, with_page=report is not None)
    results = found.results
    faults = broken(results, limits, tuple(NAMES[one] for one in plan.transports()))
    console().print(results_view(results, faults))
    if json_file is not None:
        written = {"plan": plan, "results": results, "thresholds": limits, "broken": faults}
        text = json.dumps(msgspec.to_builtins(written, enc_hook=str), indent=2)
        write_result(json_file, f"{text}\n".encode())
    if report is not None:
        write_result(report, found.page)
        typer.echo(f"report: {report}")
    if faults:
        raise typer.Exit(1)
