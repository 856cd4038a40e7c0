"""A run's results as files: JSON, Markdown, CSV, and self-contained HTML pages."""
