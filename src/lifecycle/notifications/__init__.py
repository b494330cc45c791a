"""Notifications: what happens is told to webhooks and by mail, durably and once per delivery id."""
