"""People, what they may do, and the tokens of their machines."""

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, BaseUserManager
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
        """Create an administrator."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractUser):
    """A person."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = None  # type: ignore[assignment]
    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    email = models.EmailField("e-mail", unique=True)
    name = models.CharField(max_length=120)

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
        """Return the bindings that have not expired."""
        return self.filter(models.Q(expires_at=None) | models.Q(expires_at__gt=at))


class RoleBinding(models.Model):
    """A person holds a console role or an approval role, for some tenants, until some day."""

    CONSOLE = "console"
    APPROVAL = "approval"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="role_bindings")
    kind = models.CharField(
        max_length=16, choices=[(CONSOLE, "Console role"), (APPROVAL, "Approval role")]
    )
    role = models.CharField(max_length=64, help_text="For an approval role: the policy's label.")
    selector = models.JSONField(
        default=dict, blank=True, help_text='Tenant labels, e.g. {"region": "eu"}; empty = all.'
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = RoleBindingQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["user", "kind", "role"], name="one_binding_per_person_and_role"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} is {self.role}"


class ApiToken(models.Model):
    """A machine's access in a person's name; only the hash is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=12)
    token_hash = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
