"""Configs: `base.py` documents every key; one file a dataset."""
