"""An experiment's tasks with their data: read, audited, split, augmented."""
