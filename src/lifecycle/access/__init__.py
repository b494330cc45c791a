"""Who may do what: workspaces, API keys, roles, and links that cancel without a key."""
