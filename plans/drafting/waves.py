"""Arrange a plan's tenants into batches: every eligible tenant once, the same each time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random

from plans.policies.policy import (
    HOLD_BACK,
    BatchSpec,
    Labels,
    Selection,
    TenantSelector,
    UpgradePolicy,
)

_RISK = {"low": 0, "medium": 1, "high": 2}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tenant that the plan names, with what the order may depend on."""

    key: str
    labels: Labels = field(default_factory=dict)
    past_failures: int = 0


@dataclass(frozen=True, slots=True)
class Wave:
    """One batch with its tenants, in the order in which they are called; numbers begin at 1."""

    number: int
    name: str
    tenants: tuple[str, ...]
    soak_seconds: float
    metrics: tuple[str, ...]
    advance: str
    hold_back: bool = False


@dataclass(frozen=True, slots=True)
class Arrangement:
    """All batches that have tenants, who was left out and why, and the seed of the shuffle."""

    waves: tuple[Wave, ...]
    excluded: Mapping[str, str]
    seed: str


def arrange(candidates: Sequence[Candidate], policy: UpgradePolicy, *, seed: str) -> Arrangement:
    """Return the batches of a plan under the policy.

    Batches that would be empty because there are fewer tenants than batches are left out, the
    last ones first. Raises ValueError when a tenant is named twice.
    """
    if len({candidate.key for candidate in candidates}) != len(candidates):
        raise ValueError("a tenant is among the candidates twice")
    selection = policy.selection
    excluded: dict[str, str] = {}
    eligible: list[Candidate] = []
    for candidate in candidates:
        selector = _first_match(candidate, selection.exclude)
        if selector is None:
            eligible.append(candidate)
        else:
            excluded[candidate.key] = f"the policy excludes {_in_words(selector)}"
    pinned: list[str] = []
    others: list[str] = []
    for candidate in _ordered(eligible, selection, seed):
        is_pinned = _first_match(candidate, selection.pin) is not None
        (pinned if is_pinned else others).append(candidate.key)
    held_back = _hold_back_size(len(eligible), len(pinned), selection.hold_back_percentage)
    line = pinned + others
    upgraded = line[: len(line) - held_back]
    waves = _cut(upgraded, policy.batches, first_holds=len(pinned))
    if held_back:
        last = _hold_back_spec(policy)
        waves.append(
            Wave(
                number=len(waves) + 1,
                name=last.name,
                tenants=tuple(line[len(upgraded) :]),
                soak_seconds=last.soak_seconds,
                metrics=last.metrics,
                advance=last.advance,
                hold_back=True,
            )
        )
    return Arrangement(waves=tuple(waves), excluded=excluded, seed=seed)


def batch_specs(policy: UpgradePolicy, count: int) -> list[BatchSpec]:
    """Return what the policy says of the batches of a plan that was arranged into `count` batches.

    Labels may have changed since: they decide who is where, never what the batches are.
    """
    # A hold-back always stands behind another batch, and only the last batches are left out.
    if policy.selection.hold_back_percentage and count > 1:
        return [*policy.batches[: count - 1], _hold_back_spec(policy)]
    return list(policy.batches[:count])


def batch_sizes(count: int, percentages: Sequence[float]) -> list[int]:
    """Return how many of `count` tenants each batch gets: largest remainder, earlier batch first.

    No batch is empty while there are as many tenants as batches; with fewer, the first batches
    get one each.
    """
    if count < len(percentages):
        return [1] * count + [0] * (len(percentages) - count)
    # Exact fractions of what was written: 0.29 must not become 28 of 100 in binary.
    shares = [Fraction(str(percentage)) for percentage in percentages]
    whole = sum(shares, Fraction(0))
    quotas = [count * share / whole for share in shares]
    sizes = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(sizes)), key=lambda index: sizes[index] - quotas[index])
    for index in by_remainder[: count - sum(sizes)]:
        sizes[index] += 1
    for index, size in enumerate(sizes):
        if size == 0:
            sizes[sizes.index(max(sizes))] -= 1
            sizes[index] = 1
    return sizes


