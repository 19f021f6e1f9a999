"""plans: what we intend, and who agreed."""

from django.apps import AppConfig


class PlansConfig(AppConfig):
    """Plans, policies, releases, tenants, people and the trail."""

    name = "plans"
    verbose_name = "Plans"

    def ready(self) -> None:
        """Let the field-level diff watch what people edit, the trail hear of failed log-ins."""
        from django.contrib.auth.signals import user_login_failed

        from plans.audited import register
        from plans.login import tell_failed_login

        register()
        user_login_failed.connect(tell_failed_login, dispatch_uid="trail")
