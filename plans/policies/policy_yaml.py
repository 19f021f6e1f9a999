"""Turn the text of a policy file into policies, or into the list of everything wrong with it.

A key that this version does not enforce is refused by name: nobody shall believe in a guard that
is not there. The parts of one policy are read by `policy_guardrails` and `policy_parts`.
"""

from plans.policies.policy import (
    HOLD_BACK,
    ApprovalRule,
    BatchSpec,
    PolicyFile,
    UpgradePolicy,
)
from plans.policies.policy_guardrails import check_last_batch, read_guardrails, read_thresholds
from plans.policies.policy_parts import (
    read_conditions,
    read_evidence,
    read_limits,
    read_rollback,
    read_selection,
    read_windows,
)
from plans.policies.yaml_nodes import Problem, read_nodes
from plans.policies.yaml_section import KPI, KPI_RULE, NAME, NAME_RULE, Section

__all__ = ["MAX_BYTES", "PolicyRejected", "Problem", "parse_policy_file"]

MAX_BYTES = 256 * 1024

ADVANCE = ("automatic", "manual")
WINDOWS_CLOSING = ("wait", "finish_batch")
_WEEK_IN_MINUTES = 7 * 24 * 60
_POLICY_KEYS = (
    "description",
    "batches",
    "rollback_thresholds",
    "guardrails",
    "approvals",
    "selection",
    "advance",
    "windows",
    "windows_closing",
    "not_after",
    "limits",
    "on",
    "rollback",
    "evidence",
)


