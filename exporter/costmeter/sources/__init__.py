"""Polled sources: providers' own reports, read regularly and free of any ledger."""
