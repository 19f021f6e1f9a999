"""deployers.yaml -> DeployerSpecs, or every problem of the file with its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from batches.deployers.command_deployer import CommandOptions
from batches.deployers.http_deployer import Accepted, CallTemplate, HttpOptions, ObserveTemplate
from batches.deployers.json_path import is_path
from batches.deployers.order_template import (
    OBSERVE_PLACEHOLDERS,
    ORDER_PLACEHOLDERS,
    placeholders_in,
)
from batches.deployers.simulated_deployer import SimulatedOptions
from batches.deployers.yaml_reading import Place, Problem, Reader
from upgradeconsole.known_secrets import is_secret_name

DEFAULT_PARALLELISM: Final = 20
DEFAULT_EXPECTED_SECONDS: Final = 1.0
_NAME = re.compile(r"[a-z0-9][a-z0-9_\-]{0,62}")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_OURS: Final = frozenset(
    {
        *("idempotency-key", "x-upgrade-fence", "x-upgrade-digest"),
        *("host", "content-length", "transfer-encoding"),
    }
)
_METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")
_EVERY_KIND: Final = ("parallelism", "expected_seconds")
_SHORTEST_SECRET: Final = 4
_SHORTEST_LITERAL: Final = 8

Options = HttpOptions | CommandOptions | SimulatedOptions


@dataclass(frozen=True, slots=True)
class DeployerSpec:
    """One entry of deployers.yaml, checked."""

    name: str
    kind: str
    parallelism: int
    expected_seconds: float
    options: Options

    @property
    def base_url(self) -> str:
        """Return where the platform is reached over the network; '' where it is not."""
        return self.options.base_url if isinstance(self.options, HttpOptions) else ""


class DeployersRejected(Exception):
    """The file cannot be used; problems says everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def load_deployers(text: str, *, environ: Mapping[str, str]) -> dict[str, DeployerSpec]:
    """Return the deployers by name. Raises DeployersRejected."""
    loading = _Loading(environ)
    specs = loading.file(text)
    if loading.reader.problems:
        raise DeployersRejected(loading.reader.problems)
    return {spec.name: spec for spec in specs}