class PolicyRejected(Exception):
    """Raised when a policy file cannot be used; `problems` says all that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


def parse_policy_file(text: str) -> PolicyFile:
    """Return the policies and approval rules of the text; PolicyRejected with all problems."""
    root, problems = read_nodes(text, max_bytes=MAX_BYTES)
    if root is None:
        raise PolicyRejected(
            tuple(problems) or (Problem(1, "", "the file is empty; add 'policies:'"),)
        )
    top = Section(root, "", problems, keys=("policies", "approvals"))
    top.require("policies")
    approvals = _read_approvals(top)
    policies = _read_policies(top, approvals if "approvals" in top.entries else None)
    if problems:
        once = dict.fromkeys(problems)
        raise PolicyRejected(tuple(sorted(once, key=lambda problem: problem.line)))
    return PolicyFile(policies=policies, approvals=approvals)


def _read_approvals(top: Section) -> dict[str, ApprovalRule]:
    section = top.child("approvals", keys=None)
    default = ApprovalRule(name="", required_roles=())
    rules: dict[str, ApprovalRule] = {}
    for name, entry in section.entries.items():
        _check_name(section, name, entry.line)
        rule = Section(
            entry.node,
            f"approvals.{name}",
            top.problems,
            keys=tuple(name for name in ApprovalRule.__dataclass_fields__ if name != "name"),
        )
        rule.require("required_roles")
        roles = rule.names("required_roles", form=NAME, rule=NAME_RULE, most=20)
        if not roles and rule.node("required_roles") is not None:
            rule.note(rule.line, "required_roles", "no role would approve; name at least one")
        gate_roles = rule.names("gate_roles", form=NAME, rule=NAME_RULE, most=20)
        if not gate_roles and rule.node("gate_roles") is not None:
            rule.note(
                rule.line, "gate_roles", "no role is named; remove the key for whoever may promote"
            )
        rules[name] = ApprovalRule(
            name=name,
            required_roles=roles,
            gate_roles=gate_roles,
            start_within_minutes=rule.number(
                "start_within_minutes",
                default.start_within_minutes,
                above=True,
                high=_WEEK_IN_MINUTES,
            ),
            max_pending_minutes=rule.number(
                "max_pending_minutes",
                default.max_pending_minutes,
                above=True,
                high=60 * 24 * 90,
            ),
        )
    return rules


def _read_policies(
    top: Section, approvals: dict[str, ApprovalRule] | None
) -> dict[str, UpgradePolicy]:
    section = top.child("policies", keys=None)
    if section.read and not section.entries and "policies" in top.entries:
        section.note(section.line, "", "no policy is named; add one, such as 'safe-rollout:'")
    policies: dict[str, UpgradePolicy] = {}
    for name, entry in section.entries.items():
        _check_name(section, name, entry.line)
        policy = Section(
            entry.node,
            f"policies.{name}",
            top.problems,
            keys=_POLICY_KEYS,
        )
        policies[name] = _read_policy(policy, name, approvals)
    return policies


def _check_name(section: Section, name: str, line: int) -> None:
    if not NAME.fullmatch(name):
        section.note(line, name, f"'{name}' cannot be a name; {NAME_RULE}")


def _read_policy(
    policy: Section, name: str, approvals: dict[str, ApprovalRule] | None
) -> UpgradePolicy:
    advance = policy.choice("advance", "automatic", ADVANCE)
    windows, not_after = read_windows(policy)
    guardrails, selection = read_guardrails(policy), read_selection(policy)
    check_last_batch(policy, guardrails, selection)
    return UpgradePolicy(
        name=name,
        description=policy.text("description"),
        batches=_read_batches(policy, advance),
        guardrails=(*read_thresholds(policy), *guardrails),
        approvals=_read_approvals_name(policy, approvals),
        selection=selection,
        advance=advance,
        windows=windows,
        windows_closing=policy.choice("windows_closing", "wait", WINDOWS_CLOSING),
        not_after=not_after,
        limits=(limits := read_limits(policy)),
        on=read_conditions(policy),
        rollback=read_rollback(policy, limits),
        evidence=read_evidence(policy),
    )


def _read_approvals_name(policy: Section, approvals: dict[str, ApprovalRule] | None) -> str:
    name = policy.name("approvals", "default")
    if policy.read and approvals is not None and name not in approvals:
        entry = policy.entries.get("approvals")
        line = policy.line if entry is None else entry.line
        there = ", ".join(approvals) or "nothing"
        message = (
            f"'{name}' is not in the approvals section, which has {there}; "
            "add it there or name another one"
        )
        policy.note(line, "approvals", message)
    return name


def _read_batches(policy: Section, advance: str) -> tuple[BatchSpec, ...]:
    policy.require("batches", why=", with at least one batch")
    specs: list[BatchSpec] = []
    seen: dict[str, int] = {}
    for node, path in policy.items("batches", most=100):
        batch = Section(
            node,
            path,
            policy.problems,
            keys=("name", "percentage", "soak_minutes", "metrics", "advance"),
        )
        batch.require("name", "percentage")
        batch.require("soak_minutes", why="; 0 means that the next batch follows at once")
        spec = BatchSpec(
            name=batch.name("name"),
            percentage=batch.number("percentage", 0, above=True, high=100),
            soak_seconds=60 * batch.number("soak_minutes", 0, high=_WEEK_IN_MINUTES),
            metrics=batch.names("metrics", form=KPI, rule=KPI_RULE),
            advance=batch.choice("advance", advance, ADVANCE),
        )
        _check_batch_name(batch, spec.name, seen)
        specs.append(spec)
    listed = policy.node("batches")
    if listed is not None:
        _check_sum(policy, listed.line, specs)
    return tuple(specs)


def _check_batch_name(batch: Section, name: str, seen: dict[str, int]) -> None:
    if not name:
        return
    if name == HOLD_BACK:
        message = f"'{HOLD_BACK}' is the batch that hold_back_percentage makes; choose another name"
        batch.note(batch.line, "name", message)
    elif name in seen:
        message = f"the batch on line {seen[name]} is called '{name}' too; choose another name"
        batch.note(batch.line, "name", message)
    else:
        seen[name] = batch.line


def _check_sum(policy: Section, line: int, specs: list[BatchSpec]) -> None:
    """Note percentages that miss 100; silent when one of them could not be read anyway."""
    prefix = f"{policy.path}.batches"
    unreadable = any(
        problem.path == prefix
        or (problem.path.startswith(f"{prefix}[") and problem.path.endswith(("]", ".percentage")))
        for problem in policy.problems
    )
    total = sum(spec.percentage for spec in specs)
    # The contract's tolerance is 0.01; the rest forgives what binary fractions add to it.
    if not unreadable and abs(total - 100) > 0.01 + 1e-9:
        message = (
            f"the percentages add up to {total:g}; change them so that they add up to 100"
            if specs
            else "there is no batch; add at least one, with percentage: 100"
        )
        policy.note(line, "batches", message)
