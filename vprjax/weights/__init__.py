"""Weights that a model starts from: pretrained files, their preprocessing, k-means and PCA."""
