"""Settings of every process; all that differs between installations comes from the environment."""

import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from upgradeconsole import __version__
from upgradeconsole.config_file import ConfigFile
from upgradeconsole.databases import postgresql, process_kind, sqlite
from upgradeconsole.env import (
    env_address,
    env_bool,
    env_database,
    env_hidden,
    env_hidden_list,
    env_hosts,
    env_int,
    env_list,
    env_secret,
    env_str,
)
from upgradeconsole.served_at import HERE
from upgradeconsole.single_sign_on import read_single_sign_on

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env_str("UPGRADECONSOLE_DATA", str(BASE_DIR / "data"))).resolve()
# As `./console up` makes it: the database in it holds sessions.
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
VERSION = __version__

DEBUG = env_bool("UPGRADECONSOLE_DEBUG", default=False)
SECRET_KEY = env_secret("SECRET_KEY", made_at=DATA_DIR / "secret_key")
# Keys of before, the newest first: what they signed is still understood (docs/secrets.md).
SECRET_KEY_FALLBACKS = env_hidden_list("SECRET_KEY_FALLBACKS")
# Seal what is secret in the database; apart from SECRET_KEY, and from every backup of it.
SEALING_KEYS = env_hidden("UPGRADECONSOLE_SEALING_KEYS")
SEALING_KEYS_FILE = DATA_DIR / "sealing_keys"
SERVED_AT = env_address("UPGRADECONSOLE_URL", "http://127.0.0.1:8000")
CONSOLE_URL = SERVED_AT.url
# Other names by which people or probes reach the same console.
ALLOWED_HOSTS = [*HERE, SERVED_AT.host, *env_hosts("UPGRADECONSOLE_HOSTS")]
INSTANCE_NAME = env_str("UPGRADECONSOLE_INSTANCE", "console")
CSRF_TRUSTED_ORIGINS = [CONSOLE_URL, *env_list("UPGRADECONSOLE_TRUSTED_ORIGINS")]


def _config_file(variable: str, relative: str) -> Path | ConfigFile:
    """Return the file that the variable names, or the data folder's, or the shipped example."""
    if named := env_str(variable):
        return Path(named).resolve()
    return ConfigFile(
        own=DATA_DIR / "config" / Path(relative).name, example=BASE_DIR / "config" / relative
    )


DEPLOYERS_FILE = _config_file("UPGRADECONSOLE_DEPLOYERS", "deployers.yaml")
DICTIONARY_FILE = _config_file(
    "UPGRADECONSOLE_DICTIONARY", "monitoring/version_upgrade_dashboards.json"
)
# What the console may connect to; never edited in a page (docs/outbound.md).
OUTBOUND_FILE = _config_file("UPGRADECONSOLE_OUTBOUND", "outbound.yaml")
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
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
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
    "upgradeconsole.answer_headers.AnswerHeadersMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "plans.trail.trace_middleware.TraceMiddleware",
    "csp.middleware.CSPMiddleware",
    "upgradeconsole.request_limits.RequestLimitsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "plans.log_in.session_life.SessionLifeMiddleware",
    "plans.log_in.factor_gate.FactorGateMiddleware",
    "auditlog.middleware.AuditlogMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "plans.pages.refusals.RefusalMiddleware",
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
                "plans.pages.context.console",
            ],
        },
    },
]

