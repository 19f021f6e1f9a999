"""A platform behind a command: platform_script.py FOLDER DIRECTION TENANT ..."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main(folder: str, direction: str, tenant: str, *given: str) -> int:
    """Act on the tenant's file as the fault file beside it says; return the exit code."""
    state = Path(folder, f"{tenant}.json")
    faults = Path(folder, f"{tenant}.fault")
    kept = json.loads(state.read_text()) if state.exists() else {"version": "1.4.2", "keys": []}
    fault, _, times = (faults.read_text() if faults.exists() else "").partition(":")
    if times:
        left = int(times) - 1
        faults.write_text(f"{fault}:{left}" if left else "")
    if direction == "observe":
        if fault == "observe_hang":
            time.sleep(60)
        sys.stdout.write(json.dumps(kept))
        return 0
    codes = {"fail": 75, "refuse": 65, "unauthorized": 77}
    if fault in codes:
        sys.stderr.write(f"{fault} says the platform\n")
        return codes[fault]
    if fault == "hang":
        time.sleep(60)
    version, key, digest, config = given
    if fault != "wrong_version" and key not in kept["keys"]:
        kept |= {"version": version, "digest": digest or None, "keys": [*kept["keys"], key]}
        if direction == "restore":
            kept["config"] = json.loads(config)
        state.write_text(json.dumps(kept))
    return 75 if fault == "applied_though_failed" else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
