"""Big-Bench Hard: 27 subtasks (paper, section 4.1)."""
