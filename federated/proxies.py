"""Which proxy a request goes through: what the environment says, except to this very machine.

HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count, in capitals or small letters. A proxy cannot
know what `localhost` means to whoever asks it, so such an address is never asked through one.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPResponse
from ipaddress import ip_address, ip_network
from socket import inet_aton
from typing import Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener, getproxies
from urllib.request import proxy_bypass as is_excepted

from federated.errors import ProxyUnusable

SCHEMES = ("http", "https")


def find_proxy(url: str) -> str | None:
    """The URL of the proxy for this address; None where it is asked directly.

    Raises ProxyUnusable, which names the variable and never its value: it may hold a password.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in SCHEMES or is_this_machine(host):
        return None
    proxies = getproxies()
    for name in (parts.scheme, "all"):
        if proxies.get(name):
            break
    else:
        return None
    if is_excepted(host) or is_excepted(parts.netloc.rpartition("@")[2]) or _is_in(host, proxies):
        return None
    proxy = proxies[name] if "://" in proxies[name] else f"http://{proxies[name]}"
    kind = urlsplit(proxy).scheme.lower()
    if kind not in SCHEMES:
        raise ProxyUnusable(variable=f"{name.upper()}_PROXY", kind=kind, host=host)
    return proxy


def is_this_machine(host: str) -> bool:
    """Whether the name or address is the loopback's, or stands for any address of this machine."""
    host = host.removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        try:
            address = ip_address(inet_aton(host))  # such as 127.1, which the system knows
        except OSError:
            return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def open_url(url: str, *, timeout_s: float) -> Any:
    """Opens as `urllib.request.urlopen` does; each redirect is asked by these rules too."""
    opener = build_opener(_ByTheRules)
    return opener.open(url, timeout=timeout_s)


class _ByTheRules(ProxyHandler):
    """Asks `find_proxy` at every request."""

    def __init__(self) -> None:
        super().__init__({})

    def http_open(self, request: Request) -> HTTPResponse | None:
        proxy = find_proxy(request.full_url)
        return None if proxy is None else self.proxy_open(request, proxy, request.type)

    https_open = http_open


def _is_in(host: str, proxies: Mapping[str, str]) -> bool:
    """Whether NO_PROXY holds a network, such as 10.0.0.0/8, with this address."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    for entry in proxies.get("no", "").split(","):
        try:
            if address in ip_network(entry.strip(" []"), strict=False):
                return True
        except ValueError:
            continue
    return False
