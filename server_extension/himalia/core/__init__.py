"""What the platform is about, free of HTTP, Jupyter and Kubernetes."""
