"""OTLP over HTTP without its HTTP: spans and data points of the GenAI conventions into usage."""
