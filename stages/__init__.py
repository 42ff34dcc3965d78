"""Learning through Conditioning on Natural Language Feedback: one module per DVC stage."""
