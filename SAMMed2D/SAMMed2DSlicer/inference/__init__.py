"""The model in use, its one worker thread, the request queue, prefetch."""
