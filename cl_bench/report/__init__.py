"""Reports: tables and curves from rows; nothing here knows torch."""
