"""The commands around releases, keys, policies and tenants."""

import hashlib
import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from plans.models import Installation, Policy, Release, Tenant, TrustKey
from plans.releases.registering import register_release
from plans.releases.signature import new_key
from tests.web.api_scene import POLICY_TEXT

pytestmark = pytest.mark.django_db


def run(capsys, *arguments: str) -> str:
    call_command(*arguments)
    return capsys.readouterr().out


def signing_key(tmp_path: Path, capsys, *more: str) -> str:
    return run(capsys, "trust_key", "--new", "build", "--folder", str(tmp_path), *more).strip()


def sign(tmp_path: Path, capsys, *more: str) -> Path:
    out = tmp_path / "release.json"
    key = str(tmp_path / "build.key")
    about = ("--plugin", "pay", "--version", "1.5.0", "--key", key, "--out", str(out))
    run(capsys, "sign_release", *about, *more)
    return out


def test_a_new_key_is_trusted_and_its_private_half_is_the_owners_alone(tmp_path, capsys):
    key_id = signing_key(tmp_path, capsys, "--plugins", "pay, mail", "--days", "30")
    key = TrustKey.objects.get()
    assert (key.key_id, key.name, key.plugins) == (key_id, "build", ["pay", "mail"])
    assert key.not_after - key.not_before == timedelta(days=30)
    assert stat.S_IMODE((tmp_path / "build.key").stat().st_mode) == 0o600
    assert (tmp_path / "build.pub").read_text() == key.public_key


def test_a_release_signed_by_the_new_key_can_be_registered(tmp_path, capsys):
    signing_key(tmp_path, capsys)
    artifact = tmp_path / "plugin.zip"
    artifact.write_bytes(b"the plugin")
    out = sign(tmp_path, capsys, "--artifact", str(artifact))
    assert json.loads(out.read_text())["subject"][0]["name"] == "pay@1.5.0"
    register_release(
        envelope=(tmp_path / "release.json.dsse").read_text(),
        by=None,
        now=timezone.now(),
        via="command",
    )
    release = Release.objects.get()
    assert release.version == "1.5.0"
    assert release.digest == hashlib.sha256(b"the plugin").hexdigest()


def test_a_digest_stands_for_an_artifact_that_is_elsewhere(tmp_path, capsys):
    signing_key(tmp_path, capsys)
    out = sign(tmp_path, capsys, "--digest", "ab" * 32)
    assert json.loads(out.read_text())["subject"][0]["digest"] == {"sha256": "ab" * 32}


def test_a_digest_that_is_none_is_refused_and_nothing_is_written(tmp_path, capsys):
    signing_key(tmp_path, capsys)
    with pytest.raises(CommandError, match="no SHA-256"):
        sign(tmp_path, capsys, "--digest", "abc")
    assert not (tmp_path / "release.json").exists()


def test_a_key_file_is_never_written_over(tmp_path, capsys):
    signing_key(tmp_path, capsys)
    before = (tmp_path / "build.key").read_text()
    with pytest.raises(CommandError, match="is there already"):
        signing_key(tmp_path, capsys)
    assert (tmp_path / "build.key").read_text() == before
    assert TrustKey.objects.count() == 1


def test_somebodys_public_key_is_trusted_once(tmp_path, capsys):
    made = new_key()
    public = tmp_path / "theirs.pub"
    public.write_text(made.public_pem)
    assert run(capsys, "trust_key", "--public", str(public)).strip() == made.key_id
    with pytest.raises(CommandError, match="in the trust store already"):
        run(capsys, "trust_key", "--public", str(public))
    assert TrustKey.objects.get().name == "theirs"


def test_a_file_that_is_no_public_key_is_refused(tmp_path, capsys):
    public = tmp_path / "x.pub"
    public.write_text("hello")
    with pytest.raises(CommandError, match="no public key"):
        run(capsys, "trust_key", "--public", str(public))


def registered(tmp_path: Path, capsys) -> Path:
    """Register a release of an artifact that lies in the folder; return the artifact."""
    signing_key(tmp_path, capsys)
    artifact = tmp_path / "plugin.zip"
    artifact.write_bytes(b"the plugin")
    sign(tmp_path, capsys, "--artifact", str(artifact))
    register_release(
        envelope=(tmp_path / "release.json.dsse").read_text(),
        by=None,
        now=timezone.now(),
        via="command",
    )
    return artifact


def test_a_key_of_cosigns_kind_signs_envelopes_too(tmp_path, capsys):
    signing_key(tmp_path, capsys, "--kind", "ecdsa-p256")
    sign(tmp_path, capsys, "--digest", "ab" * 32)
    envelope = (tmp_path / "release.json.dsse").read_text()
    release = register_release(envelope=envelope, by=None, now=timezone.now(), via="command")
    assert release.digest == "ab" * 32


def test_a_statement_alone_is_written_for_whoever_signs_it_elsewhere(tmp_path, capsys):
    out = tmp_path / "release.json"
    about = ("--plugin", "pay", "--version", "1.5.0", "--digest", "ab" * 32, "--out", str(out))
    run(capsys, "sign_release", *about, "--statement-only")
    assert json.loads(out.read_text())["subject"][0]["name"] == "pay@1.5.0"
    assert not (tmp_path / "release.json.dsse").exists()


