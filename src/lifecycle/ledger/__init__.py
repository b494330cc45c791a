"""The one outlet for consequences of a decision: audit log and the list of pending actions."""
