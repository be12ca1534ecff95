"""What Python code is given: `run`, results that tell of themselves, models that predict; decides nothing itself."""
