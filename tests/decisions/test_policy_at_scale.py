"""A policy at another scale: what a rehearsal runs in seconds instead of hours."""

from plans.policies.policy import BatchSpec, Guardrail, Limits, UpgradePolicy

POLICY = UpgradePolicy(
    name="safe-rollout",
    batches=(BatchSpec("canary", 5, 1800), BatchSpec("rest", 95, 3600)),
    guardrails=(Guardrail("error_rate", at_most=5, window_seconds=60),),
    limits=Limits(look_seconds=5),
)


def test_soaks_and_windows_are_multiplied():
    scaled = POLICY.at_scale(0.5)

    assert [batch.soak_seconds for batch in scaled.batches] == [900, 1800]
    assert scaled.guardrails[0].window_seconds == 30


def test_a_window_keeps_room_for_two_looks():
    assert POLICY.at_scale(0.01).guardrails[0].window_seconds == 12


def test_a_window_that_was_shorter_than_two_looks_stays_as_it_was():
    short = UpgradePolicy(
        name="short", batches=POLICY.batches, guardrails=(Guardrail("x", window_seconds=8),)
    )

    assert short.at_scale(0.01).guardrails[0].window_seconds == 8


def test_at_its_own_scale_nothing_changes():
    assert POLICY.at_scale(1) is POLICY


def test_limits_keep_their_numbers():
    assert POLICY.at_scale(0.01).limits == POLICY.limits
