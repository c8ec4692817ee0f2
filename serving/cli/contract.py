"""`bascule contract`: `infer` drafts a data contract, `check` tests data against one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from serving.cli.data_rows import fitted_column, read_columns, tensors_of
from serving.cli.json_flag import Json
from serving.cli.render import console, print_json
from serving.cli.tables import plain_table
from serving.clock import utc_s
from serving.errors import NotFoundError
from serving.monitor.quality.drafting import Column, draft_contract
from serving.monitor.quality.judge import Judge
from serving.monitor.quality.verdict import Verdict
from serving.registry.bundles.bundle import read_manifest
from serving.registry.bundles.golden_samples import specs_of
from serving.registry.contracts.data_contract import Action, DataContract
from serving.registry.contracts.kept_contract import CONTRACT_FILE, read_contract_file

BLOCKING: Final = 1
OF_DTYPE: Final = {dtype: datatype for datatype, dtype in DTYPES.items()}

ModelOption = Annotated[
    Path | None,
    typer.Option("--model", metavar="BUNDLE", help="Whose inputs the columns are."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFinding:
    """A rule that the data break."""

    rule: str
    action: Action
    """What the contract does as it stands."""
    row_count: int
    rows: tuple[int, ...]
    """The first of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a contract says of data."""

    status: str
    row_count: int
    violating_row_count: int
    blocking_count: int
    """Rows of rules that reject."""
    findings: tuple[RuleFinding, ...]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    words = typer.Typer(
        help="Draft a data contract; test data against one.",
        epilog="Example: bascule contract infer reference.csv --model fraud-3 > contract.yaml",
        no_args_is_help=True,
    )
    words.command(
        epilog="Examples: bascule contract infer reference.csv --model fraud-3 > contract.yaml · "
        "bascule contract infer rows.npz --output contract.yaml"
    )(infer)
    words.command(
        epilog="Examples: bascule contract check contract.yaml rows.csv · "
        "bascule contract check fraud-3 rows.parquet"
    )(check)
    app.add_typer(words, name="contract")


def infer(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".csv, .parquet or .npz")],
    *,
    model: ModelOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there, not to stdout."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draft a data contract from rows that the model was made for."""
    text = drafted(read_columns(file), model, file.name)
    if output is not None:
        try:
            with output.open("x", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise InvalidArgumentError(f"{output} cannot be written: {error.strerror}") from error
    if as_json:
        print_json({"contract": text, "output": None if output is None else str(output)})
    elif output is None:
        typer.echo(text, nl=False)
    else:
        typer.echo(f"{output} is a draft: read it, correct it, and write status: active")


def drafted(columns: Mapping[str, Array], bundle: Path | None, source: str) -> str:
    """Draft a contract for a bundle's inputs, or for columns that nobody knows more of."""
    if bundle is None:
        tables = [Column(name=name, values=array) for name, array in columns.items()]
        return draft_contract(tables, source)
    manifest = read_manifest(bundle)
    return draft_for(specs_of(manifest).inputs, columns, source, manifest.name)


def draft_for(
    specs: Sequence[TensorSpec], columns: Mapping[str, Array], source: str, model: str
) -> str:
    """Draft a contract for a model's inputs."""
    tensors = tensors_of(columns, specs, source)
    is_table = len(specs) == 1 and specs[0].name not in columns and "input_0" not in columns
    tables = [
        Column(
            name=spec.name,
            values=tensor,
            datatype=spec.datatype,
            shape=spec.shape,
            features=tuple(columns) if is_table else (),
        )
        for spec, tensor in zip(specs, tensors, strict=True)
        if tensor is not None
    ]
    return draft_contract(tables, source, model)


def check(
    contract: Annotated[
        Path, typer.Argument(metavar="CONTRACT", help="contract.yaml, or a bundle that has one.")
    ],
    data: Annotated[Path, typer.Argument(metavar="DATA", help=".csv, .parquet or .npz")],
    *,
    model: ModelOption = None,
    as_json: Json = False,
) -> None:
    """Test data against a contract; exit status 1 if a rule that rejects is broken."""
    bundle = model or (contract if contract.is_dir() else None)
    file = contract / CONTRACT_FILE if contract.is_dir() else contract
    if contract.is_dir() and not file.exists():
        raise NotFoundError(
            f"{contract} has no data contract: draft one with bascule contract infer {data} "
            f"--model {contract}, and bring it with bascule pack --contract"
        )
    found = read_contract_file(file)
    columns = read_columns(data)
    specs = _specs(found, columns) if bundle is None else specs_of(read_manifest(bundle)).inputs
    tensors = _tensors(found, columns, specs, data.name)
    rows = max((len(tensor) for tensor in tensors if tensor is not None), default=0)
    if not rows:
        raise InvalidArgumentError(f"{data.name}: nothing in it is an input that {file} judges")
    judge = Judge(_of_inputs(found), specs, (), is_batched=True)
    checked = _checked(found, judge.judge_inputs(tensors, rows, None, utc_s()), rows)
    if as_json:
        print_json(checked)
    else:
        _show(checked, data.name)
    if checked.blocking_count:
        raise typer.Exit(BLOCKING)


def _of_inputs(found: DataContract) -> DataContract:
    """Leave out what data cannot show: answers, and parameters of requests."""
    return DataContract(
        is_draft=found.is_draft, inputs=found.inputs, echo_values=False, window=found.window
    )


def _specs(found: DataContract, columns: Mapping[str, Array]) -> list[TensorSpec]:
    """Say what the inputs are, as far as contract and data do."""
    said = {one.name: one for one in found.input_tensors}
    specs = []
    for name in dict.fromkeys([*said, *(one.tensor for one in found.inputs)]):
        array = columns.get(name)
        default = Datatype.FP64 if array is None else OF_DTYPE.get(array.dtype, Datatype.FP64)
        told = said.get(name)
        datatype = (told.datatype if told else None) or default
        shape = (told.shape if told else None) or (-1, -1)
        specs.append(TensorSpec(name=name, datatype=datatype, shape=shape))
    return specs


def _tensors(
    found: DataContract,
    columns: Mapping[str, Array],
    specs: Sequence[TensorSpec],
    source: str,
) -> list[Array | None]:
    """Put columns that are named as features are where these stand."""
    whole: dict[str, Array] = dict(columns)
    for spec in specs:
        features = {
            one.column: one.name
            for one in found.inputs
            if one.tensor == spec.name and one.column is not None
        }
        if spec.name in columns or not columns.keys() & {*features.values()}:
            continue
        missing = [name for name in features.values() if name not in columns]
        if missing:  # zeros in its place would be judged
            raise InvalidArgumentError(
                f"{source} has no column '{missing[0]}': it has {', '.join(list(columns)[:10])}"
            )
        rows = len(next(iter(columns.values())))
        matrix = np.zeros((rows, max(features) + 1), DTYPES[spec.datatype])
        for place, name in features.items():
            matrix[:, place] = fitted_column(name, columns[name], spec.datatype, source)
        whole[spec.name] = matrix
    return tensors_of(whole, specs, source)


def _checked(found: DataContract, verdict: Verdict | None, rows: int) -> Checked:
    violations = () if verdict is None else verdict.violations
    return Checked(
        status="draft" if found.is_draft else "active",
        row_count=rows,
        violating_row_count=0 if verdict is None else verdict.violating_row_count,
        blocking_count=sum(one.row_count for one in violations if one.action is Action.REJECT),
        findings=tuple(
            RuleFinding(rule=one.rule.id, action=one.action, row_count=one.row_count, rows=one.rows)
            for one in violations
        ),
    )


def _show(checked: Checked, source: str) -> None:
    typer.echo(
        f"{source}: {checked.row_count} rows, {checked.violating_row_count} break a rule of the "
        f"{checked.status} contract, {checked.blocking_count} would be refused"
    )
    if not checked.findings:
        return
    table = plain_table(("rule", "action", "rows", "share", "first rows"), right={"rows", "share"})
    for one in checked.findings:
        share = f"{one.row_count / checked.row_count:.2%}"
        rows = ", ".join(map(str, one.rows[:5]))
        table.add_row(one.rule, one.action.value, str(one.row_count), share, rows)
    console().print(table)
