"""Deployers: the only code that reaches a tenant. One file per kind, named in deployers.yaml."""

from __future__ import annotations

from batches.deployers.base import (
    Answer,
    Deployer,
    Direction,
    InstallOrder,
    Observed,
    ObserveFailed,
    Order,
    Outcome,
    RestoreOrder,
)
from batches.deployers.command_deployer import CommandDeployer, CommandOptions
from batches.deployers.deployers_yaml import DeployerSpec, DeployersRejected, load_deployers
from batches.deployers.http_deployer import HttpDeployer, HttpOptions
from batches.deployers.simulated_deployer import SimulatedDeployer, SimulatedFleet
from upgradeconsole.outbound import Rules

__all__ = [
    "Answer",
    "Deployer",
    "DeployerSpec",
    "DeployersRejected",
    "Direction",
    "InstallOrder",
    "ObserveFailed",
    "Observed",
    "Order",
    "Outcome",
    "RestoreOrder",
    "build",
    "load_deployers",
]


def build(spec: DeployerSpec, *, rules: Rules) -> Deployer:
    """Return the deployer that the spec describes; it opens nothing before its first call.

    `rules` say where calls over the network may go.
    """
    match spec.options:
        case HttpOptions():
            return HttpDeployer(
                spec.name,
                spec.options,
                parallelism=spec.parallelism,
                expected_seconds=spec.expected_seconds,
                rules=rules,
            )
        case CommandOptions():
            return CommandDeployer(
                spec.name,
                spec.options,
                parallelism=spec.parallelism,
                expected_seconds=spec.expected_seconds,
            )
        case _:
            return SimulatedDeployer(
                spec.name,
                SimulatedFleet(spec.options),
                parallelism=spec.parallelism,
                expected_seconds=spec.expected_seconds,
            )
