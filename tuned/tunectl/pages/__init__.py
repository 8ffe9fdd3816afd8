"""The daemon's answers as lines for people, a module for each subject. Nothing here asks or prints."""
