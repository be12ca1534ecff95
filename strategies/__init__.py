"""The strategies that ship with cl_bench, one file each."""
