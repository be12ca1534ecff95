"""How is a trained model put to use: exported, run, timed, described; knows no training."""
