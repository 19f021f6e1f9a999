"""The metric sources as pages and API show them: what each is for, and how it is."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from batches.configured import dictionary
from batches.kpis.dictionary_sources import PUSHED_KINDS
from batches.metric_sources import SourceSpec
from batches.models import PipelineEvent, PushedSource, SourceState
from plans.models import Plan, Tenant, User

EVENTS_SHOWN = 20
NOT_READ_LATELY = timedelta(minutes=2)
KIND_WORDS = {
    "prometheus_text": "Page of Prometheus text",
    "prometheus": "Prometheus",
    "json_http": "JSON over HTTP",
    "push": "Pushed metrics",
    "cdevents": "Pipeline events",
    "simulated": "Simulated",
}
CAUSE_WORDS = {
    "source_down": "Down",
    "timeout": "Too slow",
    "unauthorized": "Not let in",
    "bad_answer": "Bad answer",
    "name_gone": "Metric gone",
}


@dataclass(frozen=True, slots=True)
class ShownSource:
    """One source."""

    name: str
    kind: str
    kind_words: str
    where: str
    kpis: tuple[str, ...]
    health: str
    label: str
    state: SourceState | None
    pushed: PushedSource | None
    max_series: int | None

    @property
    def breaker(self) -> str:
        """Return the state of the circuit breaker, empty where nobody has read the source."""
        return self.state.state if self.state else ""


def sources_shown(now: datetime) -> list[ShownSource]:
    """Return the dictionary's sources. Raises BadInput with the problems of the file."""
    known = dictionary()
    kpis: dict[str, list[str]] = defaultdict(list)
    for mapping in known.mappings:
        kpis[mapping.source].append(mapping.kpi)
    states = {state.name: state for state in SourceState.objects.all()}
    pushed = {source.name: source for source in PushedSource.objects.all()}
    return [
        _shown(spec, tuple(kpis[spec.name]), states.get(spec.name), pushed.get(spec.name), now)
        for spec in known.sources.values()
    ]


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """What a pipeline told, with the plans that the reader may see."""

    sentence: str
    at: datetime
    plugin: str
    version: str
    seen_plans: tuple[Plan, ...]


def latest_pipeline_events(user: User) -> list[ShownEvent]:
    """Return what pipelines told last of the plans and tenants that the person may see."""
    rows = list(PipelineEvent.objects.order_by("-received_at")[:EVENTS_SHOWN])
    names = {name for row in rows for name in row.plans}
    visible = Plan.objects.visible_to(user)
    plans = {plan.external_id: plan for plan in visible.filter(external_id__in=names)}
    told_of = {row.tenant for row in rows if row.tenant}
    # A tenant that the console does not know (yet) is nobody's.
    others = set(Tenant.objects.filter(key__in=told_of).values_list("key", flat=True)).difference(
        Tenant.objects.visible_to(user).filter(key__in=told_of).values_list("key", flat=True)
    )
    rows = [row for row in rows if row.tenant not in others]
    return [
        ShownEvent(row.sentence, row.at, row.plugin, row.version, seen)
        for row in rows
        if (seen := tuple(plans[name] for name in row.plans if name in plans)) or not row.plans
    ]


def _shown(
    spec: SourceSpec,
    kpis: tuple[str, ...],
    state: SourceState | None,
    pushed: PushedSource | None,
    now: datetime,
) -> ShownSource:
    is_pushed = spec.kind in PUSHED_KINDS
    if is_pushed and (state is None or state.cause in ("", "name_gone")):
        health, label = _heard(spec, pushed, now)
    else:
        health, label = _health(state, now)
    return ShownSource(
        name=spec.name,
        kind=spec.kind,
        kind_words=KIND_WORDS[spec.kind],
        where=_where(spec),
        kpis=kpis,
        health=health,
        label=label,
        state=state,
        pushed=pushed if is_pushed else None,
        max_series=int(spec.options.get("max_series", 0)) or None if is_pushed else None,
    )


def _health(state: SourceState | None, now: datetime) -> tuple[str, str]:
    """Return the word of a state's badge and its text."""
    if state is None:
        return "undecided", "Not read yet"
    if state.cause:
        return "no_data", CAUSE_WORDS.get(state.cause, state.cause)
    if now - state.read_at > NOT_READ_LATELY:
        return "undecided", "Not read now"
    return "fine", "Answers"


def _heard(spec: SourceSpec, pushed: PushedSource | None, now: datetime) -> tuple[str, str]:
    """Return the badge of a source that is sent to: it answers even where nobody sends."""
    if pushed is None or pushed.last_at is None:
        return "undecided", "Nothing was sent yet"
    if now - pushed.last_at <= timedelta(seconds=spec.stale_seconds):
        return "fine", "Receives"
    # Pipelines run now and then; metrics that stop coming are a fault.
    return ("no_data", "Silent") if spec.kind == "push" else ("undecided", "Nothing sent lately")


def _where(spec: SourceSpec) -> str:
    if spec.kind in PUSHED_KINDS:
        return "/api/v1/cdevents/" if spec.kind == "cdevents" else f"/otlp/{spec.name}/v1/metrics"
    url = str(spec.options.get("url", ""))
    parts = urlsplit(url)
    # A query of the address may hold a key.
    return f"{parts.scheme}://{parts.netloc}{parts.path}" if url else ""
