"""The study's grid: its cells, the processes that run them, its page."""
