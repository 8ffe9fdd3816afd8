"""What the database says to people. Only reads."""
