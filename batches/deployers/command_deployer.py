"""Reach a platform by running a command per call; no shell ever sees a value.

Exit codes: 0 done; 75 (EX_TEMPFAIL) failed, retry; 77 (EX_NOPERM) refused, not authorised;
64, 65 and 78 (EX_USAGE, EX_DATAERR, EX_CONFIG) refused. Any other code is failed and retried:
most scripts exit with 1 for a network hiccup, and a restore must not be given up for that.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, cast

from batches.deployers.answer_text import presentable
from batches.deployers.base import (
    Answer,
    InstallOrder,
    Observed,
    ObserveFailed,
    Order,
    RestoreOrder,
)
from batches.deployers.json_path import parse_json
from batches.deployers.observed_answer import read_observed
from batches.deployers.order_template import UnusableValue, fill_argument, header_value, values_of

BYTE_CAP: Final = 1_000_000
EX_NOPERM: Final = 77
_REAP_SECONDS: Final = 1.0
_REFUSED: Final = frozenset({64, 65, EX_NOPERM, 78})
# The console's own secrets are no business of a platform's script.
_NOT_PASSED_ON: Final = (
    *("UPGRADECONSOLE_", "SECRET_KEY", "DATABASE_URL", "REDIS_URL", "DJANGO_"),
    "EMAIL_HOST_PASSWORD",
)


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """One `kind: command` entry of deployers.yaml: an argument list per call."""

    install: tuple[str, ...]
    restore: tuple[str, ...]
    observe: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        said = self.stdout.strip() or self.stderr.strip()
        return said.decode("utf-8", "replace")

    @property
    def complaint(self) -> str:
        said = self.stderr.strip() or self.stdout.strip()
        return said.decode("utf-8", "replace")


class _NotStarted(Exception):
    def __init__(self, reason: str, *, permanent: bool) -> None:
        super().__init__(reason)
        self.permanent = permanent


class CommandDeployer:
    """Runs each call in a process group of its own, which a time-out kills as a whole."""

    def __init__(
        self, name: str, options: CommandOptions, *, parallelism: int, expected_seconds: float
    ) -> None:
        self.name = name
        self.parallelism = parallelism
        self.expected_seconds = expected_seconds
        self._options = options
        self._environ = {
            key: value
            for key, value in options.environ.items()
            if not key.startswith(_NOT_PASSED_ON)
        }

    async def install(self, order: InstallOrder, *, timeout: float) -> Answer:
        """Run the install command."""
        return await self._send(self._options.install, order, timeout)

    async def restore(self, order: RestoreOrder, *, timeout: float) -> Answer:
        """Run the restore command."""
        return await self._send(self._options.restore, order, timeout)

    async def observe(self, tenant: str, plugin: str, *, timeout: float) -> Observed:
        """Run the observe command and read {version, digest?, config?} from its stdout."""
        values = {"tenant": tenant, "plugin": plugin}
        try:
            argv = [fill_argument(part, values) for part in self._options.observe]
            ended = await self._run(argv, self._environ, timeout)
        except UnusableValue as unusable:
            raise ObserveFailed(presentable(str(unusable)), True) from unusable
        except _NotStarted as error:
            raise ObserveFailed(presentable(str(error)), error.permanent) from error
        except TimeoutError as late:
            raise ObserveFailed(f"no answer within {timeout:g} s; killed") from late
        if ended.code != 0:
            raise ObserveFailed(
                _failure(ended),
                ended.code in _REFUSED,
                unauthorized=ended.code == EX_NOPERM,
            )
        if len(ended.stdout) > BYTE_CAP:
            raise ObserveFailed(f"the answer is larger than {BYTE_CAP} bytes")
        return read_observed(
            parse_json(ended.stdout), version="$.version", digest="$.digest", config="$.config"
        )

    async def close(self) -> None:
        """Nothing stays open between calls."""

    async def _send(self, template: tuple[str, ...], order: Order, timeout: float) -> Answer:
        values = values_of(order)
        try:
            argv = [fill_argument(part, values) for part in template]
            environ = {
                **self._environ,
                "UPGRADE_IDEMPOTENCY_KEY": header_value("key", order.key),
                "UPGRADE_FENCE": str(order.fence),
                "UPGRADE_DIGEST": header_value("digest", order.digest or ""),
            }
            ended = await self._run(argv, environ, timeout)
        except UnusableValue as unusable:
            return Answer("refused", presentable(str(unusable)), permanent=True)
        except _NotStarted as error:
            return Answer(
                "refused" if error.permanent else "failed",
                presentable(str(error)),
                permanent=error.permanent,
            )
        except TimeoutError:
            killed = f"no end within {timeout:g} s, killed; it may have taken effect"
            return Answer("unknown", killed)
        return _judge(ended)

    async def _run(self, argv: list[str], environ: Mapping[str, str], timeout: float) -> _Ended:
        """Return how the command ended; when it did not, or we are cancelled, kill its group."""
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environ,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            raise _NotStarted(f"cannot run {argv[0]}: {error.strerror}", permanent=True) from error
        except OSError as error:
            raise _NotStarted(
                f"cannot run {argv[0]} now: {error.strerror}", permanent=False
            ) from error
        try:
            async with asyncio.timeout(timeout):
                return await _end_of(process)
        except (TimeoutError, asyncio.CancelledError):
            _kill_group(process.pid)
            # Reap it and let its pipes run dry; a child that left the group may still hold them.
            with suppress(TimeoutError):
                async with asyncio.timeout(_REAP_SECONDS):
                    await _end_of(process)
            raise


def _judge(ended: _Ended) -> Answer:
    if ended.code == 0:
        return Answer("ok", presentable(ended.text) or "exit 0", ended.code)
    if ended.code < 0:
        # Ended from outside, at nobody knows which step.
        return Answer("unknown", f"{_failure(ended)}; it may have taken effect", ended.code)
    permanent = ended.code in _REFUSED
    return Answer(
        "refused" if permanent else "failed",
        _failure(ended),
        ended.code,
        permanent=permanent,
        unauthorized=ended.code == EX_NOPERM,
    )


def _failure(ended: _Ended) -> str:
    how = f"killed by signal {-ended.code}" if ended.code < 0 else f"exit {ended.code}"
    said = presentable(ended.complaint)
    return presentable(f"{how}: {said}" if said else how)


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


async def _end_of(process: asyncio.subprocess.Process) -> _Ended:
    stdout, stderr, code = await asyncio.gather(
        _read(cast(asyncio.StreamReader, process.stdout)),
        _read(cast(asyncio.StreamReader, process.stderr)),
        process.wait(),
    )
    return _Ended(code, stdout, stderr)


async def _read(stream: asyncio.StreamReader) -> bytes:
    """Return what the stream held, to one byte over the cap; the rest is read and dropped."""
    kept = bytearray()
    while chunk := await stream.read(65_536):
        kept += chunk[: BYTE_CAP + 1 - len(kept)]
    return bytes(kept)
