"""Everything that costmeter is run with; `build.py` writes the generated parts."""
