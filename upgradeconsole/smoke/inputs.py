"""What a rehearsal is given: read and judged as a whole, before anything is started."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batches.configured import secret_environ
from batches.deployers.deployers_yaml import DeployersRejected, load_deployers
from batches.kpis.dictionary import DictionaryRejected, load_dictionary
from plans.policies.policy import UpgradePolicy
from plans.policies.policy_yaml import PolicyRejected, parse_policy_file
from plans.refusal import BadInput
from plans.releases.signature import (
    SignatureRefused,
    TrustedKey,
    VerifiedRelease,
    key_id_of,
    verify_release,
)
from plans.tenants.rows import TenantRows, parse_tenants
from upgradeconsole.outbound import OutboundRejected, load_outbound

REQUIRED = {
    "policies": "the policy file",
    "policy": "the policy's name in that file",
    "deployers": "the deployers file",
    "deployer": "the deployer's name in that file",
    "dictionary": "the Kpi dictionary (JSON)",
    "tenants": "the tenants file (.csv, .yaml or .yml)",
    "plugin": "the plugin's key",
    "to": "the version to upgrade to",
}
FORMS = {".csv": "csv", ".yaml": "yaml", ".yml": "yaml"}
LONGEST_SCALE = 10.0
# Beside the soaks: calls, looks, the rollback, the report.
SPARE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """A release that was handed in, and the key that its signature is to be checked with."""

    envelope: str
    public_key: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What is to be rehearsed; every name in it was found."""

    policies_file: Path
    policy_text: str
    policy: UpgradePolicy
    approval_roles: tuple[str, ...]
    deployers_file: Path
    deployer: str
    dictionary_file: Path
    outbound_file: Path | None
    tenants_text: str
    tenants_form: str
    plugin: str
    version: str
    release: SignedRelease | None
    soak_scale: float
    takeover: bool
    timeout: float


def read_rehearsal(options: Mapping[str, Any]) -> Rehearsal:
    """Return what the options name; raise BadInput with everything that is wrong with it."""
    problems = [
        f"--{name} is missing: name {what}"
        for name, what in REQUIRED.items()
        if not options.get(name)
    ]
    policies_text = _text(options, "policies", problems)
    policy, roles = _policy(policies_text, options, problems)
    _check_deployer(_text(options, "deployers", problems), options, problems)
    _check_dictionary(_text(options, "dictionary", problems), options, problems)
    _check_outbound(_text(options, "outbound", problems), options, problems)
    tenants_text, form = _tenants(_text(options, "tenants", problems), options, problems)
    release = _release(options, problems)
    scale = options["soak_scale"]
    if not 0 < scale <= LONGEST_SCALE:
        problems.append(
            f"--soak-scale {scale:g}: write a number above 0 and up to {LONGEST_SCALE:g}"
        )
    timeout = options["timeout"]
    if timeout is not None and timeout <= 0:
        problems.append(f"--timeout {timeout:g}: write the seconds that the rehearsal may take")
    if problems or policy is None:
        raise BadInput(problems)
    soaks = sum(batch.soak_seconds for batch in policy.at_scale(scale).batches)
    return Rehearsal(
        policies_file=Path(options["policies"]).resolve(),
        policy_text=policies_text,
        policy=policy,
        approval_roles=roles,
        deployers_file=Path(options["deployers"]).resolve(),
        deployer=options["deployer"],
        dictionary_file=Path(options["dictionary"]).resolve(),
        outbound_file=Path(options["outbound"]).resolve() if options.get("outbound") else None,
        tenants_text=tenants_text,
        tenants_form=form,
        plugin=options["plugin"],
        version=options["to"],
        release=release,
        soak_scale=scale,
        takeover=not options["no_takeover"],
        timeout=timeout or SPARE_SECONDS + 2 * soaks,
    )


def _text(options: Mapping[str, Any], name: str, problems: list[str]) -> str:
    """Return a file's text; empty, with the problem told, when it cannot be read."""
    if not options.get(name):
        return ""
    option = f"--{name.replace('_', '-')} {options[name]}"
    try:
        text = Path(options[name]).read_text(encoding="utf-8")
    except OSError as error:
        problems.append(f"{option}: cannot be read: {error.strerror}")
        return ""
    except UnicodeDecodeError:
        problems.append(f"{option}: is not UTF-8 text")
        return ""
    if not text.strip():
        problems.append(f"{option}: the file is empty")
        return ""
    return text


