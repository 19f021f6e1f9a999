"""The only code that opens URLs. Pure rules, one file of the administrator's, one client.

Everything else asks through an `Outlet`; a test holds that nobody opens a connection beside it.
"""

from __future__ import annotations

from upgradeconsole.outbound.destination import check_destination, refusal_of
from upgradeconsole.outbound.openings import (
    PURPOSES,
    Opening,
    OutboundRefused,
    OutboundRules,
    Purpose,
)
from upgradeconsole.outbound.outbound_yaml import OutboundRejected, load_outbound
from upgradeconsole.outbound.outlet import CaFileUnusable, Outlet, read_capped, trusted
from upgradeconsole.outbound.rules_file import Rules, RulesFile

__all__ = [
    "PURPOSES",
    "CaFileUnusable",
    "Opening",
    "OutboundRefused",
    "OutboundRejected",
    "OutboundRules",
    "Outlet",
    "Purpose",
    "Rules",
    "RulesFile",
    "check_destination",
    "load_outbound",
    "read_capped",
    "refusal_of",
    "trusted",
]
