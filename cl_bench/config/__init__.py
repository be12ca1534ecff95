"""An experiment as it is written: its schema, the presets, orders and sweeps; no data and no torch."""
