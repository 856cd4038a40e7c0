"""Config: the range of every key, the checks of whole configs, and the keys a resumed run may change."""
