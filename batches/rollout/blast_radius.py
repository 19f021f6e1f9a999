"""How much an automatic rollback takes back, and what two rollbacks at once come to. Pure."""

from typing import Literal

Scope = Literal["plan", "batch", "tenants"]
Meeting = Literal["same", "widen", "apart"]


def automatic_scope(trigger: str, rule: str, *, about: str = "plan") -> Scope:
    """Return what goes back by itself: `rule` is the policy's `rollback.scope`.

    A pause that nobody resumed always takes everything back: that is what the pause promises. Under
    `tenant` only failed calls can be pinned on their tenants; a metric of the plan, missing data or
    an old hold cannot, and whose fault it is is not guessed: the plan goes back. `about`: what a
    broken guardrail judged; one about each tenant or about the batch takes no more than that back.
    """
    if trigger == "breach" and about != "plan":
        return "tenants" if about == "tenant" else "batch"
    if trigger == "pause" or rule == "plan":
        return "plan"
    if rule == "batch":
        return "batch"
    return "tenants" if trigger == "failure_rate" else "plan"


def meeting(running: str, asked: str, *, covered: bool) -> Meeting:
    """Return what asking for a rollback means while one of scope `running` has not ended.

    `covered`: everything asked for goes back under the running one already. Asking for the plan
    always widens; more tenants join those on their way; a batch and tenants beyond it stay apart.
    """
    if running == "plan" or covered:
        return "same"
    if asked == "plan" or running == asked == "tenants":
        return "widen"
    return "apart"
