"""What runs: the service and its regular jobs."""
