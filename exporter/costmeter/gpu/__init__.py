"""GPUs of this machine: sampled through NVML, metered in closed segments."""
