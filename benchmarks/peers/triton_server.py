"""NVIDIA Triton with its Python backend: the server that the wheel of nvidia-pytriton carries.

python -m benchmarks.peers.triton_server MODEL_FILE --folder FOLDER --port PORT --grpc-port PORT

Run it with the interpreter of the peer's own environment; it becomes the server. The backend looks
for its stub beside its library, so both are copied into the folder.
"""

import os
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.peers.arguments import arguments

CONFIG: Final = """
name: "tiny"
backend: "python"
max_batch_size: 64
input { name: "x", data_type: TYPE_FP32, dims: [ 16 ] }
output { name: "y", data_type: TYPE_FP32, dims: [ 4 ] }
dynamic_batching { }
instance_group { kind: KIND_CPU, count: 1 }
"""


def main() -> None:
    """Lay the folders out and become the server."""
    options = arguments(__doc__)
    package = _package()
    backends = options.folder / "backends"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copytree(package / "tritonserver" / "backends", backends)
    stub = package / "tritonserver" / "python_backend_stubs" / version
    shutil.copy(stub / "triton_python_backend_stub", backends / "python")
    _write_model(options.folder / "models" / "tiny", options.file)
    command = [str(package / "tritonserver" / "bin" / "tritonserver")]
    command += [f"--model-repository={options.folder / 'models'}"]
    command += [f"--backend-directory={backends}", "--allow-metrics=false"]
    command += ["--http-address=127.0.0.1", f"--http-port={options.port}"]
    command += ["--grpc-address=127.0.0.1", f"--grpc-port={options.grpc_port}"]
    os.execve(command[0], command, _environment(package))  # noqa: S606  becomes the server


def _write_model(folder: Path, file: Path) -> None:
    (folder / "1").mkdir(parents=True)
    shutil.copy(file, folder / "1" / "model.onnx")
    shutil.copy(Path(__file__).with_name("triton_model.py"), folder / "1" / "model.py")
    (folder / "config.pbtxt").write_text(CONFIG)


def _package() -> Path:
    found = find_spec("pytriton")
    if found is None or found.origin is None:
        raise SystemExit("pytriton is not installed: python -m benchmarks.peers.install triton")
    return Path(found.origin).parent


def _environment(package: Path) -> dict[str, str]:
    """Let the server find its libraries, and its stub the environment's Python and packages."""
    inherited = dict(os.environ)  # noqa: TID251  for the child
    libraries = [str(package.parent / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR")]
    return inherited | {
        "LD_LIBRARY_PATH": ":".join(libraries),
        "PATH": f"{Path(sys.executable).parent}:{inherited['PATH']}",
    }


if __name__ == "__main__":
    main()
