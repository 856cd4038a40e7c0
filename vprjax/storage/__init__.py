"""Files of a run: checkpoints, checksums, JSON lines, atomic writes, the workdir and its lock."""
