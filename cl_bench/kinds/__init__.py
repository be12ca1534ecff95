"""The kinds of task: everything that differs between segmentation, detection and classification, one file each."""
