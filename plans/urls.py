"""Where the pages of plans are; those that need batches are in batches.plan_form_urls."""

from django.urls import path

from plans import (
    pages_approvals,
    pages_freezes,
    pages_grants,
    pages_keys,
    pages_policies,
    pages_releases,
    pages_review,
    pages_step_up,
    pages_tenants,
    pages_tokens,
    pages_trail,
)

PLAN = "plans/<uuid:plan_id>"

urlpatterns = [
    path("accounts/enrol/", pages_step_up.enrol, name="enrol"),
    path("accounts/step-up/", pages_step_up.step_up, name="step-up"),
    path("accounts/step-up/resume/", pages_step_up.resume, name="step-up-resume"),
    path(f"{PLAN}/approve/", pages_approvals.approve_plan, name="plan-approve"),
    path(f"{PLAN}/reject/", pages_approvals.reject_plan, name="plan-reject"),
    path(f"{PLAN}/cancel/", pages_approvals.cancel_plan, name="plan-cancel"),
    path(f"{PLAN}/archive/", pages_approvals.archive_plan, name="plan-archive"),
    path(f"{PLAN}/grants/", pages_grants.plan_grants, name="plan-grants"),
    path(f"{PLAN}/grants.json", pages_grants.plan_grants_json, name="plan-grants-json"),
    path(f"{PLAN}/trail/", pages_trail.plan_trail, name="plan-trail"),
    path(f"{PLAN}/trail.csv", pages_trail.plan_trail_csv, name="plan-trail-csv"),
    path(f"{PLAN}/trail.jsonl", pages_trail.plan_trail_jsonl, name="plan-trail-jsonl"),
    path("tenants/", pages_tenants.tenant_list, name="tenant-list"),
    path("tenants/new/", pages_tenants.tenant_new, name="tenant-new"),
    path("tenants/import/", pages_tenants.tenant_import, name="tenant-import"),
    path("tenants/<str:key>/", pages_tenants.tenant, name="tenant"),
    path("releases/", pages_releases.release_list, name="release-list"),
    path("releases/register/", pages_releases.release_register, name="release-register"),
    path(
        "releases/<uuid:release_id>/verify/", pages_releases.release_verify, name="release-verify"
    ),
    path("releases/<uuid:release_id>/", pages_releases.release, name="release"),
    path(
        "releases/<uuid:release_id>/quarantine/",
        pages_releases.release_quarantine,
        name="release-quarantine",
    ),
    path("releases/<uuid:release_id>/lift/", pages_releases.release_lift, name="release-lift"),
    path("releases/keys/", pages_keys.key_list, name="key-list"),
    path("releases/keys/new/", pages_keys.key_new, name="key-new"),
    path("releases/keys/<str:key_id>/", pages_keys.key, name="key"),
    path("releases/keys/<str:key_id>/retire/", pages_keys.key_retire, name="key-retire"),
    path("releases/keys/<str:key_id>/revoke/", pages_keys.key_revoke, name="key-revoke"),
    path("freezes/", pages_freezes.freeze_list, name="freeze-list"),
    path("freezes/new/", pages_freezes.freeze_new, name="freeze-new"),
    path("freezes/<uuid:freeze_id>/lift/", pages_freezes.freeze_lift, name="freeze-lift"),
    path("policies/", pages_policies.policy_list, name="policy-list"),
    path("policies/check/", pages_policies.policy_check, name="policy-check"),
    path("policies/<str:name>/", pages_policies.policy_detail, name="policy"),
    path("access/", pages_review.review_page, name="access-review"),
    path("access.csv", pages_review.review_csv, name="access-review-csv"),
    path(
        "access/requests/<uuid:request_id>/confirm/",
        pages_review.role_confirm,
        name="role-confirm",
    ),
    path("access/requests/<uuid:request_id>/refuse/", pages_review.role_refuse, name="role-refuse"),
    path("tokens/", pages_tokens.token_list, name="token-list"),
    path("tokens/new/", pages_tokens.token_new, name="token-new"),
    path("tokens/<uuid:token_id>/revoke/", pages_tokens.token_revoke, name="token-revoke"),
    path("trail/", pages_trail.system_trail, name="trail"),
    path("trail.csv", pages_trail.system_trail_csv, name="trail-csv"),
    path("trail.jsonl", pages_trail.system_trail_jsonl, name="trail-jsonl"),
    path("trail-everything.jsonl", pages_trail.everything_jsonl, name="trail-everything-jsonl"),
]
