"""Anomalies of spend: expected values, incidents, and what explains them.

`shapes` and `explain` need the standard library alone. `detect` and what it imports need
numpy: import them only in a worker process (`python -m costmeter.analysis.anomaly.worker`).
"""
