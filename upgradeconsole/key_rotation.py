"""Replace the keys that seal secrets: everything is sealed anew, then the old keys may go."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from allauth.mfa.models import Authenticator
from django.db import transaction
from django.db.models import QuerySet

from plans.counted_words import counted
from plans.refusal import Refused
from plans.sealed_secrets import keyring
from plans.trail import events
from reports.models import Endpoint
from upgradeconsole.sealing import SealBroken, is_sealed


class KeysAreGiven(Refused):
    """The keys come from the environment, where no command can change them."""

    default_code = "keys_are_given"


class SealsAreBroken(Refused):
    """Some secrets cannot be opened, so no key may be forgotten."""

    default_code = "seals_are_broken"


@dataclass(frozen=True, slots=True)
class Rotation:
    """What was done: secrets sealed anew, those that nothing opens, keys that were forgotten."""

    resealed: int
    in_all: int
    broken: tuple[str, ...]
    forgotten: int


@dataclass(frozen=True, slots=True)
class _Place:
    """One secret in the database: its name for people, and how to write it."""

    name: str
    stored: str
    write: Callable[[str], object]


def rotate_sealing_keys(
    *, new_key: bool, forget_old: bool, now: datetime, via: str = "command"
) -> Rotation:
    """Seal every secret by the newest key, which is made first where `new_key` is asked for.

    The order bears a crash at any point: the old keys stay until all is sealed anew. Doing it again
    without a new key finishes what was begun. Raises KeysAreGiven or SealsAreBroken.
    """
    ring = keyring()
    if ring.is_given and (new_key or forget_old):
        raise KeysAreGiven(
            "The keys come from UPGRADECONSOLE_SEALING_KEYS. Put a new key first there, restart"
            " everything, then type: ./console manage rotate_keys --reseal-only; then take the old"
            " keys out."
        )
    if new_key:
        ring.add_newest()
    resealed, in_all, broken, forgotten = 0, 0, [], 0
    with transaction.atomic():
        for place in _places():
            in_all += 1
            if is_sealed(place.stored) and ring.is_newest(place.stored):
                continue
            try:
                # Older installations kept some of these plainly.
                secret = ring.open(place.stored) if is_sealed(place.stored) else place.stored
            except SealBroken as error:
                broken.append(f"{place.name}: {error}")
                continue
            place.write(ring.seal(secret))
            resealed += 1
        if forget_old and not broken:
            forgotten = len(ring.keys()) - 1
        events.record(
            stream=None,
            kind="sealing_keys_rotated",
            sentence=_sentence(new_key, resealed, in_all, len(broken), forgotten),
            actor=None,
            via=via,
            now=now,
            payload={"resealed": resealed, "in_all": in_all, "broken": list(broken)},
        )
    # Only now: had the transaction failed, the old keys would still be needed.
    if forget_old:
        if broken:
            raise SealsAreBroken(
                "No key was forgotten, because these cannot be opened: " + "; ".join(broken)
            )
        ring.keep_newest()
    return Rotation(resealed, in_all, tuple(broken), forgotten)


def _sentence(new_key: bool, resealed: int, in_all: int, broken: int, forgotten: int) -> str:
    begun = "A new key seals secrets from now on" if new_key else "Secrets were sealed anew"
    told = f"{begun}: {resealed} of {counted(in_all, 'was', 'were')} sealed by it now"
    if broken:
        told += f", {broken} cannot be opened"
    if forgotten:
        told += f", {counted(forgotten, 'older key was', 'older keys were')} forgotten"
    return f"{told}."


def _places() -> Iterator[_Place]:
    for endpoint in Endpoint.objects.exclude(sealed_secret="").order_by("pk"):
        rows = Endpoint.objects.filter(pk=endpoint.pk, sealed_secret=endpoint.sealed_secret)
        yield _Place(
            f"the secret of {endpoint.name}",
            endpoint.sealed_secret,
            partial(_write_endpoint, rows),
        )
    for factor in Authenticator.objects.select_for_update(no_key=True).order_by("pk"):
        yield from _of_factor(factor)


def _of_factor(factor: Any) -> Iterator[_Place]:
    for key in ("secret", "seed"):
        if isinstance(factor.data.get(key), str):
            yield _Place(
                f"the {factor.type} of person {factor.user_id}",
                factor.data[key],
                partial(_write_factor, factor, key),
            )


def _write_endpoint(rows: QuerySet[Endpoint], sealed: str) -> None:
    rows.update(sealed_secret=sealed)


def _write_factor(factor: Any, key: str, sealed: str) -> None:
    factor.data = {**factor.data, key: sealed}
    factor.save(update_fields=["data"])
