"""People, what they may do, and the tokens of their machines."""

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.contrib.auth.password_validation import validate_password
from django.db import models


class UserManager(BaseUserManager["User"]):
    """Makes people; the e-mail is the log-in."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a person; raise ValueError without an e-mail."""
        if not email:
            raise ValueError("A person needs an e-mail address; it is the log-in.")
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create an administrator: somebody who holds that role, like every other by a binding.

        Raises ValidationError for a password that nobody else may have: Django's command asks for
        a good one only where it may ask.
        """
        fields = {"is_staff": True, "is_superuser": True} | fields
        if password is not None:
            validate_password(password, self.model(email=email, **fields))
        user = self.create_user(email, password, **fields)
        RoleBinding.objects.using(self._db).create(
            user=user, kind=RoleBinding.CONSOLE, role="administrator", why="the first administrator"
        )
        return user


class User(AbstractUser):
    """A person."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = None  # type: ignore[assignment]
    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    email = models.EmailField("e-mail", unique=True)
    name = models.CharField(max_length=120)

    # Set where a token let this person in: whoever asks what they may do then learns what the
    # token leaves of it. No column; it lives as long as the request.
    acting_token: "ApiToken | None" = None

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]

    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"

    def get_full_name(self) -> str:
        """Return the name as it is shown."""
        return self.name or self.email

    def get_short_name(self) -> str:
        """Return the name as it is shown."""
        return self.get_full_name()


CONSOLE_ROLES = (
    ("viewer", "Viewer"),
    ("operator", "Operator"),
    ("release_manager", "Release manager"),
    ("approver", "Approver"),
    ("auditor", "Auditor"),
    ("break_glass", "Break glass"),
    ("telemetry", "Telemetry sender"),
    ("administrator", "Administrator"),
)


class RoleBindingQuerySet(models.QuerySet["RoleBinding"]):
    """Questions about who may do what."""

    def in_force(self, at: datetime) -> "RoleBindingQuerySet":
        """Return the bindings that have neither expired nor been ended."""
        return self.filter(models.Q(expires_at=None) | models.Q(expires_at__gt=at), ended_at=None)

    def held_on(self, at: datetime) -> "RoleBindingQuerySet":
        """Return the bindings that were in force at a time, be it long ago."""
        return self.filter(
            models.Q(expires_at=None) | models.Q(expires_at__gt=at),
            models.Q(ended_at=None) | models.Q(ended_at__gt=at),
            created_at__lte=at,
        )


class RoleBinding(models.Model):
    """A person holds a console role or an approval role, for some tenants, until some day.

    Written once and never changed or deleted, only ended: what was held when stays known.
    """

    CONSOLE = "console"
    APPROVAL = "approval"
    KINDS = ((CONSOLE, "Console role"), (APPROVAL, "Approval role"))

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="role_bindings")
    kind = models.CharField(max_length=16, choices=KINDS)
    role = models.CharField(max_length=64, help_text="For an approval role: the policy's label.")
    selector = models.JSONField(
        default=dict, blank=True, help_text='Tenant labels, e.g. {"region": "eu"}; empty = all.'
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    why = models.CharField(max_length=300, blank=True)
    given_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    confirmed_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    ended_why = models.CharField(max_length=300, blank=True)

    objects = RoleBindingQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["user", "kind", "role", "selector"],
                condition=models.Q(ended_at=None),
                name="one_open_binding_per_person_role_and_tenants",
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} is {self.role}"


class RoleRequest(models.Model):
    """A role that one person alone must not give: it counts once another administrator agrees."""

    CONFIRMED = "confirmed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="role_requests")
    kind = models.CharField(max_length=16, choices=RoleBinding.KINDS, default=RoleBinding.APPROVAL)
    role = models.CharField(max_length=64)
    selector = models.JSONField(default=dict, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    why = models.CharField(max_length=300, blank=True)
    asked_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    outcome = models.CharField(
        max_length=16,
        blank=True,
        choices=[(CONFIRMED, "Confirmed"), (REFUSED, "Refused"), (WITHDRAWN, "Withdrawn")],
    )
    decided_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_why = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-asked_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["user", "kind", "role", "selector"],
                condition=models.Q(outcome=""),
                name="one_open_request_per_person_role_and_tenants",
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} is to be {self.role}"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Questions about tokens."""

    def good(self, at: datetime) -> "ApiTokenQuerySet":
        """Return those that are neither revoked nor expired."""
        return self.filter(models.Q(expires_at=None) | models.Q(expires_at__gt=at), revoked_at=None)

    def held_on(self, at: datetime) -> "ApiTokenQuerySet":
        """Return those that let somebody in at a time, be it long ago."""
        return self.filter(
            models.Q(expires_at=None) | models.Q(expires_at__gt=at),
            models.Q(revoked_at=None) | models.Q(revoked_at__gt=at),
            created_at__lte=at,
        )


class ApiToken(models.Model):
    """A machine's access in a person's name; only the hash is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="api_tokens")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=12)
    token_hash = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list, blank=True)
    selector = models.JSONField(
        default=dict, blank=True, help_text="Tenant labels that it is narrowed to; empty = none."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_from = models.GenericIPAddressField(null=True, blank=True)
    made_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Empty: by a command on the machine itself.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ApiTokenQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_a_strangers(self) -> bool:
        """Tell whether somebody else made it: then it may work for its person, but not approve."""
        return self.made_by_id is not None and self.made_by_id != self.user_id

    def state(self, at: datetime) -> str:
        """Return `revoked`, `expired` or `good`, whatever its person may still do."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= at:
            return "expired"
        return "good"
