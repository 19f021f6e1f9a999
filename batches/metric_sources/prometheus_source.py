"""Ask a Prometheus (or what speaks its HTTP API) with instant queries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from batches.metric_sources.base import (
    BYTE_CAP,
    MetricUnavailable,
    Selector,
    Series,
    SourceSpec,
)
from batches.metric_sources.http_reading import HttpReader
from upgradeconsole.outbound import Rules


class PrometheusSource:
    """One query per selector, all at once; one that fails fails the read as a whole."""

    def __init__(
        self,
        spec: SourceSpec,
        *,
        environ: Mapping[str, str],
        rules: Rules,
        byte_cap: int = BYTE_CAP,
    ) -> None:
        self.name = spec.name
        self._reader = HttpReader(spec, environ=environ, rules=rules, byte_cap=byte_cap)

    async def read(
        self, selectors: Sequence[Selector], *, timeout: float
    ) -> dict[Selector, list[Series]]:
        """Return the answer to each query, with Prometheus' time. Raises MetricUnavailable."""
        distinct = list(dict.fromkeys(selectors))
        tasks = [asyncio.ensure_future(self._ask(selector, timeout)) for selector in distinct]
        try:
            answers = await asyncio.gather(*tasks)
        finally:
            # Half of an answer is of no use: no query outlives the one that failed.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return dict(zip(distinct, answers, strict=True))

    async def names(self, *, timeout: float) -> tuple[str, ...]:
        """Return the names of all metrics. Raises MetricUnavailable."""
        url = f"{self._reader.url.rstrip('/')}/api/v1/label/__name__/values"
        body = await self._reader.get(url, timeout=timeout)
        try:
            answer: Any = json.loads(body)
            return tuple(str(name) for name in answer["data"])
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise MetricUnavailable("bad_answer", "the answer is not a list of names") from error

    async def close(self) -> None:
        """Close the connections; the next read opens new ones."""
        await self._reader.close()

    async def _ask(self, selector: Selector, timeout: float) -> list[Series]:
        # 400 and 422 carry Prometheus' own words about the query; POST takes long queries.
        body = await self._reader.post_form(
            f"{self._reader.url.rstrip('/')}/api/v1/query",
            {"query": str(selector), "timeout": f"{timeout:g}s"},
            accepted=(200, 400, 422),
            timeout=timeout,
        )
        return await asyncio.to_thread(self._series, selector, body)

    def _series(self, selector: Selector, body: bytes) -> list[Series]:
        try:
            answer: Any = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise MetricUnavailable("bad_answer", "the answer is not JSON") from error
        if not isinstance(answer, dict) or answer.get("status") != "success":
            said = answer.get("error", "") if isinstance(answer, dict) else ""
            self._refuse(selector, str(said) or "the answer is not one of a Prometheus")
        data = answer.get("data")
        if not isinstance(data, dict) or data.get("resultType") != "vector":
            self._refuse(selector, "it must give one value per tenant (an instant vector)")
        try:
            return [_one(entry) for entry in data["result"]]
        except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
            raise MetricUnavailable(
                "bad_answer", self._reader.show(f"{selector}: an entry is not a value: {error!r}")
            ) from error

    def _refuse(self, selector: Selector, said: str) -> NoReturn:
        raise MetricUnavailable("bad_answer", self._reader.show(f"query {selector}: {said}"))


def _one(entry: Any) -> Series:
    seconds, value = entry["value"]
    labels = {str(name): str(text) for name, text in entry["metric"].items()}
    return Series(labels, float(value), datetime.fromtimestamp(float(seconds), UTC))
