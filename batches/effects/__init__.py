"""The effect loop, its ledger and who runs it: the only code that touches tenants."""
