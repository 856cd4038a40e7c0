"""Config: what every key may be, one preflight of all checks, and what a resumed run may change."""
