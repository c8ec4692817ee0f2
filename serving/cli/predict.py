"""`bascule predict`: one call to a served model, with its inputs from a file or made up."""

from collections.abc import Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from serving.cli.listeners import GrpcUrl, Url, listeners
from serving.cli.predict_http import HttpClient, Prediction
from serving.cli.predict_tensors import (
    NamedTensor,
    made_up_tensors,
    read_text,
    tensors_from_files,
    tensors_from_json,
)
from serving.cli.render import duration_text, print_json
from serving.cli.targets import named_target
from serving.clock import SystemClock

SHOWN_VALUES: Final = 60


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: bascule predict resnet --generate · "
        "echo '{\"x\": [[1, 2]]}' | bascule predict m:3 --json-input - · "
        "bascule predict m --npy x=x.npy --grpc"
    )(predict)


def predict(  # noqa: PLR0913  one parameter for each flag
    target: Annotated[str, typer.Argument(metavar="MODEL[:VERSION]", help="Or MODEL@ALIAS.")],
    *,
    json_input: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Inputs as JSON: {name: nested lists}.")
    ] = None,
    npy: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="An input from a .npy file.")
    ] = None,
    generate: Annotated[bool, typer.Option("--generate", help="Make inputs up.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="Made-up rows.")] = 1,
    grpc: Annotated[bool, typer.Option("--grpc", help="Call over gRPC instead of HTTP.")] = False,
    url: Url = None,
    grpc_url: GrpcUrl = None,
    timeout_s: Annotated[float, typer.Option(min=0.001, help="Longest wait, seconds.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Call a model once and print its outputs."""
    model, version = named_target(target)
    if (json_input is not None) + bool(npy) + generate != 1:
        raise InvalidArgumentError("give the inputs by one of --json-input, --npy and --generate")
    at = listeners(url, grpc_url, is_grpc_asked=grpc)
    clock = SystemClock()
    with closing(HttpClient(at.http, timeout_s)) as client:
        specs = client.metadata(model, version).inputs
        tensors = _tensors(specs, json_input, npy or (), rows)
        start_s = clock.monotonic_s()
        if grpc:
            caller = import_module("serving.cli.predict_grpc")
            reply: Prediction = caller.infer(at.grpc, model, version, tensors, timeout_s)
        else:
            reply = client.infer(model, version, tensors)
        took_s = clock.monotonic_s() - start_s
    _print(reply, took_s, as_json=as_json)


def _tensors(
    specs: Sequence[TensorSpec], json_input: str | None, npy: Sequence[str], rows: int
) -> tuple[NamedTensor, ...]:
    if json_input is not None:
        return tensors_from_json(read_text(json_input), specs)
    if not npy:
        return made_up_tensors(specs, rows)
    files: dict[str, Path] = {}
    for item in npy:
        name, equals, path = item.partition("=")
        if not equals:
            raise InvalidArgumentError(f"--npy {item}: write it as NAME=FILE")
        files[name] = Path(path)
    return tensors_from_files(files, specs)


def _print(reply: Prediction, took_s: float, *, as_json: bool) -> None:
    if as_json:
        outputs = [
            {
                "name": item.name,
                "datatype": item.datatype.value,
                "shape": list(item.array.shape),
                "data": _plain(item.array, item.datatype).reshape(-1).tolist(),
            }
            for item in reply.outputs
        ]
        print_json(
            {"model": reply.model, "version": reply.version, "took_s": took_s, "outputs": outputs}
        )
        return
    typer.echo(f"{reply.model}:{reply.version} answered in {duration_text(took_s)}")
    for item in reply.outputs:
        dims = ",".join(str(size) for size in item.array.shape)
        values = np.array2string(
            _plain(item.array, item.datatype), threshold=SHOWN_VALUES, precision=6, separator=", "
        )
        typer.echo(f"{item.name} {item.datatype}[{dims}]\n{values}")


def _plain(array: Array, datatype: Datatype) -> Array:
    """Return an array that Python can print: numpy prints no bfloat16."""
    return array.astype(np.float32) if datatype is Datatype.BF16 else array
