"""The audited switches, and how they are asked and turned."""

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from plans.models import Flag, User
from plans.trail import events

POLICY = "plugin-upgrade-policy"
ORCHESTRATOR = "plugin-gray-orchestrator"
ROLLBACK = "plugin-upgrade-rollback"
MEANINGS = {
    POLICY: "off: no new plan is submitted",
    ORCHESTRATOR: "off: nothing new starts, soaks hold",
    ROLLBACK: "off: only people roll back",
}


def is_on(name: str) -> bool:
    """Tell whether the switch is on; a switch that nobody ever turned is on."""
    if name not in MEANINGS:
        raise KeyError(f"There is no switch {name!r}.")
    return not turned_off(name).exists()


def lets_more_happen(name: str, *, on: bool) -> bool:
    """Tell whether turning the switch so takes a safety away, rather than adding one."""
    return on != (name == ROLLBACK)


def turned_off(name: str) -> QuerySet[Flag]:
    """Return the switch if it is off, nobody else: to be asked within another question."""
    return Flag.objects.filter(name=name, enabled=False)


def switched_off() -> frozenset[str]:
    """Return the names of all switches that are off, in one question."""
    return frozenset(Flag.objects.filter(enabled=False).values_list("name", flat=True))


@transaction.atomic
def turn(*, name: str, on: bool, reason: str, by: User, now: datetime, via: str) -> Flag:
    """Turn a switch and write down who did and why."""
    if name not in MEANINGS:
        raise KeyError(f"There is no switch {name!r}.")
    flag, _made = Flag.objects.update_or_create(
        name=name, defaults={"enabled": on, "reason": reason, "changed_by": by}
    )
    events.record(
        stream=None,
        kind="flag_turned",
        sentence=f"{by.get_full_name()} turned {name} {'on' if on else 'off'}"
        f" ({MEANINGS[name]}){': ' + reason if reason else ''}.",
        actor=by,
        via=via,
        now=now,
        payload={"flag": name, "enabled": on, "reason": reason},
    )
    return flag
