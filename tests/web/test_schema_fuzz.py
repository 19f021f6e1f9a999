"""The API does what its own OpenAPI document says, whatever is sent to it, and by whom.

schemathesis makes of the document what is sent, right and wrong; tests/schema_run.py sets it up.
"""

from typing import Any

import pytest
import schemathesis
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from plans.models import RoleBinding, User
from plans.people.machine_access import make_token
from tests.schema_run import Known, TakenBack, in_process, wrong_answers
from tests.web.access_scene import OTHER, OWN, TwoSides
from tests.web.api_scene import configure, now

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
ROLES = (
    *("viewer", "operator", "release_manager", "approver", "auditor", "telemetry"),
    "administrator",  # over the tenants of one side, while Ada's reach everywhere
)


def document() -> dict[str, Any]:
    told: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return told


def operations() -> list[tuple[str, str]]:
    return [(path, method) for path, entry in document()["paths"].items() for method in entry]


def token(user: User, *scopes: str) -> str:
    made = make_token(
        user=user, name="asks", days=1, scopes=scopes, by=None, now=now(), via="command"
    )
    return made.secret


def known(scene: TwoSides) -> Known:
    """Return names that lead somewhere, by where they are asked for."""
    plans = [scene.plans[OWN].pk, scene.plans[OTHER].pk, scene.waiting[OWN].pk, "in-eu"]
    hers = make_token(user=scene.ada, name="hers", days=1, by=None, now=now(), via="command")
    return {
        "path.plan": plans,
        "path.release": [scene.release.pk],
        "path.schedule": [scene.schedules[OWN].pk],
        "path.drill": [scene.drills[OWN].pk],
        "path.freeze": [scene.freezes[OWN].pk],
        "path.break_glass": [scene.glass[OWN].pk],
        "path.asked": [scene.request.pk],
        "path.role": [RoleBinding.objects.get(user=scene.people["operator"]).pk],
        "path.token": [hers.token.pk],
        "path.person": ["nils@example.org"],
        "path.kpi": ["error_rate"],
        "path.name": ["safe-rollout"],
        "path.key": [scene.key.key_id],
        "path.source": ["fleet"],
        "query.source": ["fleet"],
        "query.policy": ["safe-rollout"],
        "query.plugin": ["pay"],
        "body.plan": plans,
        "body.external_id": ["in-eu", "new-1"],
        "body.plugin": ["pay"],
        "body.to_version": ["1.5.0"],
        "body.policy": ["safe-rollout"],
        "body.deployer": ["fleet"],
        "body.source": ["fleet"],
        "body.person": ["nils@example.org"],
        "body.role": ["operator", "system_admin"],
        "body.timezone": ["Europe/Berlin"],
    }


@pytest.fixture
def scene(settings, tmp_path) -> TwoSides:
    configure(settings, tmp_path)
    settings.ALLOWED_HOSTS = ["localhost", "testserver"]
    return TwoSides()


@pytest.mark.timeout(600)
def test_the_api_answers_everybody_as_its_document_says(scene):
    others = {role: token(scene.people[role]) for role in ROLES}
    others["a token that may only read"] = token(scene.people["operator"], "read")
    asking = in_process(token(scene.ada), known(scene), others=others, examples=2)
    schema = schemathesis.openapi.from_dict(document(), config=asking)
    with TakenBack() as schema.app:
        wrong = wrong_answers(schema)
    assert not wrong, f"{len(wrong)} answers are wrong:\n" + "\n".join(wrong)


def test_a_token_that_nobody_gave_opens_nothing(scene):
    opened = []
    for path, method in operations():
        where = path.replace("{plan}", str(scene.plans[OWN].pk)).replace("{", "").replace("}", "")
        answer = Client().generic(method.upper(), where, headers={"authorization": "Bearer no"})
        if answer.status_code not in (401, 404):
            opened.append(f"{method} {where}: {answer.status_code}")
    assert not opened


def test_each_operation_has_a_name_of_its_own_that_stays():
    names = [
        operation["operationId"]
        for methods in document()["paths"].values()
        for operation in methods.values()
    ]
    assert len(names) == len(set(names)) > 80
    assert not [name for name in names if name[-1].isdigit()], "told apart by numbers"
