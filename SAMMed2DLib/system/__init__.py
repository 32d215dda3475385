"""Files that appear whole, locks, memory, threads of the BLAS, and how numbers are written."""
