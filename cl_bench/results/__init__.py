"""What is kept of experiments, and what it says: rows, summaries, comparisons; knows nothing that trains, no torch."""
