"""Many trainings as one: jobs in processes and folders of their own, in the order in which they need each other."""
