"""The pages and REST of the Kpi dictionary: what is in it, whether it fits, who may probe it."""

import pytest

from batches.models import KpiFit
from plans.models import Policy
from plans.policies.keeping import save_policy_text
from tests.use_cases.probed_sources import page_text, probed_page
from tests.web.api_scene import HAND_IN, POLICY_TEXT, Scene, body, configure, now, post
from tests.web.page_scene import browser, said, text_of

pytestmark = pytest.mark.django_db
LIST, ONE = "/kpis/", "/kpis/error_rate/"
PROBE, PROBE_ALL = "/kpis/error_rate/probe/", "/kpi-probe/"
API = "/api/v1/kpis/"
API_ONE, API_PROBE, API_ALL = f"{API}error_rate/", f"{API}error_rate/probe", f"{API}probe"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def metrics(scene, settings, tmp_path):
    with probed_page(settings, tmp_path) as metrics:
        yield metrics


def test_the_list_shows_what_is_known_before_anything_was_probed(scene, metrics):
    shown = text_of(browser(scene.rita).get(LIST))
    assert "also 5xx_rate" in shown
    assert "higher is better, 0 to 100" in shown
    assert shown.count("not probed") == 2
    assert "/policies/safe-rollout/" in shown


def test_the_list_and_the_kpi_show_what_was_found(scene, metrics):
    metrics.text = page_text(total="request_total")
    mara = browser(scene.mara)
    answer = mara.post(PROBE_ALL, follow=True)
    assert answer.redirect_chain == [(LIST, 302)]
    assert said(answer) == "2 mappings probed; 1 of them cannot be used as they are."
    assert "does not fit" in text_of(answer)
    shown = text_of(mara.get(ONE))
    assert "fleet has no series requests_total." in shown
    assert "Did you mean request_total?</p>" in shown
    assert "0 of 3" in shown


def test_a_kpi_that_fits_shows_its_values(scene, metrics):
    mara = browser(scene.mara)
    answer = mara.post(PROBE, follow=True)
    assert answer.redirect_chain == [(ONE, 302)]
    assert said(answer) == "1 mapping probed; all can be used."
    shown = text_of(answer)
    assert "Everything that a plan would read is there." in shown
    assert "3 of 3" in shown
    assert "0.5 %" in shown
    assert "<code>errors_total</code>" in shown
    assert "98 %" not in shown
    assert "98 %" in text_of(mara.post("/kpis/pass_rate/probe/", follow=True))


def test_an_alias_leads_to_its_kpi(scene, metrics):
    answer = browser(scene.rita).get("/kpis/5xx_rate/", follow=True)
    assert answer.redirect_chain == [(ONE, 302)]


def test_a_name_that_is_none_is_not_found(scene, metrics):
    mara = browser(scene.mara)
    assert mara.get("/kpis/eror_rate/").status_code == 404
    assert mara.post("/kpis/eror_rate/probe/").status_code == 404
    answer = scene.client(scene.mara).get(f"{API}eror_rate/")
    assert answer.status_code == 404
    assert "did you mean 'error_rate'" in answer.json()["detail"]
    assert post(scene.client(scene.mara), f"{API}eror_rate/probe").status_code == 404


@pytest.mark.parametrize("where", [PROBE, PROBE_ALL])
def test_who_may_only_look_may_not_probe(scene, metrics, where):
    assert browser(scene.rita).post(where).status_code == 403
    assert browser(scene.nils).post(where).status_code == 403
    assert not KpiFit.objects.exists()
    assert "Probe" not in text_of(browser(scene.rita).get(ONE)).replace("Probed", "")
    assert "Probe now" in text_of(browser(scene.olga).get(ONE))


@pytest.mark.parametrize("where", [LIST, ONE])
def test_strangers_see_nothing_and_pages_are_for_looking(scene, metrics, client, where):
    assert client.get(where).status_code == 302
    assert browser(scene.nils).get(where).status_code == 403
    assert browser(scene.mara).post(where).status_code == 405


@pytest.mark.parametrize("where", [PROBE, PROBE_ALL])
def test_a_probe_is_no_link(scene, metrics, where):
    assert browser(scene.mara).get(where).status_code == 405


def test_all_mistakes_of_the_file_are_shown_with_their_lines(scene, settings, metrics):
    text = settings.DICTIONARY_FILE.read_text().replace('"gauge"', '"gouge"')
    settings.DICTIONARY_FILE.write_text(text)
    rita = browser(scene.rita)
    line = text.splitlines().index('   "kind": "gouge",') + 1
    shown = text_of(rita.get(LIST))
    assert f"line {line}: kpis[1].kind" in shown
    assert "did you mean &#x27;gauge&#x27;" in shown
    assert rita.get(ONE).status_code == 302
    assert scene.client(scene.rita).get(API).status_code == 422


