"""What a reader opens: the tables of the paper as LaTeX and CSV."""
