"""System checks: what is set up in a way that would surprise people later."""

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, register
from django.core.checks import Error as CheckError
from django.core.checks import Warning as CheckWarning
from django.db import connection
from django.utils import timezone

from batches.configured import deployers, dictionary, is_example
from plans import failpoints
from plans.policies.policy_yaml import PolicyRejected, parse_policy_file
from plans.refusal import BadInput
from plans.sealed_secrets import keyring
from upgradeconsole.configured_addresses import in_files
from upgradeconsole.env import env_str
from upgradeconsole.outbound import OutboundRejected, RulesFile, refusal_of
from upgradeconsole.sealing import KeysUnusable
from upgradeconsole.served_at import HERE

FEWEST_CONNECTIONS = 4
MOST_SECONDS_APART = 1.0
SHORTEST_TOKEN = 16
LOCAL_HOSTS = {*HERE, "testserver"}


def _problems_of(file: PathLike[str], load: Callable[[], object]) -> tuple[str, ...]:
    """Return what is wrong with a file of this installation; a shipped example is nobody's."""
    if is_example(file):
        return ()
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
        for problem in _problems_of(settings.DEPLOYERS_FILE, deployers)
    ]


@register()
def dictionary_can_be_used(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W002: the Kpi dictionary has problems; no plan can be drafted before they are mended."""
    return [
        CheckWarning(problem, hint="See docs/kpi-dictionary.md.", id="upgradeconsole.W002")
        for problem in _problems_of(settings.DICTIONARY_FILE, dictionary)
    ]


@register(deploy=True)
def the_platform_is_described(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W058: nobody has said what the platform and its metrics are; no plan can be drafted."""
    return [
        CheckWarning(
            f"{Path(file)} is the shipped example, which describes nobody's platform.",
            hint=f"Write {settings.DATA_DIR / 'config' / Path(file).name}; see {page}.",
            id="upgradeconsole.W058",
        )
        for file, page in (
            (settings.DEPLOYERS_FILE, "docs/deployers.md"),
            (settings.DICTIONARY_FILE, "docs/kpi-dictionary.md"),
        )
        if is_example(file)
    ]


@register()
def policies_can_be_used(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W003: the policies file cannot be read or has problems."""
    file = Path(settings.POLICIES_FILE)
    try:
        parse_policy_file(file.read_text(encoding="utf-8"))
    except OSError as error:
        problems = [f"{file}: {error.strerror}"]
    except PolicyRejected as rejected:
        problems = [f"{file}: {problem}" for problem in rejected.problems]
    else:
        return []
    return [
        CheckWarning(problem, hint="See docs/policy.md.", id="upgradeconsole.W003")
        for problem in problems
    ]


@register()
def one_database_is_named(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E001: two databases are named, and only one of them would be used."""
    if not (settings.DATABASE_ADDRESS and env_str("UPGRADECONSOLE_DB")):
        return []
    return [
        CheckError(
            "DATABASE_URL and UPGRADECONSOLE_DB are both set.",
            hint="Unset UPGRADECONSOLE_DB, which names a file of SQLite, or DATABASE_URL.",
            id="upgradeconsole.E001",
        )
    ]


@register()
def history_is_kept_long_enough(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W014: history is dropped before it can be asked."""
    if not settings.KPI_HISTORY:
        return []
    kept = {
        "UPGRADECONSOLE_KPI_MINUTES_KEPT_HOURS": settings.KPI_MINUTES_KEPT_HOURS,
        "UPGRADECONSOLE_KPI_FIVE_MINUTES_KEPT_DAYS": settings.KPI_FIVE_MINUTES_KEPT_DAYS,
        "UPGRADECONSOLE_KPI_HOURS_KEPT_DAYS": settings.KPI_HOURS_KEPT_DAYS,
    }
    least = {"UPGRADECONSOLE_KPI_MINUTES_KEPT_HOURS": 2, "UPGRADECONSOLE_KPI_HOURS_KEPT_DAYS": 2}
    return [
        CheckWarning(
            f"{name}={value}: history is dropped before a forecast or a backtest can use it.",
            hint=f"Write {least.get(name, 1)} or more; see docs/history.md.",
            id="upgradeconsole.W014",
        )
        for name, value in kept.items()
        if value < least.get(name, 1)
    ]


@register()
def pool_serves_a_page(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E002: the pool has no connection to give; W005: so few that pages wait for each other."""
    size = settings.DATABASE_POOL_SIZE
    if size < 1:
        return [
            CheckError(
                f"UPGRADECONSOLE_POOL_SIZE={size}: web would have no database connection.",
                hint="Write how many connections each web process may have; 10 is a good start.",
                id="upgradeconsole.E002",
            )
        ]
    if size < FEWEST_CONNECTIONS and settings.DATABASE_ADDRESS:
        return [
            CheckWarning(
                f"UPGRADECONSOLE_POOL_SIZE={size}: the live page and the pages that are opened"
                " beside it wait for each other.",
                hint=f"Give each web process {FEWEST_CONNECTIONS} connections or more.",
                id="upgradeconsole.W005",
            )
        ]
    return []


@register()
def outbound_can_be_used(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W051: the outbound file has problems; W052: a configured address is not open."""
    try:
        rules = RulesFile(settings.OUTBOUND_FILE).read()
    except OutboundRejected as rejected:
        return [
            CheckWarning(
                f"{settings.OUTBOUND_FILE}: {problem}",
                hint="Until it is mended it opens nothing; see docs/outbound.md.",
                id="upgradeconsole.W051",
            )
            for problem in rejected.problems
        ]
    except (OSError, UnicodeDecodeError) as error:
        return [
            CheckWarning(
                f"{settings.OUTBOUND_FILE} cannot be read: {error}",
                hint="Until it can, it opens nothing; see docs/outbound.md.",
                id="upgradeconsole.W051",
            )
        ]
    return [
        CheckWarning(
            f"{named.where} cannot be reached: {why}",
            hint="./console manage check_outbound tells all of them; see docs/outbound.md.",
            id="upgradeconsole.W052",
        )
        for named in in_files()
        if (why := refusal_of(named.url, rules, named.purpose))
    ]


@register()
def sealing_keys_can_be_used(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E053: secrets in the database cannot be sealed or opened."""
    if not settings.SEALING_KEYS and not settings.SEALING_KEYS_FILE.exists():
        # The first start makes it.
        return []
    try:
        keyring().keys()
    except KeysUnusable as unusable:
        return [CheckError(str(unusable), hint="See docs/secrets.md.", id="upgradeconsole.E053")]
    return []


@register(deploy=True)
def nobody_debugs(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E054: error pages would show a stranger how the console works."""
    if not settings.DEBUG:
        return []
    return [
        CheckError(
            "UPGRADECONSOLE_DEBUG is on: error pages show code and settings to everybody.",
            hint="Unset it before people rely on this console.",
            id="upgradeconsole.E054",
        )
    ]


@register(deploy=True)
def data_folder_is_ours_alone(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W053: others on this machine can read sessions, password hashes and mails."""
    folder = settings.DATA_DIR
    try:
        open_to_others = bool(folder.stat().st_mode & 0o077)
    except OSError:
        return []
    if not open_to_others:
        return []
    return [
        CheckWarning(
            f"{folder} can be read by others on this machine.",
            hint=f"chmod 700 {folder}",
            id="upgradeconsole.W053",
        )
    ]


@register(deploy=True)
def mail_is_sent(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W054: mails about accounts, approvals and broken glass reach nobody."""
    if not settings.EMAIL_BACKEND.endswith("filebased.EmailBackend"):
        return []
    return [
        CheckWarning(
            f"Mail is written into {settings.EMAIL_FILE_PATH} and sent to nobody.",
            hint="Set EMAIL_BACKEND and EMAIL_HOST; see docs/people.md.",
            id="upgradeconsole.W054",
        )
    ]


@register(deploy=True)
def database_is_reached_by_tls(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W006: the database is on another host and may be spoken to without TLS."""
    address = settings.DATABASE_ADDRESS
    if address is None or not address.host or address.host.startswith("/"):
        return []
    encrypted = address.parameters.get("sslmode") in {"require", "verify-ca", "verify-full"}
    if encrypted or address.host in {*LOCAL_HOSTS, "::1"}:
        return []
    return [
        CheckWarning(
            f"DATABASE_URL reaches {address.host} without insisting on TLS.",
            hint="Add ?sslmode=verify-full (or require) to DATABASE_URL.",
            id="upgradeconsole.W006",
        )
    ]


@register(Tags.database)
def clocks_agree(
    app_configs: Any = None, databases: Any = None, **kwargs: Any
) -> list[CheckMessage]:
    """W007: this machine's clock and the database's differ, by which leases change hands early."""
    if not databases or connection.vendor != "postgresql":
        return []
    before = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        theirs = cursor.fetchone()[0]
    after = timezone.now()
    apart = max((before - theirs).total_seconds(), (theirs - after).total_seconds())
    if apart < MOST_SECONDS_APART:
        return []
    return [
        CheckWarning(
            f"This machine's clock is {apart:.1f} s away from the database's.",
            hint="Let every machine of the console keep its time by NTP.",
            id="upgradeconsole.W007",
        )
    ]


@register()
def no_failpoint_is_set(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W008: a variable for crash tests is set, so a process will kill itself or stand still."""
    if not _failpoints():
        return []
    return [
        CheckWarning(
            f"{_failpoints()} is set: this process kills itself or stands still on purpose.",
            hint="It is for crash tests alone; unset it.",
            id="upgradeconsole.W008",
        )
    ]


@register(deploy=True)
def nobody_deploys_failpoints(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E003: the same, of an installation that is about to work."""
    if not _failpoints():
        return []
    return [
        CheckError(
            f"{_failpoints()} is set: a process kills itself or stands still on purpose.",
            hint="It is for crash tests alone; unset it before people rely on this console.",
            id="upgradeconsole.E003",
        )
    ]


def _failpoints() -> str:
    variables = (failpoints.VARIABLE, failpoints.FILE_VARIABLE)
    return " ".join(
        f"{name}={os.environ[name]}" for name in variables if os.environ.get(name, "").strip()
    )


@register(deploy=True)
def people_who_act_have_two_factors(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W041: a password alone approves and acts."""
    if settings.REQUIRE_MFA:
        return []
    return [
        CheckWarning(
            "UPGRADECONSOLE_REQUIRE_MFA is off: a password alone approves and acts.",
            hint="It is for demonstrations alone; unset it (docs/people.md).",
            id="upgradeconsole.W041",
        )
    ]


@register(deploy=True)
def the_numbers_have_a_token(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W055: nobody may scrape /metrics; W056: whoever guesses may."""
    token = settings.METRICS_TOKEN
    hint = "Write 32 random characters into UPGRADECONSOLE_METRICS_TOKEN (docs/metrics.md)."
    if not token:
        return [
            CheckWarning(
                "UPGRADECONSOLE_METRICS_TOKEN is not set: /metrics answers nobody once others reach"
                " this console.",
                hint=hint,
                id="upgradeconsole.W055",
            )
        ]
    if len(token) >= SHORTEST_TOKEN:
        return []
    return [
        CheckWarning(
            f"UPGRADECONSOLE_METRICS_TOKEN has fewer than {SHORTEST_TOKEN} characters.",
            hint=hint,
            id="upgradeconsole.W056",
        )
    ]


@register()
def sessions_have_an_end(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E041: sessions would end before anybody could use them."""
    lives = {
        "UPGRADECONSOLE_SESSION_IDLE_MINUTES": settings.SESSION_IDLE_MINUTES,
        "UPGRADECONSOLE_SESSION_HOURS": settings.SESSION_HOURS,
    }
    return [
        CheckError(
            f"{name}={value}: nobody could stay logged in.",
            hint="Write 1 or more; see docs/people.md.",
            id="upgradeconsole.E041",
        )
        for name, value in lives.items()
        if value < 1
    ]


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


@register(deploy=True)
def proxies_are_known(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W057: TLS ends at a proxy that the console was not told of."""
    if not settings.SERVED_OVER_TLS or settings.TRUSTED_PROXIES:
        return []
    return [
        CheckWarning(
            f"{settings.CONSOLE_URL} is served by a proxy that the console does not know of:"
            " everybody seems to come from its address, and browsers are not told to keep to TLS.",
            hint="Set UPGRADECONSOLE_TRUSTED_PROXIES to how many there are; docs/installing.md.",
            id="upgradeconsole.W057",
        )
    ]
