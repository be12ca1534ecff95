"""What holds on to past tasks, one file each; knows the Harness, and not how it is planned, stored or run."""
