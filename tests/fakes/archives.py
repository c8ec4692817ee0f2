"""Archives as torch writes them, made by hand: small, and broken where a test wants it."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Final

EMPTY_PICKLE: Final = b"\x80\x02N."
CODE: Final = """class M(Module):
  training : bool
  def forward(self, x: Tensor) -> Tensor:
    return {body}
"""


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Zip members, uncompressed, as torch does."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def script(*, version: int = 3, body: str = "torch.relu(x)", data: bytes = EMPTY_PICKLE) -> bytes:
    """Make a TorchScript archive."""
    return zipped(
        {
            "m/data.pkl": data,
            "m/code/__torch__.py": CODE.format(body=body).encode(),
            "m/constants.pkl": EMPTY_PICKLE,
            "m/version": f"{version}\n".encode(),
            "m/data/0": b"\0" * 64,
        }
    )


def exported(
    *, batch: int | None = None, schema: tuple[int, int] = (8, 20), sample: bytes = EMPTY_PICKLE
) -> bytes:
    """Make a torch.export archive of one input x [batch, 4]; None: any batch."""
    first = {"as_int": batch} if batch is not None else {"as_expr": {"expr_str": "s0"}}
    model = {
        "graph_module": {
            "graph": {
                "nodes": [{"target": "torch.ops.aten.relu.default"}],
                "tensor_values": {"x": {"sizes": [first, {"as_int": 4}]}},
            },
            "signature": {"input_specs": [{"user_input": {"arg": {"as_tensor": {"name": "x"}}}}]},
        },
        "schema_version": {"major": schema[0], "minor": schema[1]},
        "torch_version": "2.13.0",
    }
    return zipped(
        {
            "m/models/model.json": json.dumps(model).encode(),
            "m/data/sample_inputs/model.pt": sample,
            "m/archive_format": b"pt2",
            "m/archive_version": b"0",
        }
    )


def checkpoint(pickled: bytes = EMPTY_PICKLE) -> bytes:
    """Make what torch.save writes: a pickle and no code."""
    return zipped({"m/data.pkl": pickled, "m/version": b"3\n", "m/data/0": b"\0" * 8})


def calls_system(command: str) -> bytes:
    """Make a pickle that runs a command of the shell when it is unpickled."""
    return b"cos\nsystem\n(S'" + command.encode() + b"'\ntR."
