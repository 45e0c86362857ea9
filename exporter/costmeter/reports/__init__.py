"""What leaves the ledger as a file: the past for Prometheus, charges for FinOps tools."""
