"""What is to be learnt: an experiment's tasks with their data, read, audited, split, augmented; knows no model."""
