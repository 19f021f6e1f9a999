"""System checks: what is set up in a way that would surprise people later."""

import os
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning

from batches.configured import deployers, dictionary
from plans import failpoints
from plans.policy_yaml import PolicyRejected, parse_policy_file
from plans.refusal import BadInput

LOCAL_HOSTS = {"localhost", "127.0.0.1", "[::1]", "testserver"}


def _problems_of(load: Callable[[], object]) -> tuple[str, ...]:
    try:
        load()
    except BadInput as refused:
        return refused.problems
    return ()


@register()
def deployers_can_be_used(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W001: the deployers file has problems; no plan can be drafted before they are mended."""
    return [
        CheckWarning(problem, hint="See docs/deployers.md.", id="upgradeconsole.W001")
        for problem in _problems_of(deployers)
    ]


@register()
def dictionary_can_be_used(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W002: the Kpi dictionary has problems; no plan can be drafted before they are mended."""
    return [
        CheckWarning(problem, hint="See docs/kpi-dictionary.md.", id="upgradeconsole.W002")
        for problem in _problems_of(dictionary)
    ]


@register()
def policies_can_be_used(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W003: the policies file cannot be read or has problems."""
    try:
        parse_policy_file(settings.POLICIES_FILE.read_text(encoding="utf-8"))
    except OSError as error:
        problems = [f"{settings.POLICIES_FILE}: {error.strerror}"]
    except PolicyRejected as rejected:
        problems = [f"{settings.POLICIES_FILE}: {problem}" for problem in rejected.problems]
    else:
        return []
    return [
        CheckWarning(problem, hint="See docs/policy.md.", id="upgradeconsole.W003")
        for problem in problems
    ]


@register()
def no_failpoint_is_set(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W005: a variable for crash tests is set, so a process will kill itself or stand still."""
    if not _failpoints():
        return []
    return [
        CheckWarning(
            f"{_failpoints()} is set: this process kills itself or stands still on purpose.",
            hint="It is for crash tests alone; unset it.",
            id="upgradeconsole.W005",
        )
    ]


@register(deploy=True)
def nobody_deploys_failpoints(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E001: the same, of an installation that is about to work."""
    if not _failpoints():
        return []
    return [
        Error(
            f"{_failpoints()} is set: a process kills itself or stands still on purpose.",
            hint="It is for crash tests alone; unset it before people rely on this console.",
            id="upgradeconsole.E001",
        )
    ]


def _failpoints() -> str:
    variables = (failpoints.VARIABLE, failpoints.FILE_VARIABLE)
    return " ".join(
        f"{name}={os.environ[name]}" for name in variables if os.environ.get(name, "").strip()
    )


@register(deploy=True)
def strangers_come_by_tls(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W004: other hosts are served without TLS, so passwords and tokens travel readable."""
    open_hosts = sorted(set(settings.ALLOWED_HOSTS) - LOCAL_HOSTS)
    if not open_hosts or settings.SERVED_OVER_TLS:
        return []
    return [
        CheckWarning(
            f"The console answers as {', '.join(open_hosts)} without TLS.",
            hint="Put a TLS proxy before it and set UPGRADECONSOLE_URL to its https address.",
            id="upgradeconsole.W004",
        )
    ]
