"""Keep policies as they were handed in; a changed text is a new row, never an edit."""

import hashlib
from datetime import datetime
from typing import Any

import rfc8785
from django.db import transaction

from plans.models import Policy, User
from plans.people.permissions import require
from plans.policies.newest import newest_policies
from plans.policies.policy import PolicyFile
from plans.policies.policy_yaml import PolicyRejected, parse_policy_file
from plans.refusal import BadInput
from plans.trail import events


def policy_digest(policy_file: PolicyFile, name: str) -> str:
    """Return the digest of a policy together with the approvals that its file defines."""
    approvals = {rule.name: rule.to_json() for rule in policy_file.approvals.values()}
    body: dict[str, Any] = {"policy": policy_file.policies[name].digest(), "approvals": approvals}
    return hashlib.sha256(rfc8785.dumps(body)).hexdigest()


def save_policy_text(
    *, text: str, source: str, by: User | None, now: datetime, via: str
) -> list[Policy]:
    """Keep every policy of a file that is new or changed; return the rows of the file's policies.

    Raises BadInput with every problem and its line.
    """
    if by is not None:
        require(by, "manage_policies")
    try:
        policy_file = parse_policy_file(text)
    except PolicyRejected as rejected:
        raise BadInput(
            [str(problem) for problem in rejected.problems],
            code="policy_rejected",
        ) from rejected
    rows: list[Policy] = []
    with transaction.atomic():
        for name in policy_file.policies:
            digest = policy_digest(policy_file, name)
            row, made = Policy.objects.get_or_create(
                name=name,
                digest=digest,
                defaults={
                    "text": text,
                    "source": source,
                    "created_by": by,
                    "created_at": now,
                    "in_force_since": now,
                },
            )
            rows.append(row)
            if not made and not newest_policies().filter(pk=row.pk).exists():
                row.in_force_since = now
                row.save()
                events.record(
                    stream=None,
                    kind="policy_in_force_again",
                    sentence=f"Policy {name} went back to an earlier text from {source}"
                    f" (digest {digest[:12]}…).",
                    actor=by,
                    via=via,
                    now=now,
                    payload={"policy": name, "digest": digest, "source": source},
                )
            if made:
                events.record(
                    stream=None,
                    kind="policy_saved",
                    sentence=f"Policy {name} was saved from {source} (digest {digest[:12]}…).",
                    actor=by,
                    via=via,
                    now=now,
                    payload={"policy": name, "digest": digest, "source": source},
                )
    return rows
