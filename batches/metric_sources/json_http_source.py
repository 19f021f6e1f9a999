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
from upgradeconsole.outbound import Rules

KEY: Final = "key"
"""Stands for the name of a member where rows is an object, such as {"acorn": {...}}."""


class JsonHttpSource:
    """Answers all selectors from one GET, so that what belongs together was read together."""

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
        self._reader = HttpReader(spec, environ=environ, rules=rules, byte_cap=byte_cap)

    async def read(
        self, selectors: Sequence[Selector], *, timeout: float
    ) -> dict[Selector, list[Series]]:
        """Return one series per row and metric; null and absent are none. Raises MetricUnavailable.

        A value that is there and is no number spoils the answer.
        """
        body = await self._reader.get(self._reader.url, timeout=timeout)
        # Megabytes of JSON must not stop the loop that the reads run in.
        return await asyncio.to_thread(self._parse, body, selectors)

    async def close(self) -> None:
        """Close the connection; the next read opens a new one."""
        await self._reader.close()

    def _parse(self, body: bytes, selectors: Sequence[Selector]) -> dict[Selector, list[Series]]:
        document = parse_json(body)
        if document is MISSING:
            raise MetricUnavailable("bad_answer", "the answer is not JSON")
        paths: Mapping[str, str] = self._options["values"]
        found: dict[Selector, list[Series]] = {selector: [] for selector in selectors}
        for place, key, row in self._rows(document):
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
        return found

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
