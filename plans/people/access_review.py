"""Who could do what for which tenants at a time, now or long ago: read from roles and tokens.

Roles and tokens are never changed or deleted, so the rows of today answer for any day. What a role
may do is told as this version of the console has it, and labels are counted as they are today.
Roles that waited for a second person stand in lines of their own: they gave nothing.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time

from django.db.models import Q
from django.utils.dateparse import parse_date, parse_datetime

from plans.models import CONSOLE_ROLES, ApiToken, RoleBinding, RoleRequest, Tenant, User
from plans.people.permissions import ROLES_OF_ACTION, WORDS
from plans.reach import EVERYTHING, selector_words
from plans.refusal import BadInput

ASKED = "asked"
KINDS = {
    "console": "Console role",
    "approval": "Approval role",
    "token": "API token",
    ASKED: "Requested role",
}
GIVES_NOTHING = ("nothing until another administrator confirms it",)
FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n")
COLUMNS = (
    *("on", "name", "email", "kind", "held", "may", "tenants", "tenants_today", "since", "until"),
    *("given_by", "confirmed_by", "why", "ended_at", "last_used_at", "last_used_from"),
)


@dataclass(frozen=True, slots=True)
class Held:
    """One right that one person, or one machine in their name, held."""

    name: str
    email: str
    kind: str
    held: str
    may: tuple[str, ...]
    tenants: str
    tenants_today: int
    since: datetime
    until: datetime | None
    given_by: str
    confirmed_by: str = ""
    why: str = ""
    ended_at: datetime | None = None
    last_used_at: datetime | None = None
    last_used_from: str = ""

    @property
    def kind_words(self) -> str:
        """Return the kind as people read it."""
        return KINDS[self.kind]


@dataclass(frozen=True, slots=True)
class AccessReview:
    """All that was held at one time."""

    at: datetime
    held: tuple[Held, ...]

    @property
    def people(self) -> int:
        """Return how many people held anything."""
        return len({line.email for line in self.held if line.kind != ASKED})


def asked_time(written: str, *, now: datetime) -> datetime:
    """Return the time that is meant: a time, the end of a day, or now where nothing is written.

    Raise BadInput for anything else and for a time to come.
    """
    if not written:
        return now
    try:
        day = parse_date(written)
        at = parse_datetime(written) if day is None else None
        if at is not None and at.tzinfo is not None:
            # Beyond the ends of the calendar there is no such time in UTC.
            at.astimezone(UTC)
    except (ValueError, OverflowError):
        day, at = None, None
    if day is not None:
        # Today is not over; what is known of it is what holds now.
        at = now if day == now.date() else datetime.combine(day, time.max, tzinfo=UTC)
    if at is None:
        raise BadInput([f"at: {written!r} is no date; write 2026-01-31 or 2026-01-31T12:00:00Z"])
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    if at > now:
        raise BadInput(["at: this is to come; who will hold what is not known yet"])
    return at


def access_review(at: datetime) -> AccessReview:
    """Return what everybody held at that time, by person; the caller has asked for the right."""
    count = _counted()
    bindings = RoleBinding.objects.held_on(at).select_related("user", "given_by", "confirmed_by")
    lines = [_binding_line(binding, count) for binding in bindings]
    tokens = ApiToken.objects.held_on(at).select_related("user", "made_by")
    # A token of somebody without any right at the time opened nothing.
    holders = {binding.user_id for binding in bindings}
    lines += [_token_line(token, at, count) for token in tokens if token.user_id in holders]
    waiting = RoleRequest.objects.filter(
        Q(outcome="") | Q(decided_at__gt=at), asked_at__lte=at
    ).select_related("user", "asked_by")
    lines += [_request_line(request, count) for request in waiting]
    order = list(KINDS)
    lines.sort(key=lambda one: (one.name.lower(), one.email, order.index(one.kind), one.held))
    return AccessReview(at, tuple(lines))


def _counted() -> Callable[[dict[str, str]], int]:
    known: dict[str, int] = {}

    def count(selector: dict[str, str]) -> int:
        words = selector_words(selector)
        if words not in known:
            known[words] = Tenant.objects.within(EVERYTHING.narrowed(selector)).count()
        return known[words]

    return count


def _binding_line(binding: RoleBinding, count: Callable[[dict[str, str]], int]) -> Held:
    console = binding.kind == RoleBinding.CONSOLE
    return Held(
        name=binding.user.get_full_name(),
        email=binding.user.email,
        kind=binding.kind,
        held=_role_words(binding),
        may=acts_of(binding.role) if console else ("look at this", f"approve as {binding.role}"),
        tenants=selector_words(binding.selector),
        tenants_today=count(binding.selector),
        since=binding.created_at,
        until=binding.expires_at,
        given_by=_name(binding.given_by),
        confirmed_by=_name(binding.confirmed_by) if binding.confirmed_by else "",
        why=binding.why,
        ended_at=binding.ended_at,
    )


def _role_words(row: RoleBinding | RoleRequest) -> str:
    console = row.kind == RoleBinding.CONSOLE
    return dict(CONSOLE_ROLES).get(row.role, row.role) if console else row.role


def _request_line(request: RoleRequest, count: Callable[[dict[str, str]], int]) -> Held:
    return Held(
        name=request.user.get_full_name(),
        email=request.user.email,
        kind=ASKED,
        held=_role_words(request),
        may=GIVES_NOTHING,
        tenants=selector_words(request.selector),
        tenants_today=count(request.selector),
        since=request.asked_at,
        until=request.expires_at,
        given_by=_name(request.asked_by),
        why=request.why,
    )


def _token_line(token: ApiToken, at: datetime, count: Callable[[dict[str, str]], int]) -> Held:
    used_by_then = token.last_used_at is not None and token.last_used_at <= at
    scopes = ", ".join(token.scopes)
    return Held(
        name=token.user.get_full_name(),
        email=token.user.email,
        kind="token",
        held=f"{token.name} ({token.prefix}…)",
        may=(f"{scopes}, as far as the person may" if scopes else "all that the person may",),
        tenants=selector_words(token.selector),
        tenants_today=count(token.selector),
        since=token.created_at,
        until=token.expires_at,
        given_by=_name(token.made_by),
        ended_at=token.revoked_at,
        last_used_at=token.last_used_at if used_by_then else None,
        last_used_from=(token.last_used_from or "") if used_by_then else "",
    )


def acts_of(role: str) -> tuple[str, ...]:
    """Return in words what a console role may do."""
    return tuple(WORDS[action] for action, roles in ROLES_OF_ACTION.items() if role in roles)


def _name(person: User | None) -> str:
    return person.get_full_name() if person is not None else "the console"


def cells(review: AccessReview, line: Held) -> list[str]:
    """Return the line as the columns of a table have it; no cell is a formula to a spreadsheet."""
    told = (
        *(stamp(review.at), line.name, line.email, line.kind_words, line.held),
        *("; ".join(line.may), line.tenants, str(line.tenants_today), stamp(line.since)),
        *(stamp(line.until), line.given_by, line.confirmed_by, line.why, stamp(line.ended_at)),
        *(stamp(line.last_used_at), line.last_used_from),
    )
    return [f"'{cell}" if cell.startswith(FORMULA_BEGINS) else cell for cell in told]


def as_csv(review: AccessReview) -> str:
    """Return the whole review as CSV."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows(cells(review, line) for line in review.held)
    return out.getvalue()


def stamp(at: datetime | None) -> str:
    """Return a time as exports write it, empty for none."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else ""
