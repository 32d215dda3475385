"""Work in progress is kept in a file, and offered again after a crash."""
