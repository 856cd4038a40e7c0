"""A run's files: checkpoints, checksums, JSON lines, atomic writes, the workdir and its lock."""
