"""Other rules for a replay, as people write them: KPI=NUMBER, a policy's name, or a policy file."""

from collections.abc import Iterable
from math import isfinite

from plans.drafting import latest_policy
from plans.policy import UpgradePolicy
from plans.policy_yaml import PolicyRejected, parse_policy_file
from plans.refusal import BadInput


def thresholds_of(written: Iterable[str]) -> dict[str, float]:
    """Return the numbers of KPI=NUMBER; raise BadInput with every one that is none."""
    found: dict[str, float] = {}
    problems: list[str] = []
    for one in written:
        kpi, _equals, number = one.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not kpi.strip() or not isfinite(value):
            problems.append(f"threshold: {one!r} is not KPI=NUMBER, such as error_rate=3")
        else:
            found[kpi.strip()] = value
    if problems:
        raise BadInput(problems)
    return found


def named_policy(name: str) -> UpgradePolicy:
    """Return the newest text of a policy; raise BadInput when there is none of that name."""
    row = latest_policy(name)
    if row is None:
        raise BadInput([f"policy: there is no policy {name!r}"])
    return parse_policy_file(row.text).policies[row.name]


def policy_in(text: str) -> UpgradePolicy:
    """Return the policy of a text that holds one; raise BadInput with all that is wrong."""
    try:
        policies = parse_policy_file(text).policies
    except PolicyRejected as rejected:
        raise BadInput([str(problem) for problem in rejected.problems]) from rejected
    if len(policies) != 1:
        raise BadInput([f"policy: the file holds {len(policies)} policies; name one of them"])
    return next(iter(policies.values()))
