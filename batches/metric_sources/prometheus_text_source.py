"""Read a page of Prometheus text, such as an application's own /metrics."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence

from batches.metric_sources.base import (
    BYTE_CAP,
    MetricUnavailable,
    Selector,
    Series,
    SourceSpec,
)
from batches.metric_sources.exposition_text import read_exposition
from batches.metric_sources.http_reading import HttpReader
from upgradeconsole.outbound import Rules

_NAME = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?=[\s{])", re.MULTILINE)


class PrometheusTextSource:
    """Answers all selectors from one GET, so that counters of one look belong together."""

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
        """Return the series of each metric name. Raises MetricUnavailable."""
        names = {selector: _name_of(selector) for selector in selectors}
        body = await self._reader.get(self._reader.url, timeout=timeout)
        # Megabytes of text must not stop the loop that other sources are read in.
        found = await asyncio.to_thread(_parse, body, tuple(names.values()))
        return {selector: found[name] for selector, name in names.items()}

    async def names(self, *, timeout: float) -> tuple[str, ...]:
        """Return the names of all metrics of the page. Raises MetricUnavailable."""
        body = await self._reader.get(self._reader.url, timeout=timeout)
        return await asyncio.to_thread(_names, body)

    async def close(self) -> None:
        """Close the connection; the next read opens a new one."""
        await self._reader.close()


def _names(body: bytes) -> tuple[str, ...]:
    return tuple(sorted({name.decode() for name in _NAME.findall(body)}))


def _name_of(selector: Selector) -> str:
    if selector.metric is None:
        raise MetricUnavailable(
            "bad_answer", "a page of Prometheus text takes a metric name, not a query"
        )
    return selector.metric


def _parse(body: bytes, names: Sequence[str]) -> dict[str, list[Series]]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MetricUnavailable("bad_answer", "the answer is not UTF-8") from error
    return read_exposition(text, names)
