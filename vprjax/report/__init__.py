"""Self-contained HTML pages: one a run, one a grid of runs. Pictures are data URIs; no network."""
