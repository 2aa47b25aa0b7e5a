"""Whether users are apart from each other and from the cluster, tried out in a user's place."""
