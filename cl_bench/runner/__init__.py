"""What is missing of an experiment, and who trains it; knows nothing of the command line."""
