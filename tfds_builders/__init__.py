"""TFDS builders: raw images and poses to one training-ready schema on disk."""
