"""Claims of the paper's text as checks on evidence, and its figures held against each other."""
