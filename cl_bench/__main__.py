"""`python -m cl_bench`: the command line where no script is installed, as on a folder that PYTHONPATH names."""

from cl_bench.cli import main

main()
