"""Configs: `base.py` documents every key; every dataset has one file."""
