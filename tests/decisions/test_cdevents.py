"""What a CDEvent says, and what it changes."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.pushes.cdevents import NotACDEvent, PipelineNews, read_cdevent
from batches.pushes.pipeline_metrics import Run, changes_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGEST = "ab" * 32


def attributes(kind="testsuiterun.finished", **more):
    return {
        "specversion": "1.0",
        "id": "271069a8",
        "source": "https://ci.example.org/shop",
        "type": f"dev.cdevents.{kind}.0.2.0",
    } | more


def body(content=None, subject_id="run-7", **more):
    return {
        "context": {"timestamp": "2026-03-01T11:59:30Z"},
        "subject": {"id": subject_id, "content": content or {}},
    } | more


def read(kind="testsuiterun.finished", content=None, *, tenant_path=None, **more):
    return read_cdevent(attributes(kind), body(content, **more), now=NOW, tenant_path=tenant_path)


def test_the_end_of_a_test_suite_is_read():
    news = read(
        content={
            "outcome": "FAIL",
            "reason": "two of nine failed",
            "testSuite": {"id": "smoke", "name": "Smoke"},
            "environment": {"id": "acorn"},
        }
    )
    assert (news.kind, news.good, news.tenant) == ("testsuiterun.finished", False, "acorn")
    assert news.at == NOW - timedelta(seconds=30)
    assert news.sentence == (
        "Test suite Smoke finished: fail (two of nine failed) in acorn,"
        " says https://ci.example.org/shop."
    )


@pytest.mark.parametrize(
    ("purl", "plugin", "version", "digest"),
    [
        ("pkg:generic/pay@1.5.0", "pay", "1.5.0", ""),
        (f"pkg:oci/team/pay@sha256%3A{DIGEST}?tag=1.5.0", "pay", "", DIGEST),
        (f"pkg:generic/pay@1.5.0?checksum=sha256:{DIGEST}", "pay", "1.5.0", DIGEST),
        ("pkg:npm/%40shop/pay@2.0.0%2B7", "pay", "2.0.0+7", ""),
        ("pay-1.5.0.zip", "", "", ""),
    ],
)
def test_the_artifact_names_plugin_version_and_digest(purl, plugin, version, digest):
    deployed = read("service.deployed", {"artifactId": purl})
    published = read("artifact.published", subject_id=purl)
    for news in (deployed, published):
        assert (news.plugin, news.version, news.digest) == (plugin, version, digest)


def test_what_the_sender_adds_itself_comes_first():
    custom = {"tenant": "birch", "plugin": "pay", "version": "1.6.0", "plan": "pay-7"}
    news = read(
        "service.deployed",
        {"artifactId": "pkg:generic/pay@1.5.0", "environment": {"id": "acorn"}},
        customData=custom,
    )
    assert (news.tenant, news.version, news.plan) == ("birch", "1.6.0", "pay-7")
    elsewhere = read(tenant_path="$.customData.site.name", customData={"site": {"name": "elm"}})
    assert elsewhere.tenant == "elm"


def test_what_must_not_be_shown_is_not_kept():
    news = read("pipelinerun.finished", {"errors": "password=hunter2\x1b[31m gone"})
    assert "hunter2" not in news.sentence
    assert "\x1b" not in news.sentence


@pytest.mark.parametrize(
    ("change", "data", "said"),
    [
        ({"specversion": "0.3"}, body(), "specversion"),
        ({"type": "org.example.thing"}, body(), "is no type of a CDEvent"),
        ({"id": ""}, body(), "id: write a text of 1 to 200"),
        ({"source": 7}, body(), "source: write a text"),
        ({}, None, "write the CDEvent with context and subject"),
        ({}, {"subject": {}}, "data.subject.id"),
        ({}, body() | {"context": {"timestamp": "noon"}}, "with its zone"),
        ({}, body(subject_id="a\x00b"), "cannot be kept"),
    ],
)
def test_each_mistake_is_named(change, data, said):
    with pytest.raises(NotACDEvent, match=said):
        read_cdevent(attributes() | change, data, now=NOW)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=15,
    ),
    st.sampled_from(["context", "subject", "customData", "content"]),
)
def test_no_event_breaks_the_reading(value, key):
    data = body()
    (data["subject"] if key == "content" else data)[key] = value
    with suppress(NotACDEvent):
        read_cdevent(attributes(), json.loads(json.dumps(data)), now=NOW)


# What it changes.


def news(subject="testsuiterun", predicate="finished", **more):
    values = {"tenant": "acorn", "version": "1.5.0", "outcome": "pass"} | more
    return PipelineNews("https://ci", "1", subject, predicate, "run-7", NOW, **values)


def values(event, run=None):
    return {
        change.metric: change.add if change.value is None else change.value
        for change in changes_of(event, run or Run())
    }


def test_an_ending_counts_and_says_zero_failures_too():
    assert values(news("build")) == {"build_finished_total": 1, "build_failed_total": 0}
    assert values(news("build", outcome="error"))["build_failed_total"] == 1
    assert values(news("build", outcome="cancel"))["build_failed_total"] == 0
    assert values(news("service", "deployed", outcome="")) == {"service_deployed_total": 1}


def test_an_ending_whose_start_is_known_has_a_duration():
    run = Run(started_at=NOW - timedelta(seconds=42))
    assert values(news("pipelinerun"), run)["pipelinerun_duration_seconds"] == 42
    after = Run(started_at=NOW + timedelta(seconds=1))
    assert "pipelinerun_duration_seconds" not in values(news("pipelinerun"), after)


def test_the_share_of_passed_cases_is_that_of_the_suite():
    assert values(news(), Run(passed=3, failed=1))["testsuiterun_pass_ratio"] == 0.75
    assert values(news())["testsuiterun_pass_ratio"] == 1
    assert values(news(outcome="fail"))["testsuiterun_pass_ratio"] == 0
    assert "testsuiterun_pass_ratio" not in values(news(outcome="cancel"))


def test_a_named_suite_is_also_kept_by_its_name_and_a_case_is_not():
    named = values(news(name="Smoke Tests!"))
    assert named["testsuiterun_pass_ratio.smoke_tests"] == 1
    assert set(values(news("testcaserun", name="x"))) == {
        "testcaserun_finished_total",
        "testcaserun_failed_total",
    }


def test_a_gauge_stands_for_the_newest_version_and_a_counter_for_its_own():
    old, new = changes_of(news(version="1.4"), Run()), changes_of(news(version="1.5"), Run())
    same = {change.metric for change in old} & {
        change.metric for change in new if change.identity in {one.identity for one in old}
    }
    assert same == {"testsuiterun_pass_ratio"}


def test_without_a_tenant_nothing_counts():
    assert changes_of(news(tenant=""), Run()) == []
