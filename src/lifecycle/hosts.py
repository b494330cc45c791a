"""What people paste where a host name is wanted. Pure."""

from urllib.parse import urlsplit

_WANTED = "only the host name is wanted, without scheme, port and path"


def too_much(typed: str) -> str:
    """What to say to somebody who typed more than a host name, such as a URL: which one was probably meant."""
    host = _host(typed.strip())
    return _WANTED if host is None else f"{_WANTED}; {host} was probably meant"


def _host(typed: str) -> str | None:
    """The host in a URL, an address with a port, or a mail address; None when none can be made out."""
    try:
        host = urlsplit(typed if "://" in typed else f"//{typed}").hostname
    except ValueError:
        return None
    return host if host and "." in host and host != typed else None