DATABASE_ADDRESS = env_database("DATABASE_URL")
# The pages' processes say so themselves (asgi.py); the others are known by their command.
PROCESS = process_kind(sys.argv, serves=env_bool("UPGRADECONSOLE_SERVES", default=False))
DATABASE_POOL_SIZE = env_int("UPGRADECONSOLE_POOL_SIZE", 10, least=1)
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
        # Limits of tries are kept here. With the library's own limit of 300 entries somebody who
        # tries many addresses would push out what was counted of others.
        "OPTIONS": {"MAX_ENTRIES": 200_000},
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
# Who may act needs a second factor. Only demonstrations and tests go without.
REQUIRE_MFA = env_bool("UPGRADECONSOLE_REQUIRE_MFA", default=True)
# A session ends when nobody has used it for so long, and at the latest so long after log-in.
SESSION_IDLE_MINUTES = env_int("UPGRADECONSOLE_SESSION_IDLE_MINUTES", 480, least=1)
SESSION_HOURS = env_int("UPGRADECONSOLE_SESSION_HOURS", 24, least=1)
SESSION_COOKIE_AGE = SESSION_HOURS * 3600
SINGLE_SIGN_ON = read_single_sign_on()
# Behind so many proxies of ours, each of which adds to X-Forwarded-For; nothing else is believed.
TRUSTED_PROXIES = env_int("UPGRADECONSOLE_TRUSTED_PROXIES", 0)
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXIES
ACCOUNT_ADAPTER = "plans.log_in.adapters.ClosedSignupAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[Upgrade Console] "
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
# By name *and* address (plans/log_in/adapters.py), never by name alone: nobody locks an operator
# out.
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "login_failed": "30/m/ip,5/5m/key"}
MFA_ADAPTER = "plans.log_in.adapters.SecondFactorAdapter"
MFA_FORMS = {
    "authenticate": "plans.log_in.forms.CodeForm",
    "authenticate_webauthn": "plans.log_in.forms.KeyForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = False
MFA_TOTP_ISSUER = "Upgrade Console"
# allauth would let a password take a second factor away; plans/log_in/factor_gate.py does not.
MFA_REAUTHENTICATION_REQUIRED = False
# Administrators write the addresses, so nobody has to verify one first.
MFA_ALLOW_UNVERIFIED_EMAIL = True
# Browsers allow WebAuthn on plain http only for localhost.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not SERVED_AT.tls
USERSESSIONS_ADAPTER = "plans.log_in.adapters.SessionsAdapter"
SOCIALACCOUNT_ADAPTER = "plans.sso.login.SingleSignOnAdapter"
SOCIALACCOUNT_PROVIDERS = (
    SINGLE_SIGN_ON.providers()
    if SINGLE_SIGN_ON
    else {"openid_connect": {"provider_class": "plans.sso.provider.StrictProvider"}}
)
SOCIALACCOUNT_REQUESTS_TIMEOUT = 10
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"

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

SERVED_OVER_TLS = SERVED_AT.tls
# TLS ends at a proxy of ours, which says so; from anybody else the header means nothing.
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if SERVED_OVER_TLS and TRUSTED_PROXIES else None
)
SESSION_COOKIE_SECURE = SERVED_OVER_TLS
CSRF_COOKIE_SECURE = SERVED_OVER_TLS
# With the prefix, a browser takes them from this very host over https alone.
_COOKIE_PREFIX = "__Host-" if SERVED_OVER_TLS else ""
SESSION_COOKIE_NAME = f"{_COOKIE_PREFIX}sessionid"
CSRF_COOKIE_NAME = f"{_COOKIE_PREFIX}csrftoken"
SESSION_COOKIE_HTTPONLY = True
# Forms and pages carry the token; no script reads the cookie.
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
# What a message says to somebody stays with their session.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if SERVED_OVER_TLS else 0
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    # What else lives under this host's domain is not ours to decide.
    "security.W005",
    "security.W021",
    # The proxy that has the certificate redirects; behind it we are spoken to by http.
    "security.W008",
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        # Chromium applies it to where a form's answer redirects, too.
        "form-action": ["'self'", *([SINGLE_SIGN_ON.origin] if SINGLE_SIGN_ON else [])],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "manifest-src": ["'self'"],
    }
}

