"""Where results are sent to, one file each; all are filled from rows, so that stages trained earlier show too."""
