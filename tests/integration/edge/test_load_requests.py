"""What load requests bring reaches the controller alike over both transports."""

import pytest
from tritonclient.utils import InferenceServerException

from serving.edge.control import LoadOverride
from tests.integration.edge.bench import Bench
from tests.integration.edge.test_front_desk import Clients, with_clients


def test_a_load_may_bring_a_configuration_and_files() -> None:
    """Both transports hand the same override to the controller, and refuse bad ones alike."""
    asked: list[object] = []

    async def arrange(bench: Bench) -> None:
        asked.append(bench.control.asked)

    def ask(clients: Clients) -> None:
        for client in (clients.http, clients.grpc):
            client.load_model("m a", config='{"max_batch_size":"4"}', files={"file:1/a": b"xy"})
            for name in ("../a", "/a", "1//a", "1/" + 256 * "x"):
                with pytest.raises(InferenceServerException, match="failed to load 'm a'"):
                    client.load_model("m a", config="{}", files={f"file:{name}": b""})
            with pytest.raises(InferenceServerException, match="send both"):
                client.load_model("m a", files={"file:1/a": b""})

    with_clients(ask, arrange)
    override = LoadOverride(config='{"max_batch_size":"4"}', files={"1/a": b"xy"})
    assert asked == [[("load", "m a", override), ("load", "m a", override)]]
