"""The lives of batches and of tenant upgrades, as tables (see plans/lifecycle.py)."""

from plans.lifecycle import Lifecycle, Transition

BATCH = Lifecycle(
    noun="batch",
    initial="pending",
    states={
        "pending": "Pending",
        "deploying": "Deploying",
        "soaking": "Soaking",
        "passed": "Passed",
        "held": "Held",
        "rolling_back": "Rolling back",
        "rolled_back": "Rolled back",
        "needs_hand": "Needs a hand",
        "skipped": "Skipped",
        "stopped": "Stopped",
    },
    endings=frozenset({"passed", "rolled_back", "needs_hand", "skipped", "stopped"}),
    transitions=(
        Transition("open", ("pending",), "deploying", "start to call its tenants"),
        Transition("settle_calls", ("deploying",), "soaking", "no call is open any more"),
        Transition(
            "pass_soak", ("soaking",), "passed", "the soak is over and the metrics are fine"
        ),
        Transition(
            "hold", ("deploying", "soaking"), "held", "nothing new starts; a person decides"
        ),
        Transition("release_hold", ("held",), None, "back to where it was held from"),
        Transition(
            "begin_rollback",
            ("deploying", "soaking", "held", "passed", "stopped", "needs_hand"),
            "rolling_back",
            "take touched tenants back",
        ),
        Transition("finish_rollback", ("rolling_back",), "rolled_back", "all are back"),
        Transition(
            "escalate",
            ("rolling_back", "deploying", "soaking", "held"),
            "needs_hand",
            "tenants need a person",
        ),
        Transition("settle_rolled_back", ("needs_hand",), "rolled_back", "settled as taken back"),
        Transition("settle_passed", ("needs_hand",), "passed", "settled as upgraded"),
        Transition(
            "reopen",
            ("soaking", "held", "passed", "rolled_back"),
            "deploying",
            "a person has some of its tenants called again; its soak begins anew",
        ),
        Transition("skip", ("pending",), "skipped", "will not be done"),
        Transition(
            "stop", ("deploying", "soaking", "held"), "stopped", "left as it is by a person"
        ),
        Transition("unskip", ("skipped",), "pending", "will be done after all"),
    ),
)
LIVE_BATCH_STATES = ("deploying", "soaking", "held")

TENANT_UPGRADE = Lifecycle(
    noun="tenant upgrade",
    initial="pending",
    states={
        "pending": "Pending",
        "upgrading": "Upgrading",
        "upgraded": "Upgraded",
        "failed": "Failed",
        "unknown": "Unknown",
        "restoring": "Restoring",
        "rolled_back": "Rolled back",
        "needs_hand": "Needs a hand",
        "excluded": "Excluded",
    },
    endings=frozenset({"upgraded", "rolled_back", "needs_hand", "excluded"}),
    transitions=(
        Transition(
            "claim",
            ("pending", "failed", "unknown", "rolled_back"),
            "upgrading",
            "a new intent: generation and fence rise",
        ),
        Transition("confirm", ("upgrading", "unknown"), "upgraded", "the target was observed"),
        Transition("fail", ("upgrading",), "failed", "attempts are used up or refused"),
        Transition("lose", ("upgrading",), "unknown", "nobody knows whether it was applied"),
        Transition("release", ("upgrading",), "pending", "stopped before its call was sent"),
        Transition(
            "begin_restore",
            ("upgrading", "upgraded", "failed", "unknown", "needs_hand"),
            "restoring",
            "a new intent: generation and fence rise",
        ),
        Transition("restored", ("restoring",), "rolled_back", "the version before was observed"),
        Transition("reopen", ("rolled_back",), "unknown", "the last look showed another version"),
        Transition(
            "give_up", ("restoring", "unknown", "failed"), "needs_hand", "a person must look"
        ),
        Transition(
            "supersede",
            ("upgraded", "failed", "unknown", "needs_hand", "restoring"),
            "excluded",
            "a newer plan has moved this tenant on",
        ),
        Transition("settle_rolled_back", ("needs_hand",), "rolled_back", "settled as taken back"),
        Transition("settle_upgraded", ("needs_hand",), "upgraded", "settled as upgraded"),
        Transition("settle_excluded", ("needs_hand",), "excluded", "settled as left out"),
        Transition("exclude", ("pending", "failed", "rolled_back"), "excluded", "left out"),
        Transition(
            "retry",
            ("failed", "rolled_back", "excluded"),
            "pending",
            "a person has it called again",
        ),
        Transition(
            "retry_touched",
            ("failed", "unknown"),
            "unknown",
            "a person has it called again, and nobody knows what it runs",
        ),
        Transition("call_off", ("pending",), "rolled_back", "its retry was never called"),
    ),
)
