"""Many portraits from one description: a grid of subjects and settings, its plan, the engines that execute it, and the
tables of its results. Nothing here imports torch; the workers do.
"""
