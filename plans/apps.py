"""plans: what we intend, and who agreed."""

from django.apps import AppConfig


class PlansConfig(AppConfig):
    """Plans, policies, releases, tenants, people and the trail."""

    name = "plans"
    verbose_name = "Plans"

    def ready(self) -> None:
        """Let the field-level diff watch what people may edit, and the trail hear of log-ins."""
        from plans.approvals import grant_export
        from plans.log_in import receivers
        from plans.sso import login
        from plans.trail.audited import register

        register()
        receivers.connect()
        login.connect()
        grant_export.connect()
