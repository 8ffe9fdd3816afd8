"""What tunectl prints: each answer as lines for people, a module for each subject."""
