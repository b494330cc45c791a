"""No certificate expires unnoticed, no key is stored in clear."""
