"""Turn `protos/*.proto` into `protos/generated/`: run `python -m protos.generate` after an edit.

The output is committed and never edited; a test regenerates and compares. Two things of it are
rewritten: messages are registered in the private pool of `protos.descriptors` instead of the
default one, and the stubs ask for the grpcio that Bascule requires instead of the generator's own.
"""

import re
import sys
from pathlib import Path
from typing import Final

from grpc_tools import protoc

SOURCES: Final = Path(__file__).parent
GENERATED: Final = SOURCES / "generated"
MIN_GRPCIO: Final = "1.80.0"  # pyproject.toml; the stubs use nothing newer

_KINDS: Final = ("python", "pyi", "grpc_python")
_POOL_IMPORT: Final = "from google.protobuf import descriptor_pool as _descriptor_pool\n"
_OUR_POOL_IMPORT: Final = "from protos.descriptors import POOL as _POOL\n"
_POOL_USE: Final = "_descriptor_pool.Default()"
_GRPC_VERSION: Final = re.compile(r"(?<=^GRPC_GENERATED_VERSION = ')[^']+", re.MULTILINE)


class GenerateError(Exception):
    """The generator failed, or its output is not what this program knows how to rewrite."""


def generate(target: Path) -> None:
    """Write the generated modules into the folder `target`.

    Raises:
        GenerateError: See the class.
    """
    protos = sorted(str(path) for path in SOURCES.glob("*.proto"))
    # The mapped folder makes the modules import each other as `protos.generated.*`; protoc writes
    # into folders of that name.
    root = target.parent.parent
    arguments = [f"-Iprotos/generated={SOURCES}", *(f"--{kind}_out={root}" for kind in _KINDS)]
    if protoc.main(["protoc", *arguments, *protos]) != 0:
        raise GenerateError(f"protoc failed on {', '.join(protos)}: its messages are above")
    for path in sorted(target.glob("*_pb2.py")):
        path.write_text(with_private_pool(path.read_text("utf-8")), "utf-8")
    for path in sorted(target.glob("*_pb2_grpc.py")):
        text = path.read_text("utf-8")
        if "class " in text:
            path.write_text(_GRPC_VERSION.sub(MIN_GRPCIO, text), "utf-8")
        else:  # a file without a service has empty stubs
            path.unlink()


def with_private_pool(text: str) -> str:
    """Return a generated module's text with the default pool replaced by the private one.

    Raises:
        GenerateError: The text does not use the default pool exactly once.
    """
    if text.count(_POOL_IMPORT) != 1 or text.count(_POOL_USE) != 1:
        raise GenerateError("protoc's output has another form: adapt protos/generate.py to it")
    return text.replace(_POOL_IMPORT, _OUR_POOL_IMPORT).replace(_POOL_USE, "_POOL")


if __name__ == "__main__":
    try:
        generate(GENERATED)
    except GenerateError as error:
        sys.exit(str(error))
