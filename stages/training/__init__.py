"""Learning from the feedback (paper, section 5.3): what is trained on, and how."""
