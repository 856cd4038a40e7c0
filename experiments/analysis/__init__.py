"""What the figures of many runs say: means, intervals, comparisons, tables."""
