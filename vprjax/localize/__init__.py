"""Use of a trained model: descriptors of any pictures."""
