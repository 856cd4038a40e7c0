"""Operations that replace XLA's where a CPU computes them faster."""
