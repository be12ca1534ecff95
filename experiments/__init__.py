"""The experiment presets that ship with cl_bench, one YAML file each."""
