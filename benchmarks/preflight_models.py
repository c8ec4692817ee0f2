"""Checks every model of a repository as `bascule preflight` does, and prints what it found.

python -m benchmarks.preflight_models DIR [--dynamic]

`.pt2` models are judged as if a trusted key had signed them and they stood on the allow-list.
Exits 1 when a model has an error.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.command import run_main
from runtimes.findings import Finding, Severity
from runtimes.node_probe import probe
from runtimes.preflight.check import check, has_errors
from runtimes.preflight.subject import Trust
from runtimes.trial_run import try_model
from serving.registry.preflight.preflight_target import read_target
from serving.registry.preflight.subject import Surroundings

TRUSTED = Trust(state="trusted", signer="the benchmark", may_execute=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What preflight said of one model."""

    model: str
    static_s: float
    trial_s: float
    """0: it was not tried."""
    findings: tuple[Finding, ...]


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preflight_models")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dynamic", action="store_true", help="load and run each model, too")
    options = parser.parse_args()
    checked = check_models(options.folder, is_dynamic=options.dynamic)
    print(table(checked))
    return int(any(has_errors(one.findings) for one in checked))


def check_models(root: Path, *, is_dynamic: bool) -> tuple[Checked, ...]:
    """Check every model of a repository on this node."""
    around = Surroundings(node=probe(("onnx", "torch")))
    folders = sorted(item for item in root.iterdir() if item.is_dir())
    return tuple(check_model(folder, around, is_dynamic=is_dynamic) for folder in folders)


def check_model(folder: Path, around: Surroundings, *, is_dynamic: bool) -> Checked:
    """Check one model."""
    begin_s = time.perf_counter()
    target = read_target(folder, around)
    subject = replace(target.subject, trust=TRUSTED)
    findings = check(subject)
    static_s = time.perf_counter() - begin_s
    trial_s = 0.0
    if is_dynamic and not has_errors(findings):
        order = target.order()
        allowed = replace(order, request=replace(order.request, may_execute=True))
        findings = check(replace(subject, trial=try_model(allowed, now_s=time.perf_counter)))
        trial_s = time.perf_counter() - begin_s - static_s
    return Checked(model=folder.name, static_s=static_s, trial_s=trial_s, findings=findings)


def table(checked: Sequence[Checked]) -> str:
    """Return a Markdown table."""
    rows = (
        f"| {one.model} | {_listed(one, Severity.ERROR)} | {_listed(one, Severity.WARNING)} | "
        f"{one.static_s * 1e3:.1f} | {one.trial_s * 1e3:.0f} |"
        for one in checked
    )
    head = ["| model | errors | warnings | static ms | trial ms |", "|---|---|---|---|---|"]
    errors = sum(has_errors(one.findings) for one in checked)
    return "\n".join([*head, *rows, "", f"{len(checked)} models, {errors} with errors"])


def _listed(checked: Checked, severity: Severity) -> str:
    found = [one for one in checked.findings if one.severity is severity]
    return f"{len(found)} {' '.join(sorted({one.code for one in found}))}".strip()


if __name__ == "__main__":
    run_main(main)