def test_rest_tells_the_same(scene, metrics):
    client = scene.client(scene.mara)
    (ratio, gauge) = client.get(API).json()
    assert (ratio["name"], ratio["aliases"], ratio["policies"]) == (
        "error_rate",
        ["5xx_rate"],
        ["safe-rollout"],
    )
    assert gauge["range"] == [0, 100]
    assert ratio["level"] is None
    assert ratio["mappings"][0]["probed_at"] is None
    assert ratio["mappings"][0]["selectors"] == [
        {"part": "bad", "text": "errors_total"},
        {"part": "total", "text": "requests_total"},
    ]
    probed = post(client, API_PROBE).json()
    assert probed["level"] == "fine"
    assert probed == client.get(API_ONE).json()
    assert probed["mappings"][0]["values"][0] == {"tenant": "acorn", "value": 0.5, "events": 200.0}
    metrics.text = ""
    every = post(client, API_ALL).json()
    assert [one["level"] for one in every] == ["error", "error"]
    mapping = every[0]["mappings"][0]
    assert mapping["tenants_without_data"] == ["acorn", "birch", "cedar"]
    assert mapping["findings"][0]["kind"] == "wrong_name"


def test_rest_is_for_those_who_may(scene, metrics):
    for where in (API, API_ONE):
        assert scene.client(scene.nils).get(where).status_code == 403
        assert scene.client(scene.mara).delete(where).status_code == 405
    for where in (API_PROBE, API_ALL):
        assert post(scene.client(scene.rita), where).status_code == 403
        assert scene.client(scene.mara).get(where).status_code == 405
        assert post(scene.client(scene.mara, scopes=["read"]), where).status_code == 403
        assert post(scene.client(scene.mara, scopes=["plan"]), where).status_code == 200
        assert post(scene.client(scene.mara), where, {"force": True}).status_code == 400


def test_handing_in_a_plan_names_every_kpi_that_does_not_fit(scene, metrics):
    metrics.text = page_text(total="request_total")
    answer = post(scene.client(scene.mara), HAND_IN, body())
    assert answer.status_code == 422
    assert answer.json()["code"] == "kpis_do_not_fit"
    assert "did you mean request_total" in answer.json()["errors"][0]["detail"]


def test_handing_in_a_plan_tells_what_only_warns(scene, metrics):
    # In this order cedar is of the last batch, and only the first one must have data.
    listed = POLICY_TEXT.replace("    rollback", "    selection: {order: listed}\n    rollback")
    save_policy_text(text=listed, source="test", by=None, now=now(), via="command")
    metrics.text = page_text(["acorn", "birch"])
    answer = post(scene.client(scene.mara), HAND_IN, body())
    assert answer.status_code == 201, answer.json()
    assert "1 of the plan's 3 tenants has no data: cedar" in answer.json()["warnings"][0]
    assert answer.json()["problems"] == []


def test_the_form_shows_what_the_last_probe_found(scene, metrics):
    metrics.text = page_text(["acorn", "birch"])
    mara = browser(scene.mara)
    mara.post(PROBE)
    fields = {
        "release": "pay@1.5.0",
        "policy": "safe-rollout",
        "deployer": "fleet",
        "tenants": "all",
    }
    shown = text_of(mara.post("/plans/preview/", fields))
    assert "How its Kpis are read" in shown
    assert "tenants has no data: cedar" in shown
    metrics.text = ""
    mara.post(PROBE)
    assert "the plan can be saved, not submitted" in text_of(mara.post("/plans/preview/", fields))


def test_a_policy_is_checked_against_the_dictionary(scene, metrics):
    wrong = Policy.objects.get().text.replace("error_rate: 5", "eror_rate: 5")
    ada = browser(scene.ada)
    shown = text_of(ada.post("/policies/check/", {"text": wrong}))
    line = next(n for n, text in enumerate(wrong.splitlines(), 1) if "eror_rate" in text)
    assert "no plan can be made with it yet" in shown
    assert f"line {line}" in shown
    assert "did you mean &#x27;error_rate&#x27;" in shown
    assert "eror_rate" in said(
        ada.post("/policies/check/", {"text": wrong, "act": "save"}, follow=True)
    )
    right = Policy.objects.order_by("pk")[0].text
    assert "no plan can be made" not in text_of(ada.post("/policies/check/", {"text": right}))
