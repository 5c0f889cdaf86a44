"""The exercises of each chapter: `exercise_NN_k(answer)` in `chNN.py` says in Chinese what is wrong, None when right.

Pure over the answer's JSON: a grader calls the same functions on what was handed in.
"""
