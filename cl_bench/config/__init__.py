"""What does an experiment say: its schema, the presets, orders and sweeps; knows no data and no torch."""
