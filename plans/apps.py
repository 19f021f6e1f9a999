"""plans: what we intend, and who agreed."""

from django.apps import AppConfig


class PlansConfig(AppConfig):
    """Plans, policies, releases, tenants, people and the trail."""

    name = "plans"
    verbose_name = "Plans"

    def ready(self) -> None:
        """Let the field-level diff watch what people may edit, and the trail hear of log-ins."""
        from plans import grant_export, login_receivers, sso_login
        from plans.audited import register

        register()
        login_receivers.connect()
        sso_login.connect()
        grant_export.connect()
