"""`bascule facts` and `bascule profiles`: what a node is, which profiles it fits."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Final, cast

import typer
from rich.table import Table
from rich.text import Text

from runtimes.errors import InvalidArgumentError
from runtimes.facts import GpuFacts, NodeFacts, OnnxRuntimeFacts, TorchFacts
from runtimes.facts_json import facts_json, plain
from runtimes.misspelling import did_you_mean
from runtimes.node_probe import Engine, probe
from runtimes.profile import GIB, NEWEST_CAPABILITY, SHIPPED, HardwareProfile
from runtimes.profile_fit import Misfit, Requirement, misfits
from serving.cli.render import console, print_json, size_text
from serving.cli.tables import plain_pairs, plain_table
from serving.errors import NotFoundError
from serving.registry.preflight.facts_file import read_facts
from serving.registry.preflight.profiles import read_profiles
from serving.settings import load_settings

ENGINES: Final = ("onnx", "torch")
SHOWN_FLAGS: Final = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "sve")
"""CPU flags that choose fast paths in engines; `--json` has all."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
FactsFile = Annotated[
    Path | None,
    typer.Option("--facts", help="Another node's facts: a file of `bascule facts -o`."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Examples: bascule facts · bascule facts -o node.json")(facts)
    app.command(epilog="Examples: bascule profiles · bascule profiles cuda-ampere --facts n.json")(
        profiles
    )


def facts(
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write JSON to a file, for checks on other nodes."),
    ] = None,
    engines: Annotated[
        str,
        typer.Option(help="Engines to import and ask: onnx, torch, both with a comma, or none."),
    ] = "onnx,torch",
    as_json: Json = False,
) -> None:
    """Measure this node: CPUs, memory, GPUs, driver, packages and engines."""
    measured = probe(engines_of(engines))
    if output is not None:
        try:
            output.write_text(f"{facts_json(measured)}\n", encoding="utf-8")
        except OSError as error:
            raise InvalidArgumentError(f"{output} cannot be written: {error.strerror}") from error
    if as_json:
        typer.echo(facts_json(measured))
        return
    table = plain_pairs()
    for name, value in facts_rows(measured):
        table.add_row(Text(name, style="bold"), Text(value))
    console().print(table)


def profiles(
    name: Annotated[str | None, typer.Argument(help="Show one profile whole.")] = None,
    *,
    facts_file: FactsFile = None,
    as_json: Json = False,
) -> None:
    """Show hardware profiles, shipped and your own, and which of them this node fits.

    Your own are YAML files in BASCULE_HOME/profiles.
    """
    known = read_profiles(load_settings().home / "profiles")
    if name is not None and name not in known:
        hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
        raise NotFoundError(f"no hardware profile '{name}'; {hint}")
    node = probe() if facts_file is None else read_facts(facts_file)
    chosen = known if name is None else {name: known[name]}
    missed = {one: misfits(profile, node) for one, profile in chosen.items()}
    if as_json:
        print_json([_entry(profile, missed[one]) for one, profile in chosen.items()])
    elif name is None:
        console().print(_overview(chosen, missed, where="here" if facts_file is None else "there"))
    else:
        _print_one(known[name], missed[name])


def engines_of(text: str) -> frozenset[Engine]:
    """Read `onnx,torch`, a part of it, or `none`.

    Raises:
        InvalidArgumentError: It names something else.
    """
    names = {part.strip() for part in text.split(",")} - {"", "none"}
    unknown = sorted(names.difference(ENGINES))
    if unknown:
        raise InvalidArgumentError(
            f"no engine '{unknown[0]}' can be asked: write onnx, torch, onnx,torch or none"
        )
    return cast("frozenset[Engine]", frozenset(names))


def facts_rows(node: NodeFacts) -> Iterator[tuple[str, str]]:
    """Yield what people want to know of a node, a name and a text each."""
    shown = " ".join(flag for flag in SHOWN_FLAGS if flag in node.cpu_flags)
    yield "system", f"{node.system} {node.machine}, {node.libc}, Python {node.python}"
    yield "cpu", f"{node.cpu_model or 'unknown'}: {node.cpu_count} usable, {shown or 'no AVX2'}"
    yield (
        "memory",
        f"{size_text(node.memory_bytes)} usable, {size_text(node.free_memory_bytes)} free",
    )
    if node.driver:
        yield "driver", f"{node.driver}, serves CUDA up to {node.driver_cuda}"
    for gpu in node.gpus:
        yield f"gpu {gpu.index}", _gpu_text(gpu)
    if not node.gpus:
        yield "gpus", f"none: {node.gpu_problem}"
    yield "onnxruntime", _onnx_text(node.onnxruntime)
    yield "torch", _torch_text(node.torch)
    yield "packages", ", ".join(f"{name} {text}" for name, text in sorted(node.packages.items()))
    for name, value in sorted(node.labels.items()):
        yield f"label {name}", value


def _gpu_text(gpu: GpuFacts) -> str:
    major, minor = gpu.compute_capability
    parts = [
        f"{gpu.name}, {size_text(gpu.memory_bytes)}, {size_text(gpu.free_memory_bytes)} free",
        f"compute capability {major}.{minor}",
    ]
    if gpu.is_mig:
        parts.append("cut into MIG instances")
    if gpu.compute_mode != "default":
        parts.append(f"compute mode {gpu.compute_mode}")
    if gpu.other_process_bytes:
        parts.append(f"{size_text(gpu.other_process_bytes)} held by other processes")
    return ", ".join(parts)


def _onnx_text(found: OnnxRuntimeFacts | None) -> str:
    if found is None:
        return "not installed"
    parts = [f"{found.version} ({' and '.join(found.distributions)})"]
    parts.append(f"for CUDA {found.cuda_version}" if found.cuda_version else "for the CPU")
    if found.max_opset:
        parts.append(f"opset up to {found.max_opset}, IR up to {found.max_ir_version}")
    return ", ".join([*parts, *([found.cuda_problem] if found.cuda_problem else [])])


def _torch_text(found: TorchFacts | None) -> str:
    if found is None:
        return "not installed"
    parts = [found.version]
    parts.append(f"for CUDA {found.cuda_version}" if found.cuda_version else "for the CPU")
    if found.cuda_architectures:
        parts.append(" ".join(found.cuda_architectures))
    if found.max_file_version:
        major, minor = found.max_pt2_schema
        parts.append(f"files up to version {found.max_file_version}, pt2 schema {major}.{minor}")
    return ", ".join([*parts, *([found.cuda_problem] if found.cuda_problem else [])])


def _overview(
    chosen: Mapping[str, HardwareProfile], missed: Mapping[str, tuple[Misfit, ...]], *, where: str
) -> Table:
    table = plain_table(("profile", "device", "for", f"fits {where}?", "why not"))
    for name, profile in chosen.items():
        first = next(iter(missed[name]), None)
        fits = Text("no", style="yellow") if first else Text("yes", style="green")
        why = first.found if first else ""
        if first and first.requirement is not Requirement.CPU_FLAGS:
            why += f", needs {first.required}"
        own = "" if name in SHIPPED else "your own; "
        table.add_row(name, profile.device, Text(own + profile.description), fits, Text(why))
    return table


def _entry(profile: HardwareProfile, missed: tuple[Misfit, ...]) -> dict[str, object]:
    shown = plain(profile)
    return {
        "profile": shown,
        "shipped": profile.name in SHIPPED,
        "fits": not missed,
        "misfits": [plain(misfit) for misfit in missed],
    }


def _print_one(profile: HardwareProfile, missed: tuple[Misfit, ...]) -> None:
    table = plain_pairs()
    for item in fields(profile):
        text = _value_text(item.name, getattr(profile, item.name))
        table.add_row(Text(item.name, style="bold"), Text(text))
    screen = console()
    screen.print(table)
    for misfit in missed:
        screen.print(Text(str(misfit), style="yellow"))
    if not missed:
        screen.print(Text("fits", style="green"))


def _value_text(name: str, value: object) -> str:
    """Return a field of a profile for people; what bounds nothing is a dash."""
    if name.endswith("_bytes") and isinstance(value, int) and value:
        return f"{value / GIB:.4g} GiB"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not value or value in ((0, 0), NEWEST_CAPABILITY):
        return "-"
    if isinstance(value, frozenset):
        return " ".join(sorted(value))
    return ".".join(map(str, value)) if isinstance(value, tuple) else str(value)
