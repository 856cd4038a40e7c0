"""Poses of moving cameras: times, tables, rigid motions, axes, interpolation and the motion check."""
