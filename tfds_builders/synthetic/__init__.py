"""The embedded default: a rendered drive with poses."""
