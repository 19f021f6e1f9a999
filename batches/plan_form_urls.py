"""Where the pages around plans are that need batches; included before batches.urls."""

from django.urls import path

from batches import adjust_views, placebo_views, plan_form_views, replay_views

urlpatterns = [
    path("", plan_form_views.plan_list, name="home"),
    path("plans/", plan_form_views.plan_list, name="plan-list"),
    path("plans/new/", plan_form_views.plan_new, name="plan-new"),
    path("plans/preview/", plan_form_views.plan_preview, name="plan-preview"),
    path("plans/<uuid:plan_id>/edit/", plan_form_views.plan_edit, name="plan-edit"),
    path("plans/<uuid:plan_id>/submit/", plan_form_views.plan_submit, name="plan-submit"),
    path("plans/<uuid:plan_id>/adjust/", adjust_views.adjust_plan, name="plan-adjust"),
    path(
        "plans/<uuid:plan_id>/adjust/preview/",
        adjust_views.preview_plan_adjustment,
        name="plan-adjust-preview",
    ),
    path("plans/<uuid:plan_id>/replay/", replay_views.replay_plan, name="plan-replay"),
    path("policies/<str:name>/placebo/", placebo_views.placebo_page, name="policy-placebo"),
    path(
        "policies/<str:name>/placebo/panel/",
        placebo_views.placebo_panel,
        name="policy-placebo-panel",
    ),
    path("approvals/", plan_form_views.approval_inbox, name="approval-inbox"),
]