def recut(
    line: Sequence[Candidate], batches: Sequence[BatchSpec], *, pin: Sequence[TenantSelector] = ()
) -> list[Wave]:
    """Share the tenants of a line out anew, in their order; numbers begin at 1.

    Those that match `pin` at the head of the line stay in the first batch.
    """
    keys = [candidate.key for candidate in line]
    is_pinned = [_first_match(candidate, pin) is not None for candidate in line]
    first_holds = is_pinned.index(False) if False in is_pinned else len(line)
    return _cut(keys, batches, first_holds=first_holds)


def _cut(keys: list[str], batches: Sequence[BatchSpec], *, first_holds: int) -> list[Wave]:
    sizes = batch_sizes(len(keys), [batch.percentage for batch in batches])
    if sizes and first_holds > sizes[0]:
        rest = [batch.percentage for batch in batches[1:]]
        # A policy with one batch has no rest, and its batch holds everybody anyway.
        sizes = [first_holds, *batch_sizes(len(keys) - first_holds, rest)]
    waves: list[Wave] = []
    begin = 0
    for batch, size in zip(batches, sizes, strict=True):
        if size:
            waves.append(
                Wave(
                    number=len(waves) + 1,
                    name=batch.name,
                    tenants=tuple(keys[begin : begin + size]),
                    soak_seconds=batch.soak_seconds,
                    metrics=batch.metrics,
                    advance=batch.advance,
                )
            )
        begin += size
    return waves


def _hold_back_spec(policy: UpgradePolicy) -> BatchSpec:
    return BatchSpec(
        name=HOLD_BACK,
        percentage=policy.selection.hold_back_percentage,
        soak_seconds=0.0,
        metrics=policy.batches[-1].metrics,
        advance=policy.advance,
    )


def _hold_back_size(count: int, pinned: int, percentage: float) -> int:
    """Return the size of the hold-back: a pinned tenant and the very first are never in it."""
    if percentage == 0:
        return 0
    wanted = max(1, round(Fraction(str(percentage)) * count / 100))
    return max(0, min(wanted, count - max(pinned, 1)))


def _ordered(
    candidates: Sequence[Candidate], selection: Selection, seed: str
) -> Iterable[Candidate]:
    """Return the candidates in the policy's order; rings come before everything else."""
    line = list(candidates)
    if selection.order != "listed":
        # By key first, so that the order in which the tenants were read does not matter.
        line.sort(key=lambda candidate: candidate.key)
        Random(seed).shuffle(line)  # noqa: S311 - a repeatable order, not a secret
    if selection.order == "risk":
        line.sort(key=lambda candidate: (_risk(candidate), candidate.past_failures))
    line.sort(key=lambda candidate: _ring(candidate, selection.rings))
    return line


def _risk(candidate: Candidate) -> int:
    """Rank the label `risk`: none is medium, and a word that nobody defined counts as high."""
    return _RISK.get(candidate.labels.get("risk", "medium"), _RISK["high"])


def _ring(candidate: Candidate, rings: Sequence[Labels]) -> int:
    for number, labels in enumerate(rings):
        if _matches(candidate, labels):
            return number
    return len(rings)


def _first_match(
    candidate: Candidate, selectors: Sequence[TenantSelector]
) -> TenantSelector | None:
    return next((selector for selector in selectors if _matches(candidate, selector)), None)


def _matches(candidate: Candidate, selector: TenantSelector) -> bool:
    if isinstance(selector, str):
        return candidate.key == selector
    return all(candidate.labels.get(label) == value for label, value in selector.items())


def _in_words(selector: TenantSelector) -> str:
    if isinstance(selector, str):
        return f"the tenant {selector}"
    return "tenants with " + ", ".join(f"{label}={value}" for label, value in selector.items())
