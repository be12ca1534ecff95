"""What results look like: tables, figures, the page, and trackers; no torch."""
