"""A hub on Kubernetes: a namespace for every user, and sessions as pods in it."""
