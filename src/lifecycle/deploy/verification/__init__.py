"""Whose a custom domain is: seen in DNS, looked at again and again, and settled in one row of the database."""
