"""Django's error pages and the queue's failures show no secret, with debugging on too."""

import pytest
from django.test import RequestFactory
from django.views.debug import get_exception_reporter_class, technical_500_response
from django_q.models import Task

from tests.web.api_scene import now
from upgradeconsole.known_secrets import MASK, remember

# Put together here: a page shows the source, and what stands in it.
CANARY, TYPED, GIVEN, SESSION = (
    "-".join(["c4nary", "in", place]) for place in ("known", "typed", "given", "session")
)


def fails_with(value: str, password: str) -> None:
    token = f"Bearer {value}"
    raise RuntimeError(f"the platform refused {token} of {len(password)}")


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_debug_page_shows_code_and_no_secret(settings, accept):
    settings.DEBUG = True
    settings.EMAIL_HOST_PASSWORD = settings.METRICS_TOKEN = CANARY
    remember(CANARY)
    request = RequestFactory().post(
        "/plans/?page=2",
        {"password1": TYPED, "name": "Olga", "other": CANARY},
        headers={"authorization": f"Bearer {CANARY}", "accept": accept},
    )
    request.COOKIES["sessionid"] = SESSION
    try:
        fails_with(CANARY, GIVEN)
    except RuntimeError as error:
        answer = technical_500_response(request, type(error), error, error.__traceback__)
    page = answer.content.decode()
    assert "the platform refused" in page
    assert "fails_with" in page
    for secret in (CANARY, TYPED, GIVEN, SESSION):
        assert secret not in page, secret
    assert settings.SECRET_KEY not in page


def test_django_uses_our_reporter():
    assert get_exception_reporter_class(RequestFactory().get("/")).__name__ == "SecretsReporter"


@pytest.mark.django_db
def test_the_failure_of_a_task_is_kept_without_its_secrets():
    remember(CANARY)
    Task.objects.create(
        id="a" * 32,
        name="deliver",
        func="reports.tasks.deliver",
        started=now(),
        stopped=now(),
        success=False,
        result=f"refused : Traceback ...\nRuntimeError: password=hunter2hunter2 {CANARY}",
    )
    kept = Task.objects.get().result
    assert kept.startswith("refused : Traceback ...\nRuntimeError: ")
    assert MASK in kept
    assert CANARY not in kept
    assert "hunter2" not in kept
