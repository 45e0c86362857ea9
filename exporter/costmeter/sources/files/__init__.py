"""Bills in files: FOCUS, AWS Cost and Usage Reports and Azure's details, wherever they lie."""
