"""What holds of every template, style and vendored file."""

import hashlib
import re
from pathlib import Path

import pytest
from django.conf import settings

from batches.lifecycle import BATCH, TENANT_UPGRADE
from plans.lifecycle import PLAN

ROOT = Path(settings.BASE_DIR)
VENDOR = ROOT / "static" / "vendor"
PAGES = sorted(
    path
    for path in (ROOT / "templates").rglob("*.html")
    # Papers and mails are no pages: their styles must stand in themselves.
    if not {"pdf", "mail"} & set(path.parts)
)
STATES = sorted({*PLAN.states, *BATCH.states, *TENANT_UPGRADE.states})


def test_every_vendored_file_is_the_one_that_was_written_down():
    lines = (VENDOR / "CHECKSUMS.sha256").read_text(encoding="utf-8").splitlines()
    written = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    found = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name not in {"CHECKSUMS.sha256", "README.md"}
    }
    assert found == written


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_template_needs_inline_script_or_style(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=\"|javascript:|<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"(src|href)=\"(https?:)?//", text)


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_glyph_of_its_own_name(state):
    sprite = (ROOT / "templates/components/icon_sprite.html").read_text(encoding="utf-8")
    assert f'id="i-{state}"' in sprite


NEUTRAL = {"draft", "pending", "excluded", "skipped", "cancelled", "expired", "archived"}


@pytest.mark.parametrize("state", sorted(set(STATES) - NEUTRAL))
def test_every_state_that_says_more_than_nothing_has_a_tone(state):
    tokens = (ROOT / "static/css/tokens.css").read_text(encoding="utf-8")
    assert re.search(rf"\.is-{state}\b", tokens)
