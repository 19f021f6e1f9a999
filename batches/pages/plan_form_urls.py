"""Where the pages around plans are that need batches; included before batches.pages.urls."""

from django.urls import path

from batches.pages import adjust, placebo, plan_form, replay

urlpatterns = [
    path("", plan_form.plan_list, name="home"),
    path("plans/", plan_form.plan_list, name="plan-list"),
    path("plans/new/", plan_form.plan_new, name="plan-new"),
    path("plans/preview/", plan_form.plan_preview, name="plan-preview"),
    path("plans/<uuid:plan_id>/edit/", plan_form.plan_edit, name="plan-edit"),
    path("plans/<uuid:plan_id>/submit/", plan_form.plan_submit, name="plan-submit"),
    path("plans/<uuid:plan_id>/adjust/", adjust.adjust_plan, name="plan-adjust"),
    path(
        "plans/<uuid:plan_id>/adjust/preview/",
        adjust.preview_plan_adjustment,
        name="plan-adjust-preview",
    ),
    path("plans/<uuid:plan_id>/replay/", replay.replay_plan, name="plan-replay"),
    path("policies/<str:name>/placebo/", placebo.placebo_page, name="policy-placebo"),
    path(
        "policies/<str:name>/placebo/panel/",
        placebo.placebo_panel,
        name="policy-placebo-panel",
    ),
    path("approvals/", plan_form.approval_inbox, name="approval-inbox"),
]
