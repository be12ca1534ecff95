"""Which stages has an experiment, and how does each become an artifact; knows no strategy by name, and no executor."""
