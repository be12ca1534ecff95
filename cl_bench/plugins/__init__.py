"""Which code does a name stand for: what is registered, how strategies compose; knows none but Avalanche's plug-ins."""
