"""What is kept of logging in beside the trail: counted failures, roles that SSO gave."""

from typing import ClassVar

from django.db import models

from plans.models.people import RoleBinding, User


class FailedLogIn(models.Model):
    """How often logging in failed within one hour: as whom, from where, at which step.

    `subject` is a person's id, or empty for a name that nobody here has; `address` is empty in the
    row that counts all addresses together. What was typed is never kept: people type passwords
    where names belong.
    """

    PASSWORD = "password"  # noqa: S105 - the name of a step
    CODE = "code"
    KEY = "key"
    SINGLE_SIGN_ON = "sso"

    hour = models.DateTimeField()
    subject = models.CharField(max_length=36, blank=True)
    address = models.CharField(max_length=45, blank=True)
    step = models.CharField(max_length=16)
    count = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = "failed log-in"
        constraints: ClassVar = (
            models.UniqueConstraint(
                fields=["hour", "subject", "address", "step"],
                name="one_count_per_hour_person_address_and_step",
            ),
        )

    def __str__(self) -> str:
        return f"{self.count} x {self.step} from {self.address or 'anywhere'} at {self.hour}"


class MappedRole(models.Model):
    """A role that a person holds because the identity provider said so at the last log-in."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="mapped_roles")
    binding = models.OneToOneField(RoleBinding, on_delete=models.CASCADE, related_name="mapped_by")
    value = models.CharField(max_length=200, help_text="The claim's value that gave the role.")

    def __str__(self) -> str:
        return f"{self.binding_id} by {self.value}"
