"""Who may, at every address: each role on its own tenants and on another's, each method.

The addresses come from the resolver, so none can be forgotten. What is expected of a role is read
from ROLES_OF_ACTION: where it may, the endpoint answers for itself (what the state allows is tested
elsewhere); where it may not, 403; another's tenants do not exist, 404.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from plans.api.access import ConsoleView
from plans.models import TrustKey, User
from plans.people.permissions import PLATFORM_ACTIONS, ROLES_OF_ACTION
from tests.web.access_scene import (
    APPROVES,
    EU,
    HOLDERS,
    MISSING,
    OTHER,
    OWN,
    TwoSides,
)
from tests.web.api_scene import configure
from tests.web.endpoints import ANYBODY, API, LOGGED_IN, PAGES, PLAN, WAITING, Endpoint

# Thousands of requests, on a machine that does other things too.
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(360)]
TOKEN = "t" * 32
BARRED = {401, 403, 404, 405, 500}
ELSEWHERE = ("accounts/", "admin/", "favicon.ico")
"""allauth's own pages, the admin's (their own matrix), and a redirect to the icon."""
ENDPOINTS = PAGES | API
KWARG_OF = {
    "plan": ("plan_id", "plan"),
    "waiting": ("plan_id", "plan"),
    "tenant": ("key",),
    "freeze": ("freeze_id", "freeze"),
    "schedule": ("schedule_id", "schedule"),
    "glass": ("break_glass_id", "break_glass"),
    "drill": ("drill",),
    "report": ("report_id",),
    "token": ("token_id", "token"),
}


def patterns(resolver: Any = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in (resolver or get_resolver()).url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, route)
        else:
            yield route, entry


OURS = {
    str(entry.name): (route, entry)
    for route, entry in patterns()
    if not route.startswith(ELSEWHERE)
}


def test_every_address_is_classified():
    named = [entry.name for route, entry in patterns() if not route.startswith(ELSEWHERE)]
    assert len(named) == len(set(named)), "each address has a name of its own"
    unknown = sorted(set(OURS) - set(ENDPOINTS))
    assert not unknown, (
        f"{', '.join(unknown)}: say in tests/web/endpoints.py which action each method takes and"
        " whose tenants the address is about (PAGES or API)."
    )
    gone = sorted(set(ENDPOINTS) - set(OURS))
    assert not gone, f"{', '.join(gone)}: there is no such address; take it out of endpoints.py."


@pytest.mark.parametrize("name", sorted(API))
def test_an_endpoint_asks_a_token_for_the_action_that_it_is_classified_by(name):
    view: Any = getattr(OURS[name][1].callback, "cls", None)
    if not (isinstance(view, type) and issubclass(view, ConsoleView)):
        assert API[name].methods == {"GET": LOGGED_IN}
        return
    handlers = {method.upper() for method in ("get", "post", "put", "patch", "delete")
                if hasattr(view, method)}  # fmt: skip
    # Who measures a policy writes policies or plans; a token for plans is wide enough.
    wanted = {m: "draft" if a == "measure" else a for m, a in API[name].methods.items()}
    assert {method: view.token_actions.get(method) for method in handlers} == wanted


class Asker:
    """Asks endpoints in the name of people; whatever that writes is taken back."""

    def __init__(self, scene: TwoSides) -> None:
        self.scene = scene
        self.browsers: dict[Any, Client] = {}

    def browser(self, who: User) -> Client:
        if who.pk not in self.browsers:
            client = Client(enforce_csrf_checks=True, raise_request_exception=False)
            client.force_login(who)
            self.browsers[who.pk] = client
        client = self.browsers[who.pk]
        client.cookies["csrftoken"] = TOKEN
        return client

    def address(self, name: str, side: str, who: User) -> str:
        endpoint = ENDPOINTS[name]
        kwargs = {key: self.sample(value) for key, value in endpoint.kwargs.items()}
        if endpoint.about:
            route = OURS[name][0]
            named = next(k for k in KWARG_OF[endpoint.about] if f":{k}>" in route)
            kwargs[named] = self.scene.named(endpoint.about, side, who)
        return reverse(name, kwargs=kwargs)

    def sample(self, value: Any) -> Any:
        samples = {
            "release": self.scene.release.pk,
            "key": TrustKey.objects.get().key_id,
            "request": self.scene.request.pk,
            "role": self.scene.mara.role_bindings.get().pk,
            "freeze": str(self.scene.freezes[OWN].pk),
            "digest": self.scene.digest(),
        }
        return samples.get(value, value) if isinstance(value, str) else value

    def status(self, name: str, method: str, side: str, who: User, *, csrf: bool = True) -> int:
        client = self.browser(who)
        headers: dict[str, Any] = {
            "HTTP_ACCEPT": "application/json" if name.startswith("live-") else "*/*"
        }
        if csrf:
            headers["HTTP_X_CSRFTOKEN"] = TOKEN
        given = {key: self.sample(value) for key, value in ENDPOINTS[name].given.items()}
        with transaction.atomic():
            where = self.address(name, side, who)
            if method == "GET":
                answer = client.get(where, given, **headers)
            elif name in API:
                kind = "text/csv" if name == "api-tenant-import" else "application/json"
                body = json.dumps(given)
                answer = client.generic(method, where, body, content_type=kind, **headers)
            elif method == "POST":
                answer = client.post(where, given, **headers)
            else:
                answer = client.generic(method, where, **headers)
            transaction.set_rollback(True)
        if answer.status_code == 302 and "/accounts/login" in answer["Location"]:
            return 401
        return int(answer.status_code)


@pytest.fixture
def asker(settings, tmp_path) -> Asker:
    configure(settings, tmp_path)
    return Asker(TwoSides())


def told(wrong: list[str]) -> str:
    return f"{len(wrong)} answers are wrong:\n" + "\n".join(wrong)


def may(holder: str, action: str, *, everywhere: bool) -> bool:
    """Return what ROLES_OF_ACTION expects of somebody with this role alone."""
    if action in (ANYBODY, LOGGED_IN):
        return True
    if action == "approve":
        return holder == APPROVES
    if action == "measure":
        policies = everywhere and holder in ROLES_OF_ACTION["manage_policies"]
        return policies or holder in ROLES_OF_ACTION["draft"]
    if action == "override_freeze":
        return False  # Nobody was named by the freeze.
    if action in PLATFORM_ACTIONS and not everywhere:
        return False
    return holder in ROLES_OF_ACTION[action] or (action == "view" and holder == APPROVES)


# The longest tests, so that one is told of the half that is wrong.
IN_PARTS = pytest.mark.parametrize("part", [PAGES, API], ids=["pages", "api"])


def methods(
    part: dict[str, Endpoint] = ENDPOINTS, *, about: bool = False
) -> Iterator[tuple[str, Endpoint, str, str]]:
    """Return every method of every address, of those only that name something when asked so."""
    for name, endpoint in sorted(part.items()):
        if about and not endpoint.about:
            continue
        for method, action in endpoint.methods.items():
            yield name, endpoint, method, action


@IN_PARTS
def test_each_role_may_what_it_says_on_its_own_tenants(asker, part):
    wrong = []
    for name, endpoint, method, action in methods(part):
        for holder, who in asker.scene.people.items():
            got = asker.status(name, method, OWN, who)
            if may(holder, action, everywhere=False):
                right = got in endpoint.own_is or got not in BARRED
            elif may(holder, "view", everywhere=False) or not endpoint.about:
                right = got == 403
            else:
                right = got in {403, 404}
            if not right:
                wrong.append(f"{method} {name} as {holder}: {got}")
    assert not wrong, told(wrong)


@IN_PARTS
def test_what_is_anothers_does_not_exist(asker, part):
    """The answer is the one for what there is not at all, and 404 to whoever holds the right."""
    wrong = []
    for name, endpoint, method, action in methods(part, about=True):
        for holder, who in asker.scene.people.items():
            got = asker.status(name, method, OTHER, who)
            missing = asker.status(name, method, MISSING, who)
            holds = endpoint.about in (PLAN, WAITING) or may(holder, action, everywhere=False)
            if got != missing or got not in ({404} if holds else {403, 404}):
                wrong.append(f"{method} {name} as {holder} of eu: {got}, missing {missing}")
    assert not wrong, told(wrong)


def test_what_concerns_all_tenants_takes_the_role_over_all(asker):
    wrong = []
    people = {holder: asker.scene.holder(holder, {}) for holder in HOLDERS}
    for name, endpoint, method, action in methods():
        if action not in PLATFORM_ACTIONS:
            continue
        for holder, who in people.items():
            got = asker.status(name, method, OWN, who)
            open_to_them = got in endpoint.own_is or got not in BARRED
            right = open_to_them if may(holder, action, everywhere=True) else got == 403
            if not right:
                wrong.append(f"{method} {name} as {holder}: {got}")
    assert not wrong, told(wrong)


def test_nobody_gets_in_without_logging_in(asker):
    wrong = []
    for name, _endpoint, method, action in methods():
        got = Client().generic(method, asker.address(name, OWN, asker.scene.mara))
        to_login = got.status_code == 302 and "/accounts/login" in got["Location"]
        if action != ANYBODY and not to_login and got.status_code != 401:
            wrong.append(f"{method} {name}: {got.status_code}")
    assert not wrong, told(wrong)


def allowed(asker: Asker, action: str) -> User:
    """Return somebody who may."""
    for holder in HOLDERS:
        if may(holder, action, everywhere=False):
            return asker.scene.people[holder]
    return asker.scene.ada


def test_nothing_is_done_for_a_page_elsewhere(asker):
    """A request that does not carry the token of the session is a request of another site."""
    wrong = []
    for name, _endpoint, method, action in methods():
        if method == "POST":
            got = asker.status(name, method, OWN, allowed(asker, action), csrf=False)
            if got != 403:
                wrong.append(f"{method} {name}: {got}")
    assert not wrong, told(wrong)


def test_other_methods_are_not_allowed(asker):
    wrong = []
    for name, endpoint in sorted(ENDPOINTS.items()):
        who = allowed(asker, next(iter(endpoint.methods.values())))
        for method in sorted({"GET", "POST", "PUT", "PATCH", "DELETE"} - set(endpoint.methods)):
            got = asker.status(name, method, OWN, who)
            if got != 405:
                wrong.append(f"{method} {name}: {got}")
    assert not wrong, told(wrong)


def test_a_narrower_role_reaches_no_further(asker):
    """Somebody of eu and gold sees neither the plan of all of eu nor that of us."""
    both = asker.scene.people["viewer"]
    both.role_bindings.update(selector=EU | {"tier": "gold"})
    assert asker.status("live-plan", "GET", OWN, both) == 404
    assert asker.status("live-plan", "GET", OTHER, both) == 404
