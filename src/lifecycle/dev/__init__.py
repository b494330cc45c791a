"""Private copies of the real servers, for `lifecycle dev` and for the tests."""
