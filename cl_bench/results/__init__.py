"""What is kept of experiments and what it says: rows, summaries, comparisons; no torch."""