def test_all_releases_are_verified_and_one_with_its_artifact(tmp_path, capsys):
    artifact = registered(tmp_path, capsys)
    assert run(capsys, "verify_release") == "pay@1.5.0: holds\n"
    one = ("verify_release", "--plugin", "pay", "--version", "1.5.0", "--artifact", str(artifact))
    assert "holds" in run(capsys, *one)
    artifact.write_bytes(b"something else")
    with pytest.raises(CommandError, match="1 of 1 may not be used"):
        run(capsys, *one)
    assert Release.objects.get().state == Release.TRUSTED
    with pytest.raises(CommandError, match="1 of 1 may not be used"):
        run(capsys, *one, "--quarantine")
    assert Release.objects.get().state == Release.QUARANTINED
    with pytest.raises(CommandError, match="needs --artifact"):
        run(capsys, "verify_release", "--quarantine")
    with pytest.raises(CommandError, match="There is no such release"):
        run(capsys, "verify_release", "--plugin", "mail")


def test_a_key_is_revoked_from_the_command_line(tmp_path, capsys):
    registered(tmp_path, capsys)
    key_id = TrustKey.objects.get().key_id
    assert "is revoked" in run(capsys, "revoke_key", key_id, "--reason", "stolen")
    assert TrustKey.objects.get().revoked_why == "stolen"
    with pytest.raises(CommandError, match="may not be used"):
        run(capsys, "verify_release")
    with pytest.raises(CommandError, match="There is no key"):
        run(capsys, "revoke_key", "0" * 16, "--reason", "stolen")


@pytest.mark.parametrize("days", ["0", "-1", "99999"])
def test_a_key_is_trusted_for_a_time_that_makes_sense(tmp_path, capsys, days):
    with pytest.raises(CommandError, match="--days is between"):
        signing_key(tmp_path, capsys, "--days", days)
    assert not list(tmp_path.iterdir())


def test_lint_names_file_and_line_of_every_problem(tmp_path, capsys):
    file = tmp_path / "p.yaml"
    file.write_text(POLICY_TEXT.replace("percentage: 34", "percentage: 30") + "x: 1\n")
    with pytest.raises(CommandError) as refused:
        run(capsys, "lint_policy", str(file))
    told = str(refused.value).splitlines()
    assert [line.split(":")[1] for line in told] == ["6", "11"]
    assert refused.value.returncode == 1


def test_lint_is_silent_about_nothing_and_saves_nothing(tmp_path, capsys):
    file = tmp_path / "p.yaml"
    file.write_text(POLICY_TEXT)
    assert "nothing wrong with safe-rollout" in run(capsys, "lint_policy", str(file))
    assert not Policy.objects.exists()


def test_policies_are_loaded_once_however_often_the_console_starts(tmp_path, capsys):
    file = tmp_path / "p.yaml"
    file.write_text(POLICY_TEXT)
    assert run(capsys, "load_policies", str(file)).startswith("safe-rollout ")
    run(capsys, "load_policies", str(file))
    assert Policy.objects.get().source == "p.yaml"


def test_a_policy_file_with_problems_is_not_loaded(tmp_path, capsys):
    file = tmp_path / "p.yaml"
    file.write_text("policies: {}\n")
    with pytest.raises(CommandError, match="no policy is named"):
        run(capsys, "load_policies", str(file))


def test_tenants_are_imported_from_a_file_after_a_dry_run(tmp_path, capsys):
    file = tmp_path / "t.csv"
    file.write_text("tenant,version\nacorn,1.4.2\nbirch,\n")
    told = run(capsys, "import_tenants", str(file), "--dry-run")
    assert told == (
        "Would be: 2 new, 0 changed, 0 same\n"
        "The version of 1 row would not be kept: say with --plugin whose it is\n"
    )
    assert not Tenant.objects.exists()
    run(capsys, "import_tenants", str(file), "--plugin", "pay")
    assert Tenant.objects.count() == 2
    assert Installation.objects.get().version == "1.4.2"


def test_a_wrong_row_is_told_with_its_line_and_keeps_all_out(tmp_path, capsys):
    file = tmp_path / "t.csv"
    file.write_text("tenant\nacorn\nbad key\n")
    with pytest.raises(CommandError, match=r"t\.csv:3: bad key tenant: 'bad key' is no key"):
        run(capsys, "import_tenants", str(file))
    assert not Tenant.objects.exists()


def test_a_file_says_how_it_is_written_by_its_name_or_by_form(tmp_path, capsys):
    file = tmp_path / "tenants.txt"
    file.write_text("- tenant: acorn\n")
    with pytest.raises(CommandError, match="--form csv or --form yaml"):
        run(capsys, "import_tenants", str(file))
    run(capsys, "import_tenants", str(file), "--form", "yaml")
    assert Tenant.objects.get().key == "acorn"
