"""The demo's config files, for the port that its fleet listens on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_PORT: Final = 9700
SHIPPED: Final = Path(__file__).parent / "config"
_ADDRESS: Final = "http://127.0.0.1:{}"
_ONLY_A_DEMO_NEEDS: Final = ", webhooks, sign_on]"


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """Where the files are."""

    deployers: Path
    dashboards: Path
    policies: Path
    outbound: Path


def render_demo_config(folder: Path, port: int = DEFAULT_PORT) -> DemoConfig:
    """Write the files into the folder, each as a whole or not at all; return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    config = DemoConfig(
        deployers=folder / "deployers.yaml",
        dashboards=folder / "version_upgrade_dashboards.json",
        policies=folder / "upgrade_policies.yaml",
        outbound=ready_outbound(folder, demo=True),
    )
    for path in (config.deployers, config.dashboards, config.policies):
        text = (SHIPPED / path.name).read_text(encoding="utf-8")
        text = text.replace(_ADDRESS.format(DEFAULT_PORT), _ADDRESS.format(port))
        _write_whole(path, text)
    return config


def ready_outbound(folder: Path, *, demo: bool) -> Path:
    """Write what a console that was just set up may reach; a file that is there stays as it is.

    It reaches this machine's own platforms and sources; a demonstration also tells its alerts here.
    """
    path = folder / "outbound.yaml"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        text = (SHIPPED / path.name).read_text(encoding="utf-8")
        _write_whole(path, text if demo else text.replace(_ONLY_A_DEMO_NEEDS, "]"))
    return path


def _write_whole(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