# How often one person or token may ask the API; 0 sets no limit. Never for pausing and taking back.
API_PER_MINUTE = env_int("UPGRADECONSOLE_API_PER_MINUTE", 1200)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "plans.api.token_log_in.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["plans.api.throttle.AskedTooOften"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "plans.api.problem.problem_response",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Upgrade Console",
    "DESCRIPTION": "Plan, approve, watch and take back plugin upgrades over many tenants.",
    "VERSION": __version__,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    # Several things have a state; a client that is made of the document needs a name for each.
    "ENUM_NAME_OVERRIDES": {
        "PlanStateEnum": "plans.lifecycle.PLAN.choices",
        "TenantUpgradeStateEnum": "batches.lifecycle.TENANT_UPGRADE.choices",
        "ReleaseStateEnum": "plans.models.Release.STATES",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "plans.api.docs.write_null_as_a_type",
    ],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
}

# At-least-once: the ORM broker commits an enqueued task with the transaction that asked for it.
# `retry` and `timeout` outlast any run, so that a long batch is neither handed out twice nor
# killed by the queue; watch takes over what a killed worker left behind long before.
EFFECTS_WORKERS = env_int("UPGRADECONSOLE_EFFECTS_WORKERS", 1, least=1)
PAPERWORK_WORKERS = env_int("UPGRADECONSOLE_PAPERWORK_WORKERS", 1, least=1)
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
# Addresses are kept in one place, beside the trail, where they can be erased.
AUDITLOG_DISABLE_REMOTE_ADDR = True

EMAIL_BACKEND = env_str("EMAIL_BACKEND", "django.core.mail.backends.filebased.EmailBackend")
EMAIL_FILE_PATH = str(DATA_DIR / "mail")
EMAIL_HOST = env_str("EMAIL_HOST", "localhost")
EMAIL_PORT = env_int("EMAIL_PORT", 25, least=1)
EMAIL_HOST_USER = env_str("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env_hidden("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env_bool("EMAIL_USE_TLS", default=False)
EMAIL_USE_SSL = env_bool("EMAIL_USE_SSL", default=False)
if EMAIL_USE_TLS and EMAIL_USE_SSL:
    # Django would say so at the first mail only.
    raise ImproperlyConfigured("EMAIL_USE_TLS and EMAIL_USE_SSL exclude each other; set one.")
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

# The keys that sign checkpoints and grants; and where checkpoints go, off this machine at best.
CONSOLE_KEYS_DIR = Path(
    env_str("UPGRADECONSOLE_KEYS_DIR", str(DATA_DIR / "console-keys"))
).resolve()
AUDIT_ANCHOR_DIR = Path(env_str("AUDIT_ANCHOR_DIR", str(DATA_DIR / "anchors"))).resolve()
# From which addresses people and machines acted; 0 keeps them for ever.
ADDRESSES_KEPT_DAYS = env_int("UPGRADECONSOLE_ADDRESSES_KEPT_DAYS", 365)

REPORTS_DIR = DATA_DIR / "reports"
ALERT_EVENT_URLS = env_list("UPGRADECONSOLE_ALERT_URLS")
METRICS_TOKEN = env_hidden("UPGRADECONSOLE_METRICS_TOKEN")
# The rehearsal command alone switches this off, to show that the hands do the work themselves.
WATCH_MAY_RUN_BATCHES = env_bool("UPGRADECONSOLE_WATCH_MAY_RUN_BATCHES", default=True)
# And this one, which finds out by itself: elsewhere a plan starts only when its Kpis can be read.
PROBE_BEFORE_START = env_bool("UPGRADECONSOLE_PROBE_BEFORE_START", default=True)
SOAK_SCALE = float(env_str("UPGRADECONSOLE_SOAK_SCALE", "1"))

DEFAULT_EXCEPTION_REPORTER = "upgradeconsole.error_pages.SecretsReporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "upgradeconsole.error_pages.SecretsFilter"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "upgradeconsole.log_lines.SafeFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        },
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env_str("UPGRADECONSOLE_LOG_LEVEL", "INFO")},
    "loggers": {
        "django-q": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "django.channels.server": {"level": "WARNING"},
    },
}
