"""Names, labels and owners of the demo's tenants; the same for every run."""

from __future__ import annotations

from typing import Final, TypedDict

from upgradeconsole.demo.releases import BASELINE


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_TREES: Final = _words(
    "acorn birch cedar dogwood elm fir gorse hazel ivy juniper katsura larch maple nutmeg oak "
    "pine quince rowan spruce teak umber viburnum willow yew zelkova alder beech cypress damson "
    "ebony fig ginkgo holly ironwood jasmine kapok laurel myrtle nettle olive poplar redwood "
    "sorrel tamarind ulmus verbena walnut yarrow aspen bamboo chestnut date elder fern hemlock "
    "linden magnolia sycamore"
)
_PLACES: Final = _words(
    "north south east west upper lower old new green red silver golden quiet bright stone "
    "river lake hill valley forest coast island garden harbour meadow summit spring winter"
)
_FIRST: Final = _words("Anna Bela Chen Dilan Eva Farid Greta Hugo Ines Jonas Kaya Levon")
_LAST: Final = _words("Arsen Brandt Costa Dumont Eriksen Fischer Grigoryan Haas Ito Jansen Kovac")
_REGIONS: Final = ("eu", "us", "ap")
_TIERS: Final = ("bronze", "bronze", "silver", "silver", "gold")


class DemoTenant(TypedDict):
    """One tenant as the tenants' import has it; labels and owner ready to be written."""

    tenant: str
    name: str
    owner_name: str
    owner_email: str
    version: str
    labels: dict[str, str]


def tenant_key(number: int) -> str:
    """Return the key of the tenant with this number: acorn, birch, ..., north-acorn, ..."""
    lap, tree = divmod(number, len(_TREES))
    if lap == 0:
        return _TREES[tree]
    round_, place = divmod(lap - 1, len(_PLACES))
    key = f"{_PLACES[place]}-{_TREES[tree]}"
    return key if round_ == 0 else f"{key}-{round_ + 1}"


def demo_tenants(count: int) -> list[DemoTenant]:
    """Return the first tenants of the demo; a longer list begins with the shorter one."""
    return [_tenant(number) for number in range(count)]


def _tenant(number: int) -> DemoTenant:
    key = tenant_key(number)
    # 7 and 5 share no factor with the lists' lengths, so that names mix instead of marching.
    first = _FIRST[number * 7 % len(_FIRST)]
    last = _LAST[number * 5 % len(_LAST)]
    ring = "internal" if number % 20 == 0 else "early" if number % 20 < 5 else "broad"
    return {
        "tenant": key,
        "name": key.replace("-", " ").title(),
        "owner_name": f"{first} {last}",
        "owner_email": f"{first}.{last}@example.org".lower(),
        "version": BASELINE,
        "labels": {
            "region": _REGIONS[number % len(_REGIONS)],
            "tier": _TIERS[number % len(_TIERS)],
            "ring": ring,
        },
    }
