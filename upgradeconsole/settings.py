"""Settings of every process; all that differs between installations comes from the environment."""

import sys
from pathlib import Path

from upgradeconsole import __version__
from upgradeconsole.databases import postgresql, process_kind, sqlite
from upgradeconsole.env import env_bool, env_database, env_int, env_list, env_secret, env_str

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env_str("UPGRADECONSOLE_DATA", str(BASE_DIR / "data"))).resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)
VERSION = __version__

DEBUG = env_bool("UPGRADECONSOLE_DEBUG", default=False)
SECRET_KEY = env_secret("SECRET_KEY", made_at=DATA_DIR / "secret_key")
ALLOWED_HOSTS = env_list("UPGRADECONSOLE_HOSTS", "localhost,127.0.0.1,[::1],testserver")
CONSOLE_URL = env_str("UPGRADECONSOLE_URL", "http://127.0.0.1:8000").rstrip("/")
INSTANCE_NAME = env_str("UPGRADECONSOLE_INSTANCE", "console")
CSRF_TRUSTED_ORIGINS = env_list("UPGRADECONSOLE_TRUSTED_ORIGINS")


def _config_file(variable: str, relative: str) -> Path:
    """Return the file that the variable names, or the data folder's, or the shipped example."""
    named = env_str(variable)
    if named:
        return Path(named).resolve()
    own = DATA_DIR / "config" / Path(relative).name
    return own if own.exists() else BASE_DIR / "config" / relative


DEPLOYERS_FILE = _config_file("UPGRADECONSOLE_DEPLOYERS", "deployers.yaml")
DICTIONARY_FILE = _config_file(
    "UPGRADECONSOLE_DICTIONARY", "monitoring/version_upgrade_dashboards.json"
)
POLICIES_FILE = _config_file("UPGRADECONSOLE_POLICIES", "version/upgrade_policies.yaml")

INSTALLED_APPS = [
    # Not daphne: it serves as a program of its own, and as an app it would bring Twisted's 15 MB
    # into every process.
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "auditlog",
    "channels",
    "csp",
    "django_fsm",
    "django_htmx",
    "django_q",
    "drf_spectacular",
    "rest_framework",
    "plans.apps.PlansConfig",
    "batches.apps.BatchesConfig",
    "reports.apps.ReportsConfig",
    "upgradeconsole.apps.ConsoleConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "auditlog.middleware.AuditlogMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "plans.refusal_pages.RefusalMiddleware",
]

ROOT_URLCONF = "upgradeconsole.urls"
ASGI_APPLICATION = "upgradeconsole.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "plans.page_context.console",
            ],
        },
    },
]

