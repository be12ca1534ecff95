"""What differs between kinds of task, one file or folder each; no kind knows another, or a strategy."""
