"""What knows nothing of the benchmark and could serve any project."""