def _policy(
    text: str, options: Mapping[str, Any], problems: list[str]
) -> tuple[UpgradePolicy | None, tuple[str, ...]]:
    if not text:
        return None, ()
    try:
        policy_file = parse_policy_file(text)
    except PolicyRejected as rejected:
        problems += [f"{options['policies']}: {problem}" for problem in rejected.problems]
        return None, ()
    policy = policy_file.policies.get(options.get("policy") or "")
    if policy is None:
        if options.get("policy"):
            problems.append(_unknown("policy", options, policy_file.policies))
        return None, ()
    rule = policy_file.approvals.get(policy.approvals)
    if rule is None:
        known = ", ".join(sorted(policy_file.approvals)) or "none"
        problems.append(
            f"{options['policies']}: {policy.name} wants the approvals {policy.approvals!r};"
            f" the file has {known}"
        )
        return policy, ()
    return policy, rule.required_roles


def _check_deployer(text: str, options: Mapping[str, Any], problems: list[str]) -> None:
    if not text:
        return
    try:
        known = load_deployers(text, environ=secret_environ())
    except DeployersRejected as rejected:
        problems += [f"{options['deployers']}: {problem}" for problem in rejected.problems]
        return
    if options.get("deployer") and options["deployer"] not in known:
        problems.append(_unknown("deployer", options, known))


def _check_dictionary(text: str, options: Mapping[str, Any], problems: list[str]) -> None:
    if not text:
        return
    try:
        load_dictionary(text)
    except DictionaryRejected as rejected:
        problems += [f"{options['dictionary']}: {problem}" for problem in rejected.problems]


def _check_outbound(text: str, options: Mapping[str, Any], problems: list[str]) -> None:
    try:
        load_outbound(text, file=str(options.get("outbound")))
    except OutboundRejected as rejected:
        problems += [f"{options['outbound']}: {problem}" for problem in rejected.problems]


def _tenants(text: str, options: Mapping[str, Any], problems: list[str]) -> tuple[str, str]:
    form = FORMS.get(Path(options.get("tenants") or "").suffix.lower(), "")
    if not text:
        return "", form
    if not form:
        problems.append(f"--tenants {options['tenants']}: name a .csv, .yaml or .yml file")
        return "", ""
    rows: TenantRows = parse_tenants(text, form=form)
    problems += [
        f"{options['tenants']}: line {problem.line}: {problem.message}" for problem in rows.problems
    ]
    return text, form


def _release(options: Mapping[str, Any], problems: list[str]) -> SignedRelease | None:
    envelope = _text(options, "release", problems)
    public_key = _text(options, "trust_key", problems)
    if bool(options.get("release")) != bool(options.get("trust_key")):
        given, missing = (
            ("--release", "--trust-key") if options.get("release") else ("--trust-key", "--release")
        )
        problems.append(f"{given} needs {missing}: a release and the public key that verifies it")
    if not envelope or not public_key:
        return None
    try:
        key_id = key_id_of(public_key)
        verified = verify_release(envelope, [TrustedKey(key_id, public_key)], at=datetime.now(UTC))
    except ValueError as error:
        problems.append(f"--trust-key {options['trust_key']}: {error}")
        return None
    except SignatureRefused as refused:
        problems.append(f"--release {options['release']}: {refused.reason}")
        return None
    _check_subject(verified, options, problems)
    return SignedRelease(envelope, public_key, key_id)


def _check_subject(
    verified: VerifiedRelease, options: Mapping[str, Any], problems: list[str]
) -> None:
    wanted = (options.get("plugin"), options.get("to"))
    if wanted != (verified.plugin, verified.version):
        problems.append(
            f"--release {options['release']}: is signed for {verified.plugin} {verified.version},"
            f" not for {wanted[0]} {wanted[1]}"
        )


def _unknown(noun: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    return f"--{noun} {options[noun]}: the file has {', '.join(sorted(known)) or 'none'}"
