"""What do predictions and scores amount to, as numbers; knows no kind, no model and no experiment."""
