"""A deployers file that is broken keeps nobody from coming back."""

import pytest

from batches.configured import deployer_at_hand, deployer_spec
from plans.refusal import BadInput


def test_calls_use_what_was_last_read_while_the_file_is_broken(settings, tmp_path):
    settings.DEPLOYERS_FILE = tmp_path / "deployers.yaml"
    settings.DEPLOYERS_FILE.write_text("deployers:\n  quiet: {kind: simulated}\n")
    known = deployer_spec("quiet")
    settings.DEPLOYERS_FILE.write_text("deployers: [broken")
    with pytest.raises(BadInput):
        deployer_spec("quiet")
    assert deployer_at_hand("quiet") == known
    with pytest.raises(BadInput):
        deployer_at_hand("never-read")
