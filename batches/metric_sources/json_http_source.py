"""Read values out of a JSON document: one row per tenant, one JSON path per metric."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from batches.deployers.json_path import MISSING, look_up, parse_json
from batches.metric_sources.base import (
    BYTE_CAP,
    MetricUnavailable,
    Selector,
    Series,
    SourceSpec,
)
from batches.metric_sources.http_reading import HttpReader
from batches.metric_sources.json_pages import PageWalk
from upgradeconsole.outbound import Rules

KEY: Final = "key"
"""Stands for the name of a member where rows is an object, such as {"acorn": {...}}."""


class JsonHttpSource:
    """Answers all selectors from one document, so that what belongs together was read together."""

    def __init__(
        self,
        spec: SourceSpec,
        *,
        environ: Mapping[str, str],
        rules: Rules,
        byte_cap: int = BYTE_CAP,
    ) -> None:
        self.name = spec.name
        self._options = spec.options
        self._byte_cap = byte_cap
        self._reader = HttpReader(spec, environ=environ, rules=rules, byte_cap=byte_cap)

    async def read(
        self, selectors: Sequence[Selector], *, timeout: float
    ) -> dict[Selector, list[Series]]:
        """Return one series per row and metric; null and absent are none. Raises MetricUnavailable.

        A value that is there and is no number spoils the answer, and so does a page that is
        missing. All pages together have the time and the size of one answer.
        """
        seconds = min(timeout, self._reader.timeout)
        clock = asyncio.get_running_loop().time
        ends = clock() + seconds
        walk = PageWalk(self._reader.url, self._options.get("pages"))
        found: dict[Selector, list[Series]] = {selector: [] for selector in selectors}
        url: str | None = walk.first
        size = pages = 0
        while url is not None:
            body = await self._page(url, ends - clock(), seconds, pages)
            pages, size = pages + 1, size + len(body)
            if size > self._byte_cap:
                raise self._bad(f"its pages are larger than {self._byte_cap} bytes together")
            # Megabytes of JSON must not stop the loop that the reads run in.
            document, page, rows = await asyncio.to_thread(self._parse, body, selectors)
            _add(found, page)
            url = walk.after(url, document, body, rows=rows)
        return found

    async def _page(self, url: str, left: float, seconds: float, before: int) -> bytes:
        try:
            if left <= 0:
                raise MetricUnavailable("timeout", "no time is left")
            return await self._reader.get(url, timeout=left)
        except MetricUnavailable as unavailable:
            if unavailable.cause != "timeout":
                raise
            said = f"not all pages within {seconds:g} s; {before} came"
            raise MetricUnavailable(
                "timeout", said if before else f"no answer within {seconds:g} s"
            ) from unavailable

    async def close(self) -> None:
        """Close the connection; the next read opens a new one."""
        await self._reader.close()

    def _parse(
        self, body: bytes, selectors: Sequence[Selector]
    ) -> tuple[object, dict[Selector, list[Series]], int]:
        """Return the document, its series, and how many rows it has."""
        document = parse_json(body)
        if document is MISSING:
            raise MetricUnavailable("bad_answer", "the answer is not JSON")
        paths: Mapping[str, str] = self._options["values"]
        found: dict[Selector, list[Series]] = {selector: [] for selector in selectors}
        rows = 0
        for rows, (place, key, row) in enumerate(self._rows(document), start=1):  # noqa: B007
            labels = self._labels(key, row)
            at = self._taken_at(place, row)
            for selector, series in found.items():
                path = paths.get(selector.metric or "")
                value = look_up(row, path) if path is not None else MISSING
                if value is MISSING or value is None:
                    continue
                number = _number(value)
                if number is None:
                    raise self._bad(f"{place}, {path}: {value!r} is not a number")
                series.append(Series(labels, number, at))
        return document, found, rows

    def _rows(self, document: object) -> Iterator[tuple[str, str, object]]:
        path = str(self._options["rows"])
        rows = look_up(document, path)
        if isinstance(rows, list):
            for index, row in enumerate(rows):
                yield f"{path}[{index}]", str(index), row
        elif isinstance(rows, dict):
            for key, row in rows.items():
                yield f"{path}.{key}", key, row
        else:
            raise self._bad(f"the answer has no list and no object at {path}")

    def _labels(self, key: str, row: object) -> dict[str, str]:
        labels = {}
        for label, path in self._options["labels"].items():
            value: object = key if path == KEY else look_up(row, path)
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                labels[label] = str(value)
        return labels

    def _taken_at(self, place: str, row: object) -> datetime | None:
        path = self._options.get("at")
        if path is None:
            return None
        value = look_up(row, path)
        at = _moment(value)
        if at is None:
            raise self._bad(f"{place}, {path}: {value!r} is not a time")
        return at

    def _bad(self, sentence: str) -> MetricUnavailable:
        return MetricUnavailable("bad_answer", self._reader.show(sentence))


def _add(found: dict[Selector, list[Series]], page: Mapping[Selector, Sequence[Series]]) -> None:
    """Add a page. A row that moved to a later page while they were read counts once, as it is now.

    Twice on one page is another thing: that is for the mapping to judge.
    """
    for selector, series in page.items():
        before = found[selector]
        if before and series:
            anew = {tuple(sorted(one.labels.items())) for one in series}
            before[:] = [one for one in before if tuple(sorted(one.labels.items())) not in anew]
        before.extend(series)


def _number(value: Any) -> float | None:
    """Return a number, also one in quotes: JSON has no other way to say NaN or +Inf."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _moment(value: object) -> datetime | None:
    """Return the time that RFC 3339 text or seconds since 1970 name."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return None if moment.tzinfo is None else moment.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
