"""The demonstration: a made-up platform, real programs around the real exporter."""