DATABASE_ADDRESS = env_database("DATABASE_URL")
# The pages' processes say so themselves (asgi.py); the others are known by their command.
PROCESS = process_kind(sys.argv, serves=env_bool("UPGRADECONSOLE_SERVES", default=False))
DATABASE_POOL_SIZE = env_int("UPGRADECONSOLE_POOL_SIZE", 10)
DATABASES = {
    "default": postgresql(DATABASE_ADDRESS, process=PROCESS, pool_size=DATABASE_POOL_SIZE)
    if DATABASE_ADDRESS
    else sqlite(
        env_str("UPGRADECONSOLE_DB", str(DATA_DIR / "console.sqlite3")),
        test_name=env_str("UPGRADECONSOLE_TEST_DB", str(DATA_DIR / "test-console.sqlite3")),
        process=PROCESS,
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "console_cache",
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"
CHANNEL_LAYERS: dict[str, object] = {}

AUTH_USER_MODEL = "plans.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "plans.login.ClosedSignupAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = False
MFA_TOTP_ISSUER = "Upgrade Console"
# Browsers allow WebAuthn on plain http only for localhost.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not CONSOLE_URL.startswith("https://")

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 300

SERVED_OVER_TLS = CONSOLE_URL.startswith("https://")
SESSION_COOKIE_SECURE = SERVED_OVER_TLS
CSRF_COOKIE_SECURE = SERVED_OVER_TLS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if SERVED_OVER_TLS else 0
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "manifest-src": ["'self'"],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "plans.api_token.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "plans.api_problem.problem_response",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Upgrade Console",
    "DESCRIPTION": "Plan, approve, watch and take back plugin upgrades over many tenants.",
    "VERSION": __version__,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
}

# At-least-once: the ORM broker commits an enqueued task with the transaction that asked for it.
# `retry` and `timeout` outlast any run, so that a long batch is neither handed out twice nor
# killed by the queue; watch takes over what a killed worker left behind long before.
EFFECTS_WORKERS = env_int("UPGRADECONSOLE_EFFECTS_WORKERS", 1)
PAPERWORK_WORKERS = env_int("UPGRADECONSOLE_PAPERWORK_WORKERS", 1)
Q_CLUSTER = {
    "name": "effects",
    "orm": "default",
    "workers": EFFECTS_WORKERS,
    "queue_limit": EFFECTS_WORKERS,
    "timeout": 604_800,
    "retry": 604_900,
    "max_attempts": 3,
    "ack_failures": True,
    "bulk": 1,
    "poll": 0.1,
    "save_limit": -1,
    "recycle": 1_000_000,
    "catch_up": False,
    "scheduler": False,
    "guard_cycle": 0.5,
    "label": "Hands",
    "ALT_CLUSTERS": {
        "paperwork": {
            "workers": PAPERWORK_WORKERS,
            "queue_limit": PAPERWORK_WORKERS,
            "timeout": 170,
            "retry": 180,
            "poll": 0.2,
        }
    },
}

# Full masking: the library's own default leaves half of a value readable.
AUDITLOG_MASK_CALLABLE = "plans.audit_mask.hide"
AUDITLOG_DISABLE_REMOTE_ADDR = False

EMAIL_BACKEND = env_str("EMAIL_BACKEND", "django.core.mail.backends.filebased.EmailBackend")
EMAIL_FILE_PATH = str(DATA_DIR / "mail")
EMAIL_HOST = env_str("EMAIL_HOST", "localhost")
EMAIL_PORT = env_int("EMAIL_PORT", 25)
EMAIL_HOST_USER = env_str("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env_str("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env_bool("EMAIL_USE_TLS", default=False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env_str("DEFAULT_FROM_EMAIL", "Upgrade Console <console@localhost>")

# How long looks at restored tenants are kept after their watch has ended.
AFTERMATH_DAYS = env_int("UPGRADECONSOLE_AFTERMATH_DAYS", 90)

# Nothing new starts with less room than this; the reserve is let go when a disk is full.
MIN_FREE_MB = env_int("UPGRADECONSOLE_MIN_FREE_MB", 200)
DISK_RESERVE_MB = env_int("UPGRADECONSOLE_DISK_RESERVE_MB", 64)
# What cannot be told through the database goes into this file, and to these addresses by mail.
LOCAL_ALERTS_FILE = DATA_DIR / "local-alerts.jsonl"
LOCAL_ALERT_MAIL = env_list("UPGRADECONSOLE_LOCAL_ALERT_MAIL")

# How tenants are while nothing is released, recorded once a minute (docs/history.md).
KPI_HISTORY = env_bool("UPGRADECONSOLE_KPI_HISTORY", default=True)
KPI_MINUTES_KEPT_HOURS = env_int("UPGRADECONSOLE_KPI_MINUTES_KEPT_HOURS", 24)
KPI_FIVE_MINUTES_KEPT_DAYS = env_int("UPGRADECONSOLE_KPI_FIVE_MINUTES_KEPT_DAYS", 3)
KPI_HOURS_KEPT_DAYS = env_int("UPGRADECONSOLE_KPI_HOURS_KEPT_DAYS", 30)
# The looks at a plan, from its end on; without them its rulings can no longer be replayed.
LOOKS_KEPT_DAYS = env_int("UPGRADECONSOLE_LOOKS_KEPT_DAYS", 90)

REPORTS_DIR = DATA_DIR / "reports"
ALERT_EVENT_URLS = env_list("UPGRADECONSOLE_ALERT_URLS")
METRICS_TOKEN = env_str("UPGRADECONSOLE_METRICS_TOKEN")
# The rehearsal command alone switches this off, to show that the hands do the work themselves.
WATCH_MAY_RUN_BATCHES = env_bool("UPGRADECONSOLE_WATCH_MAY_RUN_BATCHES", default=True)
SOAK_SCALE = float(env_str("UPGRADECONSOLE_SOAK_SCALE", "1"))

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env_str("UPGRADECONSOLE_LOG_LEVEL", "INFO")},
    "loggers": {
        "django-q": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "django.channels.server": {"level": "WARNING"},
    },
}
