"""costmeter: the cost instrument of an LLM platform."""

__version__ = "0.1.0"
