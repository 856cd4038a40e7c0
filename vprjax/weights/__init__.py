"""The weights of a model's start: pretrained files, their preprocessing, k-means and PCA."""
