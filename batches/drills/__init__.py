"""Rehearse rollbacks: within a plan, by schedule, with faults put in their way."""
