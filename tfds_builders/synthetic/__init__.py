"""The default dataset: a rendered drive with exact poses."""