class _Loading:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self.reader = Reader()
        self._environ = environ
        self._kinds: dict[str, Callable[[Place], Options | None]] = {
            "http": self._http,
            "command": self._command,
            "simulated": self._simulated,
        }

    def file(self, text: str) -> list[DeployerSpec]:
        top = self.reader.compose(text)
        if top is None:
            return []
        entries = self.reader.keys(top, required=("deployers",)).get("deployers")
        found = self.reader.mapping(entries) if entries else None
        if entries and found == {}:
            self.reader.complain(entries, "names no deployer; write at least one")
        specs = [self._entry(name, place) for name, place in (found or {}).items()]
        return [spec for spec in specs if spec is not None]

    def _entry(self, name: str, place: Place) -> DeployerSpec | None:
        if not _NAME.fullmatch(name):
            self.reader.complain(place, "a name is of a-z, 0-9, - and _, up to 63 characters")
        keys = self.reader.mapping(place)
        if keys is None:
            return None
        kind = self.reader.text(keys["kind"]) if "kind" in keys else None
        if "kind" not in keys:
            self.reader.complain(place, f"kind is missing; write one of {', '.join(self._kinds)}")
        elif kind is not None and kind not in self._kinds:
            self.reader.complain(
                keys["kind"], f"{kind!r} is no kind; write one of {', '.join(self._kinds)}"
            )
        if kind is None or kind not in self._kinds:
            return None
        parallelism: int | None = DEFAULT_PARALLELISM
        if "parallelism" in keys:
            parallelism = self.reader.whole(keys["parallelism"], least=1, most=1000)
        expected: float | None = DEFAULT_EXPECTED_SECONDS
        if "expected_seconds" in keys:
            expected = self.reader.number(keys["expected_seconds"], least=0.001, most=3600)
        options = self._kinds[kind](place)
        if options is None or parallelism is None or expected is None:
            return None
        return DeployerSpec(name, kind, parallelism, expected, options)

    # ------------------------------------------------------------------ http
    def _http(self, place: Place) -> HttpOptions | None:
        keys = self.reader.keys(
            place,
            required=("kind", "base_url", "install", "restore", "observe"),
            optional=("headers", "accepted", "permanent", *_EVERY_KIND),
        )
        self._no_variables(keys)
        base_url = self._base_url(keys["base_url"]) if "base_url" in keys else None
        install = self._call(keys["install"]) if "install" in keys else None
        restore = self._call(keys["restore"]) if "restore" in keys else None
        observe = self._observe(keys["observe"]) if "observe" in keys else None
        headers, secrets = self._headers(keys["headers"]) if "headers" in keys else ({}, ())
        accepted = self._accepted(keys["accepted"]) if "accepted" in keys else None
        permanent = frozenset({400, 401, 403, 404, 422})
        if "permanent" in keys:
            permanent = self._statuses(keys["permanent"], least=400, most=599)
        if base_url is None or install is None or restore is None or observe is None:
            return None
        return HttpOptions(
            base_url=base_url,
            install=install,
            restore=restore,
            observe=observe,
            headers=headers,
            secrets=secrets,
            accepted=accepted,
            permanent=permanent,
        )

    def _no_variables(self, keys: Mapping[str, Place]) -> None:
        for name, child in keys.items():
            if name != "headers" and _VARIABLE.search(str(self._quietly(child))):
                self.reader.complain(child, "${...} is filled in headers only")

    def _quietly(self, place: Place) -> object:
        return Reader().value(place)

    def _base_url(self, place: Place) -> str | None:
        text = self.reader.text(place)
        if text is None:
            return None
        try:
            parts = urlsplit(text)
            port_fits = parts.port is None or parts.port > 0
        except ValueError:
            port_fits = False
        if (
            not port_fits
            or parts.scheme not in {"http", "https"}
            or not parts.hostname
            or not text.isprintable()
            or " " in text
        ):
            self.reader.complain(place, "must be a URL such as http://127.0.0.1:9700")
            return None
        if parts.username or parts.query or parts.fragment:
            self.reader.complain(place, "takes no login, ? or #; a login goes into headers")
            return None
        return text

    def _call(self, place: Place) -> CallTemplate | None:
        keys = self.reader.keys(place, required=("method", "path"), optional=("json",))
        method = self._method(keys.get("method"), _METHODS)
        path = self._path(keys.get("path"), ORDER_PLACEHOLDERS)
        body = None
        if "json" in keys:
            body = self.reader.value(keys["json"])
            self._known_placeholders(keys["json"], body, ORDER_PLACEHOLDERS)
        if method is None or path is None:
            return None
        return CallTemplate(method, path, body)

    def _observe(self, place: Place) -> ObserveTemplate | None:
        keys = self.reader.keys(
            place, required=("method", "path", "version"), optional=("digest", "config")
        )
        method = self._method(keys.get("method"), ("GET",))
        path = self._path(keys.get("path"), OBSERVE_PLACEHOLDERS)
        version = self._json_path(keys.get("version"))
        digest = self._json_path(keys.get("digest"))
        config = self._json_path(keys.get("config"))
        if method is None or path is None or version is None:
            return None
        return ObserveTemplate(path, version, digest, config, method)

    def _method(self, place: Place | None, allowed: Sequence[str]) -> str | None:
        text = self.reader.text(place) if place else None
        if place and text is not None and text not in allowed:
            self.reader.complain(place, f"{text!r} is not taken; write {' or '.join(allowed)}")
            return None
        return text

    def _path(self, place: Place | None, allowed: Sequence[str]) -> str | None:
        text = self.reader.text(place) if place else None
        if place is None or text is None:
            return None
        if not text.startswith("/") or "#" in text or " " in text or not text.isprintable():
            self.reader.complain(place, "must begin with / and hold no # and no blank")
            return None
        self._known_placeholders(place, text, allowed)
        if "config" in placeholders_in(text):
            self.reader.complain(place, "{config} cannot stand in a path; put it into json")
        return text

    def _json_path(self, place: Place | None) -> str | None:
        text = self.reader.text(place) if place else None
        if place and text is not None and not is_path(text):
            self.reader.complain(place, f"{text!r} is no JSON path; write one such as $.a.b[0]")
            return None
        return text

    def _known_placeholders(self, place: Place, value: object, allowed: Sequence[str]) -> None:
        for name in dict.fromkeys(_all_placeholders(value)):
            if name not in allowed:
                known = ", ".join(f"{{{known}}}" for known in allowed)
                self.reader.complain(place, f"{{{name}}} is no placeholder here; known: {known}")

    def _headers(self, place: Place) -> tuple[dict[str, str], tuple[str, ...]]:
        headers: dict[str, str] = {}
        secrets: list[str] = []
        for name, child in (self.reader.mapping(place) or {}).items():
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS:
                self.reader.complain(
                    child, "cannot be set here: no header name, or one that is ours"
                )
                continue
            text = self.reader.text(child)
            if text is None:
                continue
            if placeholders_in(_VARIABLE.sub("", text)):
                self.reader.complain(child, "placeholders are filled in path and json only")
            value, found = self._fill_variables(child, text)
            headers[name] = value
            secrets += _hidden(name, text, value, found)
        return headers, tuple(dict.fromkeys(secrets))

    def _fill_variables(self, place: Place, text: str) -> tuple[str, list[str]]:
        found: list[str] = []

        def fill(match: re.Match[str]) -> str:
            value = self._environ.get(match[1])
            if value is None:
                self.reader.complain(
                    place, f"the environment variable {match[1]} is not set; set it"
                )
                return ""
            if not value.isprintable():
                self.reader.complain(
                    place, f"the environment variable {match[1]} holds control characters"
                )
                return ""
            found.append(value)
            return value

        return _VARIABLE.sub(fill, text), found

    def _accepted(self, place: Place) -> Accepted | None:
        keys = self.reader.keys(place, required=("status", "poll"))
        statuses = (
            self._statuses(keys["status"], least=200, most=299)
            if "status" in keys
            else frozenset[int]()
        )
        if "poll" not in keys:
            return None
        poll = self.reader.keys(keys["poll"], required=("path", "done", "failed"))
        url_path = self._json_path(poll.get("path"))
        done = self._conditions(poll.get("done"))
        failed = self._conditions(poll.get("failed"))
        if url_path is None or not done or not failed:
            return None
        return Accepted(statuses, url_path, done, failed)

    def _conditions(self, place: Place | None) -> dict[str, object]:
        conditions: dict[str, object] = {}
        if place is None:
            return conditions
        found = self.reader.mapping(place)
        if found == {}:
            self.reader.complain(place, 'must name a value to meet, such as {"$.state": done}')
        for path, child in (found or {}).items():
            if not is_path(path):
                self.reader.complain(child, f"{path!r} is no JSON path; write one as $.a.b[0]")
            conditions[path] = self.reader.value(child)
        return conditions

    def _statuses(self, place: Place, *, least: int, most: int) -> frozenset[int]:
        found = [
            self.reader.whole(item, least=least, most=most) for item in self.reader.items(place)
        ]
        return frozenset(status for status in found if status is not None)

    # --------------------------------------------------------------- command
    def _command(self, place: Place) -> CommandOptions | None:
        keys = self.reader.keys(
            place, required=("kind", "install", "restore", "observe"), optional=_EVERY_KIND
        )
        self._no_variables(keys)
        install = self._argv(keys.get("install"), ORDER_PLACEHOLDERS)
        restore = self._argv(keys.get("restore"), ORDER_PLACEHOLDERS)
        observe = self._argv(keys.get("observe"), OBSERVE_PLACEHOLDERS)
        if not install or not restore or not observe:
            return None
        return CommandOptions(install, restore, observe, dict(self._environ))

    def _argv(self, place: Place | None, allowed: Sequence[str]) -> tuple[str, ...]:
        if place is None:
            return ()
        items = self.reader.items(place)
        argv = [self.reader.text(item) for item in items]
        for item, text in zip(items, argv, strict=True):
            self._known_placeholders(item, text, allowed)
        if argv and placeholders_in(argv[0] or ""):
            self.reader.complain(items[0], "the program itself cannot be a placeholder")
        return tuple(text for text in argv if text is not None)

    # ------------------------------------------------------------- simulated
    def _simulated(self, place: Place) -> SimulatedOptions | None:
        numbers = ("latency_seconds", "jitter_seconds", "fail_percentage")
        keys = self.reader.keys(
            place, required=("kind",), optional=("version", "seed", *numbers, *_EVERY_KIND)
        )
        before = len(self.reader.problems)
        default = SimulatedOptions()
        options = SimulatedOptions(
            version=self._text_or(keys.get("version"), default.version),
            seed=self._text_or(keys.get("seed"), default.seed),
            latency_seconds=self._number_or(keys.get("latency_seconds"), default.latency_seconds),
            jitter_seconds=self._number_or(keys.get("jitter_seconds"), default.jitter_seconds),
            fail_percentage=self._number_or(
                keys.get("fail_percentage"), default.fail_percentage, most=100
            ),
        )
        return None if len(self.reader.problems) > before else options

    def _text_or(self, place: Place | None, default: str) -> str:
        return default if place is None else self.reader.text(place) or default

    def _number_or(self, place: Place | None, default: float, *, most: float = 60) -> float:
        found = default if place is None else self.reader.number(place, least=0, most=most)
        return default if found is None else found


def _all_placeholders(value: object) -> list[str]:
    if isinstance(value, str):
        return placeholders_in(value)
    if isinstance(value, dict):
        return [name for item in value.values() for name in _all_placeholders(item)]
    if isinstance(value, list):
        return [name for item in value for name in _all_placeholders(item)]
    return []


def _hidden(name: str, template: str, value: str, from_environment: Sequence[str]) -> list[str]:
    """Return what answers must not show: everything from the environment, logins, long values."""
    hidden = [text for text in from_environment if len(text) >= _SHORTEST_SECRET]
    shortest = _SHORTEST_SECRET if is_secret_name(name) or template != value else _SHORTEST_LITERAL
    if len(value) >= shortest:
        hidden.append(value)
    if is_secret_name(name):
        hidden += [part for part in value.split() if len(part) >= _SHORTEST_LITERAL]
    return hidden
