"""Tell people and machines: alerts, reports, checkpoints; tried again until they are told."""
