"""TFDS builders turn raw images and poses into one training-ready schema on disk."""
