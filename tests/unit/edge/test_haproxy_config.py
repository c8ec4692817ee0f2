"""The text of haproxy.cfg."""

import json
import re
from dataclasses import replace

import pytest

from serving.edge.haproxy_config import config_text, layout_digest
from serving.edge.haproxy_errorfiles import error_files
from serving.edge.haproxy_layout import EdgeLayout, slot_names
from serving.edge.haproxy_log import AccessLog
from serving.host_port import HostPort

LAYOUT = EdgeLayout(
    http=HostPort("127.0.0.1", 8000),
    grpc=HostPort("::1", 8001),
    metrics=HostPort("0.0.0.0", 8002),  # noqa: S104  a setting, not a socket
    front_desk="../front-desk.sock",
    front_desk_grpc="../front-desk-grpc.sock",
    pool_slots=3,
    sticky_headers=("bascule-key", "x-user"),
    threads=2,
    max_request_bytes=1 << 20,
    max_connections=500,
)
TEXT = config_text(LAYOUT, {"s0001": {"w.1": "unix@/run/w.sock"}})


def test_the_same_settings_give_the_same_text() -> None:
    """It can be compared with what a running HAProxy was started with."""
    assert config_text(LAYOUT, {}) == config_text(LAYOUT, {})


def test_servers_change_the_text_and_not_the_digest() -> None:
    """A HAProxy whose workers came and went is adopted all the same."""
    assert f"description bascule {layout_digest(LAYOUT)}" in TEXT
    assert layout_digest(LAYOUT) in config_text(LAYOUT, {})


@pytest.mark.parametrize("slot", slot_names(3))
def test_every_slot_is_a_backend(slot: str) -> None:
    """Backends cannot be added at run time."""
    assert f"\nbackend {slot} from pools\n" in TEXT


def test_a_restart_knows_its_workers() -> None:
    """Servers are written into their slot with every option said."""
    assert re.search(r"backend s0001 from pools\n    server w\.1 unix@/run/w\.sock .*check", TEXT)


@pytest.mark.parametrize("status", [400, 408, 413, 500, 502, 503, 504])
def test_every_http_fault_is_json(status: int) -> None:
    """Clients read `error` from whatever fails, and its length is right."""
    assert f"errorfile {status} errors/{status}.http\n" in TEXT
    head, _, body = error_files()[f"errors/{status}.http"].partition("\r\n\r\n")
    assert json.loads(body).keys() == {"error"}
    assert f"content-length: {len(body)}\r\ncontent-type: application/json" in head


@pytest.mark.parametrize("path", ["errors/502.http", "errors/front-desk.http"])
def test_who_dies_in_a_call_may_have_run_it(path: str) -> None:
    """It is 500, which nobody repeats in the belief that nothing happened."""
    reply = error_files()[path]
    assert reply.startswith("HTTP/1.1 500 ")
    assert "it may have been executed" in reply


def test_only_what_did_not_run_says_try_again() -> None:
    """`Retry-After` is in the reply of a call that no worker got."""
    again = {path for path, reply in error_files().items() if "retry-after: 1" in reply}
    assert again == {"errors/503.http"}


@pytest.mark.parametrize(("status", "number"), [(502, 13), (503, 14), (504, 4), (500, 13)])
def test_every_grpc_fault_has_a_status(status: int, number: int) -> None:
    """A bare HTTP error would reach a gRPC client without a text."""
    assert f"http-error status {status} hdr grpc-status {number} hdr grpc-message" in TEXT


def test_no_path_of_the_machine_is_in_it() -> None:
    """HAProxy runs in its folder: our own sockets and maps are relative."""
    own = config_text(LAYOUT, {})
    assert not re.search(r"unix@/|map\(/", own)


def test_a_stream_may_be_silent_longer_than_an_inference_takes() -> None:
    """A client that streams decides itself when its next call comes."""
    frontend = TEXT.partition("frontend grpc from own")[2].partition("\nfrontend ")[0]
    assert "timeout client 3600s" in frontend


def test_requests_are_not_logged_unless_that_is_wanted() -> None:
    """Then only the ports of clients log, `errors` without what went well."""
    every = config_text(replace(LAYOUT, access_log="all"), {})
    failed = config_text(replace(LAYOUT, access_log="errors"), {})
    assert "log " not in TEXT.replace("log-", "").replace("logs", "")
    assert every.count("\n    log global\n") == failed.count("\n    log global\n") == 2
    assert "dontlog-normal" not in every
    assert failed.count("option dontlog-normal") == 2


@pytest.mark.parametrize("access_log", ["errors", "all"])
def test_a_logged_request_is_a_line_of_json(access_log: AccessLog) -> None:
    """Whatever HAProxy puts into it: its numbers are bare, its texts quoted."""
    text = config_text(replace(LAYOUT, access_log=access_log), {})
    formats = re.findall(r"log-format '(.*)'\n", text)
    assert len(formats) == 2
    for line in formats:
        filled = re.sub(r"%(\[[^\]]*\]|\w+)(\.%ms)?", "7", line)
        assert json.loads(filled)["event"] == "request"
