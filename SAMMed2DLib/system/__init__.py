"""Files that appear whole, locks, memory, and how numbers are written."""
