"""What goes in and out over HTTP. Fields may be added, none renamed; unknown ones in a request are refused."""
