"""The trail: append-only, chained, signed at intervals, handed out to be checked elsewhere."""
