"""Does a strategy keep to the contract: `cl-bench check`, and the template of a new one."""
