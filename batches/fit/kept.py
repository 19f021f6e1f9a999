"""What the newest probe of each mapping of the Kpi dictionary found; asks no source."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from batches.canonical_json import canonical_json
from batches.configured import dictionary
from batches.fit.checks import Facts, Fit
from batches.fit.findings import finding_of
from batches.fit.gate import AT_SUBMIT, Occasion, Probed, Weighed, Whose, weigh
from batches.kpis.dictionary import Dictionary, KpiMapping
from batches.models import KpiFit
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput

FRESH = timedelta(minutes=10)
"""How long a probe counts; an older one is made anew before anything depends on it."""
NOT_PROBED = frozenset({"simulated"})
"""Kinds that exist only inside a process: nothing outside can be asked."""


def mapping_digest(known: Dictionary, mapping: KpiMapping) -> str:
    """Return what names the entries of the file that a probe was made of."""
    spec = known.sources[mapping.source]
    body: dict[str, Any] = {
        "kpi": asdict(known.kpis[mapping.kpi]),
        "mapping": asdict(mapping),
        "source": {"kind": spec.kind, "options": dict(spec.options)},
    }
    return hashlib.sha256(canonical_json(body)).hexdigest()


def is_probed(known: Dictionary, mapping: KpiMapping) -> bool:
    """Tell whether the mapping's source can be asked from outside."""
    return known.sources[mapping.source].kind not in NOT_PROBED


def fit_of(row: KpiFit) -> Fit:
    """Return the fit that a row keeps."""
    facts = dict(row.facts)
    facts["bounds"] = tuple(facts.get("bounds", ()))
    facts["values"] = tuple(tuple(one) for one in facts.get("values", ()))
    return Fit(tuple(finding_of(one) for one in row.findings), tuple(row.without), Facts(**facts))


def kept_fits(known: Dictionary) -> dict[tuple[str, str], KpiFit]:
    """Return the newest probe of each mapping as it is written now, by Kpi and source."""
    rows = {(row.kpi, row.source): row for row in KpiFit.objects.all()}
    digests = {(one.kpi, one.source): mapping_digest(known, one) for one in known.mappings}
    return {place: row for place, row in rows.items() if digests.get(place) == row.digest}


def is_fresh(row: KpiFit, now: datetime) -> bool:
    """Tell whether the probe still counts; one from the future is of a clock that was moved."""
    return abs(now - row.probed_at) <= FRESH


def kpis_to_probe(
    policy: UpgradePolicy, now: datetime, *, only: Collection[str] | None = None, again: bool = True
) -> set[str]:
    """Return the Kpis that the policy watches and whose probe is old, or was not made.

    `again`: what was found wrong counts as old, so that whoever has put it right need not wait.
    `only`: of these Kpis. Nothing while the dictionary is broken, which is told elsewhere.
    """
    try:
        known = dictionary()
    except BadInput:
        return set()
    wanted = {
        mapping
        for name in policy.watched_kpis
        for mapping in known.mappings_for(name)
        if is_probed(known, mapping) and (only is None or mapping.kpi in only)
    }
    if not wanted:
        return set()
    kept = kept_fits(known)
    return {
        mapping.kpi
        for mapping in wanted
        if not _counts(kept.get((mapping.kpi, mapping.source)), now, again=again)
    }


def _counts(row: KpiFit | None, now: datetime, *, again: bool) -> bool:
    return row is not None and is_fresh(row, now) and (not again or row.level in ("fine", "note"))


def weighed(
    *,
    policy: UpgradePolicy,
    whose: Whose,
    now: datetime,
    occasion: Occasion = AT_SUBMIT,
    only: Collection[str] | None = None,
) -> Weighed:
    """Return what the kept probes say about a plan, or about these Kpis of it alone."""
    try:
        known = dictionary()
    except BadInput:
        return Weighed()
    kept = kept_fits(known)
    probed = {
        kpi.name: [_probed(known, mapping, kept, now) for mapping in known.mappings_for(kpi.name)]
        for name in policy.watched_kpis
        if (kpi := known.kpi(name)) is not None and (only is None or kpi.name in only)
    }
    return weigh(policy, known, probed, whose=whose, occasion=occasion)


def _probed(
    known: Dictionary,
    mapping: KpiMapping,
    kept: Mapping[tuple[str, str], KpiFit],
    now: datetime,
) -> Probed:
    if not is_probed(known, mapping):
        return Probed(mapping, Fit(()))
    row = kept.get((mapping.kpi, mapping.source))
    if row is None:
        return Probed(mapping, None)
    return Probed(mapping, fit_of(row), is_fresh(row, now))
