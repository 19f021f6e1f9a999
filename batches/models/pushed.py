"""What others send to us: series of metrics, and what pipelines tell; and how sources are."""

import uuid

from django.db import models


class SourceState(models.Model):
    """How the reads of one metric source go; written by whoever reads it, to be shown."""

    name = models.CharField(max_length=63, unique=True)
    state = models.CharField(max_length=16, default="closed", help_text="Of the circuit breaker.")
    failures = models.PositiveIntegerField(default=0, help_text="Reads that failed, running.")
    cause = models.CharField(max_length=32, blank=True)
    sentence = models.CharField(max_length=300, blank=True)
    since = models.DateTimeField(help_text="Since when it has been so.")
    read_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return f"{self.name}: {self.cause or 'answers'}"


class PushedSource(models.Model):
    """One source that is sent to. Its row is the lock under which its series change."""

    name = models.CharField(max_length=63, unique=True)
    bucket_left = models.FloatField(null=True, blank=True)
    bucket_at = models.DateTimeField(null=True, blank=True)
    series = models.PositiveIntegerField(default=0, help_text="How many are kept.")
    accepted = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(default=0)
    last_refusal = models.CharField(max_length=300, blank=True)
    last_refused_at = models.DateTimeField(null=True, blank=True)
    last_at = models.DateTimeField(null=True, blank=True)
    last_by = models.CharField(max_length=120, blank=True, help_text="Whose token sent last.")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class PushedSeries(models.Model):
    """One series as it stands: the last values sent, and what was counted before them."""

    source = models.CharField(max_length=63)
    metric = models.CharField(max_length=200)
    identity = models.CharField(max_length=64, help_text="SHA-256 of metric and labels.")
    labels = models.JSONField(default=dict)
    kind = models.CharField(max_length=16)
    delta = models.BooleanField(default=False)
    at = models.DateTimeField()
    start = models.DateTimeField(null=True, blank=True)
    raw = models.JSONField(default=list)
    base = models.JSONField(default=list)
    bounds = models.JSONField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["source", "identity"], name="one_row_per_series"),
        )
        indexes = (
            models.Index(fields=["source", "metric", "at"], name="pushed_source_metric_at"),
            models.Index(fields=["at"], name="pushed_at"),
        )

    def __str__(self) -> str:
        return f"{self.metric} of {self.source}"


class PushReceipt(models.Model):
    """What was answered to a request with a key, so that the same again is answered the same."""

    source = models.CharField(max_length=63)
    key = models.CharField(max_length=200)
    digest = models.CharField(max_length=64)
    answer = models.JSONField(default=dict)
    at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["source", "key"], name="one_receipt_per_key"),
        )

    def __str__(self) -> str:
        return f"{self.key} of {self.source}"


class PipelineEvent(models.Model):
    """A CDEvent that came in: known once, whatever it changed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    origin = models.CharField(max_length=300, help_text="The CloudEvents source.")
    event_id = models.CharField(max_length=200)
    kind = models.CharField(max_length=120, help_text="Subject and predicate.")
    sentence = models.CharField(max_length=500)
    outcome = models.CharField(max_length=32, blank=True)
    subject_id = models.CharField(max_length=300, blank=True)
    tenant = models.CharField(max_length=63, blank=True)
    plugin = models.CharField(max_length=63, blank=True)
    version = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField()
    received_at = models.DateTimeField(db_index=True)
    plans = models.JSONField(default=list, help_text="The plans whose timeline tells of it.")

    class Meta:
        ordering = ("-received_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["origin", "event_id"], name="one_row_per_pipeline_event"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id}"


class PipelineRun(models.Model):
    """A run that pipelines told of, between its start and its end: what it took, what it found."""

    origin = models.CharField(max_length=300)
    kind = models.CharField(max_length=60, help_text="pipelinerun, taskrun, testsuiterun ...")
    run_id = models.CharField(max_length=300)
    started_at = models.DateTimeField(null=True, blank=True)
    passed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["origin", "kind", "run_id"], name="one_row_per_pipeline_run"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.run_id}"
