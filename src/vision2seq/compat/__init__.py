"""For code that was written against something else."""
