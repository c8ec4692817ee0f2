"""An instance whose log is on a full disk: it serves, says so once, and ends in order."""

from pathlib import Path

from tests.fakes.standalone_server import LIMIT_S, Server, command, free_ports, put_model


def test_a_log_without_room_ends_nothing(tmp_path: Path) -> None:
    """Neither with its lines nor at the end, where what it kept of them is let go."""
    put_model(tmp_path / "models", "m")
    log = tmp_path / "home" / "logs" / "bascule.log"
    log.parent.mkdir(parents=True)
    log.symlink_to("/dev/full")
    ports = free_ports(3)
    process = command(tmp_path / "home", ports, "--model-repository", str(tmp_path / "models"))
    server = Server(process, tmp_path / "home", ports)
    try:
        said = server.until_said("metrics")
        assert server.answer("m")[1] == "1"
    finally:
        process.terminate()
        said += (process.communicate(timeout=LIMIT_S)[1] or "").splitlines()
    assert process.returncode == 0
    told = [line for line in said if "cannot be written (No space left on device)" in line]
    assert len(told) == 1
    assert said[-1] == "stopped"
