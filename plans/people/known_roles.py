"""Which approval roles there are."""

from plans.models import ApprovalRequest, RoleBinding
from plans.policies.newest import written_by_people
from plans.policies.policy_yaml import parse_policy_file


def known_approval_roles() -> list[str]:
    """Return the approval roles that people hold, that plans wait for, or that policies ask for."""
    known = set(
        RoleBinding.objects.filter(kind=RoleBinding.APPROVAL).values_list("role", flat=True)
    )
    for asked in ApprovalRequest.objects.filter(outcome="").values_list("roles", flat=True):
        known |= set(asked)
    for row in written_by_people():
        for rule in parse_policy_file(row.text).approvals.values():
            known |= set(rule.required_roles)
    return sorted(known)
