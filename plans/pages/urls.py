"""Where the pages of plans are; those that need batches are in batches.pages.plan_form_urls."""

from django.urls import path

from plans.pages import (
    approvals,
    freezes,
    grants,
    keys,
    policies,
    releases,
    review,
    tenants,
    tokens,
    trail,
)
from plans.pages import step_up as pages_step_up

PLAN = "plans/<uuid:plan_id>"

urlpatterns = [
    path("accounts/enrol/", pages_step_up.enrol, name="enrol"),
    path("accounts/step-up/", pages_step_up.step_up, name="step-up"),
    path("accounts/step-up/resume/", pages_step_up.resume, name="step-up-resume"),
    path(f"{PLAN}/approve/", approvals.approve_plan, name="plan-approve"),
    path(f"{PLAN}/reject/", approvals.reject_plan, name="plan-reject"),
    path(f"{PLAN}/cancel/", approvals.cancel_plan, name="plan-cancel"),
    path(f"{PLAN}/archive/", approvals.archive_plan, name="plan-archive"),
    path(f"{PLAN}/grants/", grants.plan_grants, name="plan-grants"),
    path(f"{PLAN}/grants.json", grants.plan_grants_json, name="plan-grants-json"),
    path(f"{PLAN}/trail/", trail.plan_trail, name="plan-trail"),
    path(f"{PLAN}/trail.csv", trail.plan_trail_csv, name="plan-trail-csv"),
    path(f"{PLAN}/trail.jsonl", trail.plan_trail_jsonl, name="plan-trail-jsonl"),
    path("tenants/", tenants.tenant_list, name="tenant-list"),
    path("tenants/new/", tenants.tenant_new, name="tenant-new"),
    path("tenants/import/", tenants.tenant_import, name="tenant-import"),
    path("tenants/<str:key>/", tenants.tenant, name="tenant"),
    path("releases/", releases.release_list, name="release-list"),
    path("releases/register/", releases.release_register, name="release-register"),
    path("releases/<uuid:release_id>/verify/", releases.release_verify, name="release-verify"),
    path("releases/<uuid:release_id>/", releases.release, name="release"),
    path(
        "releases/<uuid:release_id>/quarantine/",
        releases.release_quarantine,
        name="release-quarantine",
    ),
    path("releases/<uuid:release_id>/lift/", releases.release_lift, name="release-lift"),
    path("releases/keys/", keys.key_list, name="key-list"),
    path("releases/keys/new/", keys.key_new, name="key-new"),
    path("releases/keys/<str:key_id>/", keys.key, name="key"),
    path("releases/keys/<str:key_id>/retire/", keys.key_retire, name="key-retire"),
    path("releases/keys/<str:key_id>/revoke/", keys.key_revoke, name="key-revoke"),
    path("freezes/", freezes.freeze_list, name="freeze-list"),
    path("freezes/new/", freezes.freeze_new, name="freeze-new"),
    path("freezes/<uuid:freeze_id>/lift/", freezes.freeze_lift, name="freeze-lift"),
    path("policies/", policies.policy_list, name="policy-list"),
    path("policies/check/", policies.policy_check, name="policy-check"),
    path("policies/<str:name>/", policies.policy_detail, name="policy"),
    path("access/", review.review_page, name="access-review"),
    path("access.csv", review.review_csv, name="access-review-csv"),
    path(
        "access/requests/<uuid:request_id>/confirm/",
        review.role_confirm,
        name="role-confirm",
    ),
    path("access/requests/<uuid:request_id>/refuse/", review.role_refuse, name="role-refuse"),
    path("tokens/", tokens.token_list, name="token-list"),
    path("tokens/new/", tokens.token_new, name="token-new"),
    path("tokens/<uuid:token_id>/revoke/", tokens.token_revoke, name="token-revoke"),
    path("trail/", trail.system_trail, name="trail"),
    path("trail.csv", trail.system_trail_csv, name="trail-csv"),
    path("trail.jsonl", trail.system_trail_jsonl, name="trail-jsonl"),
    path("trail-everything.jsonl", trail.everything_jsonl, name="trail-everything-jsonl"),
]
