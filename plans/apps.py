"""plans: what we intend, and who agreed."""

from django.apps import AppConfig


class PlansConfig(AppConfig):
    """Plans, policies, releases, tenants, people and the trail."""

    name = "plans"
    verbose_name = "Plans"

    def ready(self) -> None:
        """Let the field-level diff watch what people may edit."""
        from plans.audited import register

        register()
