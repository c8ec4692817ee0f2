"""One client's connection over HTTP: kept, or a new one for each request. Nothing is retried."""

from collections.abc import Mapping
from typing import Final, Protocol

import aiohttp

from serving.cli.load.question import Question
from serving.cli.predict_http import (
    HEADER_LENGTH,
    Body,
    Prediction,
    RefusedPredictionError,
    infer_body,
    infer_headers,
    model_path,
    read_body,
    read_prediction,
    refusal_text,
)
from serving.errors import NotReadyError
from serving.host_port import HostPort

OK: Final = 200


class Caller(Protocol):
    """Asks one question again and again."""

    async def infer(self, parameters: Mapping[str, int | bool]) -> Prediction:
        """Ask once.

        Args:
            parameters: Of a sequence's step; otherwise empty.

        Raises:
            BasculeError: There was no answer; says in the server's or the transport's words why.
        """

    async def close(self) -> None:
        """Close the connection."""


class HttpCaller:
    """Asks over HTTP."""

    def __init__(
        self,
        address: HostPort,
        question: Question,
        limit_s: float,
        *,
        is_new: bool = False,
        version: int | None = None,
    ) -> None:
        """Prepare the request; nothing is connected yet.

        Args:
            address: Of the server.
            question: What is asked.
            limit_s: Longest wait for an answer, seconds.
            is_new: Each request has a connection of its own.
            version: Which one is asked; None: the one that is live.
        """
        self._url = f"http://{address}{model_path(question.model, version)}/infer"
        self._question = question
        self._plain = infer_body(question.tensors, {})
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=is_new, limit=1),
            timeout=aiohttp.ClientTimeout(total=limit_s),
            auto_decompress=False,
        )

    async def infer(self, parameters: Mapping[str, int | bool]) -> Prediction:
        """Ask once.

        Args:
            parameters: Of a sequence's step; otherwise empty.

        Raises:
            NotReadyError: The connection was refused or broke, or no answer came in time.
            RefusedPredictionError: The server refused the call.
            EngineError: The reply cannot be read.
        """
        body = infer_body(self._question.tensors, parameters) if parameters else self._plain
        return read_prediction(await self._answer(body))

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def _answer(self, body: Body) -> Body:
        try:
            async with self._session.post(
                self._url, data=body.content, headers=infer_headers(body)
            ) as response:
                content = await response.read()
                status, length = response.status, response.headers.get(HEADER_LENGTH)
        except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError, too
            raise NotReadyError(f"{type(error).__name__}: {error}".removesuffix(": ")) from error
        if status != OK:
            raise RefusedPredictionError(f"{status}: {refusal_text(content, status)}")
        return read_body(content, length)
