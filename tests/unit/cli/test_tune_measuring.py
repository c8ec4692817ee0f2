"""How much a server can do, asked of one whose queue is small."""

import asyncio

import pytest
from aiohttp import web

from serving.cli.predict_http import infer_body
from serving.cli.tune.measuring import CONNECTIONS, _capacity

pytestmark = pytest.mark.anyio
PLACES = 8


async def test_a_full_queue_ends_no_trial() -> None:
    """Callers that are refused come again, and every answer is counted."""
    waiting, answers = 0, 0

    async def infer(request: web.Request) -> web.Response:
        nonlocal waiting, answers
        await request.read()
        if waiting >= PLACES:
            return web.Response(status=503, headers={"retry-after": "1"})
        waiting += 1
        await asyncio.sleep(0.01)
        waiting -= 1
        answers += 1
        return web.Response(text="{}")

    app = web.Application()
    app.router.add_post("/infer", infer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/infer"
        seconds = 0.3
        found = await _capacity(url, (infer_body((), {}),), seconds)
    finally:
        await runner.cleanup()
    assert PLACES < CONNECTIONS
    assert 0 < found <= answers / seconds
    assert found > answers / (seconds * 20)
