"""Descriptors of many images: computed, kept on disk, whitened."""
