"""The report as static pages, each one file that opens from disk."""
