"""The Grafana dashboards of costmeter: queries, house style, one module a dashboard.

`python -m dashboards.build` writes the files in `dashboards/json`.
"""
