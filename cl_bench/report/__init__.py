"""What do results look like: tables, figures, the page, trackers; knows nothing that trains; torch only to send."""
