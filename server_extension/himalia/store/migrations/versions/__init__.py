"""One module each; what a release has shipped is never changed."""
