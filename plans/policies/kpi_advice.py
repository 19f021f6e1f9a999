"""What the installation's Kpi dictionary says about the Kpis that a policy names.

A policy may be written before its Kpis are, so this only advises; a plan under it is refused. The
dictionary belongs to what reads metrics, which registers its adviser at start.
"""

import re
from collections.abc import Callable, Sequence

from plans.policies.policy import PolicyFile, UpgradePolicy
from plans.policies.yaml_nodes import Problem

Adviser = Callable[[UpgradePolicy], Sequence[tuple[str, str]]]
"""Takes a policy; returns names of Kpis with what is wrong about each."""

_advisers: dict[str, Adviser] = {}


def register(name: str, adviser: Adviser) -> None:
    """Add an adviser; registering the same name again replaces it."""
    _advisers[name] = adviser


def advice(text: str, policy_file: PolicyFile) -> tuple[Problem, ...]:
    """Return what should be known before the file is used, with the lines that name the Kpis."""
    found = {
        Problem(_line_of(text, policy.name, kpi), policy.name, sentence): None
        for policy in policy_file.policies.values()
        for adviser in _advisers.values()
        for kpi, sentence in adviser(policy)
    }
    return tuple(sorted(found, key=lambda one: (one.line, one.message)))


def _line_of(text: str, policy: str, kpi: str) -> int:
    """Return the first line, from the policy's own on, that holds the name as a whole."""
    whole = re.compile(rf"(?<![\w.:\-]){re.escape(kpi)}(?![\w.\-])")
    own = re.compile(rf"\s*[\"']?{re.escape(policy)}[\"']?\s*:")
    lines = text.splitlines()
    begin = next((number for number, line in enumerate(lines, 1) if own.match(line)), 1)
    after = (
        number for number, line in enumerate(lines, 1) if number >= begin and whole.search(line)
    )
    return next(after, begin)
