"""Figures of many runs: means, intervals, comparisons, tables, the record."""
