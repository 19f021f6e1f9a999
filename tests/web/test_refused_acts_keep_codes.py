"""A one-time code is used up by the act that it came along with, and by no act that is refused."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import cache

from plans.models import Event, RoleBinding, User
from plans.openings.freezing import declare_freeze, lift_freeze
from plans.releases.registering import revoke_key
from plans.releases.signature import new_key
from tests.web.api_scene import Scene, approved, configure, handed_in, now, post, url
from tests.web.factors import App

pytestmark = pytest.mark.django_db
Asked = tuple[User, str, dict[str, Any], int]
KEY = "/api/v1/keys/"
YEARS = "2046-01-01T00:00:00Z"
PERSON = "/api/v1/people/nils@example.org"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    cache.clear()
    configure(settings, tmp_path)
    return Scene()


def known_key(scene: Scene) -> Asked:
    given = {"name": "b", "public_key": scene.key.public_pem, "not_after": YEARS}
    return scene.ada, KEY, given, 409


def longer_key(scene: Scene) -> Asked:
    return scene.ada, f"{KEY}{scene.key.key_id}/retire", {"not_after": YEARS}, 422


def revoked_key(scene: Scene) -> Asked:
    revoke_key(key_id=scene.key.key_id, reason="x", by=None, now=now(), via="command")
    return scene.ada, f"{KEY}{scene.key.key_id}/revoke", {"reason": "lost"}, 409


def no_quarantine(scene: Scene) -> Asked:
    where = f"/api/v1/releases/{scene.release.pk}/lift"
    return scene.ada, where, {"reason": "looked at"}, 409


def held_role(scene: Scene) -> Asked:
    held = {"person": "olga@example.org", "kind": "console", "role": "operator"}
    return scene.ada, "/api/v1/roles/", held, 409


def no_request(scene: Scene) -> Asked:
    return scene.ada, f"/api/v1/role-requests/{uuid4()}/confirm", {}, 404


def no_factor(scene: Scene) -> Asked:
    return scene.ada, f"{PERSON}/reset-factors", {"reason": "lost"}, 409


def no_log_in(scene: Scene) -> Asked:
    return scene.ada, f"{PERSON}/release-log-in", {"reason": "lost"}, 409


def other_content(scene: Scene) -> Asked:
    handed_in(scene)
    return scene.aram, url("approve"), {"digest": "0" * 64}, 409


def not_theirs(scene: Scene) -> Asked:
    handed_in(scene)
    return scene.olga, url("approve"), {}, 403


def nothing_waits(scene: Scene) -> Asked:
    approved(scene)
    return scene.olga, url("promote"), {}, 409


def lifted_freeze(scene: Scene) -> Asked:
    approved(scene)
    freeze = declare_freeze(
        name="Sale",
        reason="quiet",
        overriders=["system_admin"],
        by=scene.ada,
        now=now(),
        via="page",
    )
    lift_freeze(freeze_id=freeze.pk, why="over", by=scene.ada, now=now(), via="page")
    return scene.aram, url("override-freeze"), {"freeze": str(freeze.pk), "reason": "x"}, 409


def no_gate(scene: Scene) -> Asked:
    handed_in(scene)
    RoleBinding.objects.create(user=scene.olga, kind=RoleBinding.CONSOLE, role="break_glass")
    given = {"act": "promote", "reason": "nobody of the approvers can be reached"}
    return scene.olga, url("break-glass"), given, 409


REFUSED: tuple[Callable[[Scene], Asked], ...] = (
    known_key, longer_key, revoked_key, no_quarantine, held_role, no_request, no_factor, no_log_in,
    other_content, not_theirs, nothing_waits, lifted_freeze, no_gate,
)  # fmt: skip


@pytest.mark.parametrize("refused", REFUSED)
def test_the_code_is_good_for_the_next_act(scene, settings, refused):
    who, where, given, status = refused(scene)
    settings.REQUIRE_MFA = True
    client, code = scene.client(who), App(who).code()

    for _ in range(6):
        answer = post(client, where, given | {"code": code})
        assert answer.status_code == status, answer.json()
    assert not Event.objects.filter(kind__in=["stepped_up", "login_failed"]).exists()
    RoleBinding.objects.get_or_create(user=who, kind="console", role="administrator")
    given = {"name": "b", "public_key": new_key().public_pem, "not_after": YEARS, "code": code}
    done = post(client, KEY, given)
    assert done.status_code == 201, done.json()
    assert Event.objects.get(kind="stepped_up").actor == who
