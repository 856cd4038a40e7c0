"""COLD, the COsy Localization Database."""
