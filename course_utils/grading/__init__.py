"""Checks on what a learner did: exercises, quizzes, progress, and what is handed in."""
