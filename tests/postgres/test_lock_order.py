"""A transaction that takes its locks in a wrong order is noticed, whichever thread it runs in."""

import pytest
from django.db import transaction

from batches.models import Batch, TenantUpgrade
from plans.models import Plan
from tests.builders import a_started, opened
from tests.postgres.at_once import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def batch_before_plan(batch):
    with transaction.atomic():
        list(Batch.objects.select_for_update(no_key=True).filter(pk=batch.pk))
        Plan.objects.locked(batch.plan_id)


def plan_before_batch(batch):
    with transaction.atomic():
        Batch.objects.locked(batch.pk)
        TenantUpgrade.objects.filter(batch=batch).update(attempts=1)


@pytest.mark.parametrize(
    ("act", "problems"), [(batch_before_plan, 2), (plan_before_batch, 0)], ids=["wrong", "right"]
)
def test_the_order_is_watched_in_every_thread(scene, lock_order, act, problems):
    batch = opened(a_started(scene))
    at_once(lambda: act(batch))
    act(batch)
    assert len(lock_order.problems) == 2 * problems
    # Planted; the product's own would fail this test at its end.
    lock_order.problems.clear()
