"""The console: pages for people, made on the server, with what the API knows and nothing else.

A page asks the functions behind the routes of the API, as the person whose key is in the session; what these refuse is
shown as a page. Without script everything works; with it, countdowns tick and pages follow what happens.
"""
