"""TorchServe with a handler of our own around ONNX Runtime: raw bytes in and out, batches.

python -m benchmarks.peers.torchserve_server MODEL_FILE --folder FOLDER --port PORT --grpc-port PORT

Run it with the interpreter of the peer's own environment; it becomes the launcher, whose child is
the server: Java, on PATH. Its gRPC has messages of its own, which nothing here speaks.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.peers.arguments import arguments

CONFIG: Final = """
inference_address=http://127.0.0.1:{port}
management_address=http://127.0.0.1:{management}
metrics_address=http://127.0.0.1:{metrics}
grpc_inference_port={grpc}
grpc_management_port={grpc_management}
disable_system_metrics=true
vmargs=-Djava.io.tmpdir={folder}
model_store={store}
load_models=tiny
models={{"tiny": {{"1.0": {{"defaultVersion": true, "marName": "tiny", "minWorkers": 1, \
"maxWorkers": 1, "batchSize": 64, "maxBatchDelay": 1, "responseTimeout": 60}}}}}}
"""
LOG_CONFIG: Final = """<Configuration>
<Appenders><Console name="console"><PatternLayout pattern="%p %m%n"/></Console></Appenders>
<Loggers><Root level="warn"><AppenderRef ref="console"/></Root></Loggers>
</Configuration>
"""
"""A line for every call, its default, would be part of the figures."""


def main() -> None:
    """Pack the model, write the configuration, become the launcher."""
    options = arguments(__doc__)
    programs = Path(sys.executable).parent
    store = options.folder / "store"
    store.mkdir()
    packing = [str(programs / "torch-model-archiver"), "--model-name=tiny", "--version=1.0"]
    packing += [f"--serialized-file={options.file}", f"--export-path={store}"]
    packing += [f"--handler={Path(__file__).with_name('torchserve_handler.py')}"]
    subprocess.run([*packing, "--archive-format=no-archive"], check=True)
    management, metrics, grpc_management = _free_ports(3)
    config = options.folder / "config.properties"
    config.write_text(
        CONFIG.format(
            port=options.port,
            management=management,
            metrics=metrics,
            grpc=options.grpc_port,
            grpc_management=grpc_management,
            store=store,
            folder=options.folder,
        )
    )
    (options.folder / "log4j2.xml").write_text(LOG_CONFIG)
    command = [str(programs / "torchserve"), "--start", "--foreground", "--disable-token-auth"]
    command += [f"--ts-config={config}", f"--model-store={store}", "--no-config-snapshots"]
    command += [f"--log-config={options.folder / 'log4j2.xml'}"]
    environment = dict(os.environ)  # noqa: TID251  for the child
    environment |= {
        "TMPDIR": str(options.folder),  # its pid file: one TorchServe a folder
        "LOG_LOCATION": str(options.folder),
        "METRICS_LOCATION": str(options.folder),
        "PATH": f"{programs}:{environment['PATH']}",
    }
    os.chdir(options.folder)
    os.execve(command[0], command, environment)  # noqa: S606  becomes the server


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    main()
