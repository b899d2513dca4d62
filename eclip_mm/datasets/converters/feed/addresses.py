"""Connections to public addresses only.

A feed comes from elsewhere, and so do its URLs: one of them may name a server of the own network.
A name is resolved once, every address is checked, and the connection goes to a checked address, so
that neither a redirect nor a second answer of the name server leads elsewhere.
"""

import http.client
import ipaddress
import ssl
import urllib.request
from collections.abc import Collection
from functools import lru_cache

from eclip_mm.datasets.converters.feed.deadlines import (
    Deadline,
    LimitedSocket,
    LimitedSSLSocket,
    resolve,
)

_NAT64 = ipaddress.ip_network('64:ff9b::/96')


class RefusedAddressError(OSError):
    """A URL leads to an address that is not public."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet.

    An IPv4 address inside of an IPv6 address counts as itself.
    """
    found = ipaddress.ip_address(address.partition('%')[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast and not found.is_reserved


def connect(
    host: str, port: int, deadline: Deadline, allowed_hosts: Collection[str] = ()
) -> LimitedSocket:
    """Connect to a host whose addresses are all public.

    Args:
        host: name or address.
        port: port.
        deadline: for resolving, connecting and each read.
        allowed_hosts: names that may have other addresses.

    Raises:
        RefusedAddressError: an address is not public.
        OSError: the name cannot be resolved, or no address answers.
    """
    found = resolve(host, port, deadline)
    if host not in allowed_hosts:
        private = [address[0] for *_, address in found if not is_public(address[0])]
        if private:
            raise RefusedAddressError(
                f'{host} has the address {private[0]}, which is not public; '
                f'--allow-host {host} permits it'
            )
    error: OSError | None = None
    for family, kind, protocol, _, address in found:
        opened = LimitedSocket(family, kind, protocol)
        opened.deadline = deadline
        try:
            opened.settimeout(deadline.wait())
            opened.connect(address)
            return opened
        except OSError as failed:
            opened.close()
            error = failed
    raise error or OSError(f'{host} has no address')


@lru_cache(maxsize=1)
def _context() -> ssl.SSLContext:
    """Reading the certificates of the system takes longer than a request."""
    context = ssl.create_default_context()
    context.sslsocket_class = LimitedSSLSocket
    return context


def make_opener(
    deadline: Deadline, allowed_hosts: Collection[str] = ()
) -> urllib.request.OpenerDirector:
    """An opener of HTTP and HTTPS URLs, without proxies, cookies and other schemes.

    A redirect is followed under the same rules, ten times at most.

    Args:
        deadline: for all that it opens, redirects included.
        allowed_hosts: names that may have addresses that are not public.
    """

    class Http(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = connect(self.host, self.port, deadline, allowed_hosts)

    class Https(http.client.HTTPSConnection):
        def connect(self) -> None:
            opened = connect(self.host, self.port, deadline, allowed_hosts)
            opened.settimeout(deadline.wait())
            self.sock = _context().wrap_socket(opened, server_hostname=self.host)
            self.sock.deadline = deadline

    class HttpHandler(urllib.request.HTTPHandler):
        def http_open(self, request):
            return self.do_open(Http, request)

    class HttpsHandler(urllib.request.HTTPSHandler):
        def https_open(self, request):
            return self.do_open(Https, request)

    class Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, request, answer, *args):
            new = super().redirect_request(request, answer, *args)
            answer.close()  # its text, which may have no end, would be read
            return new

    opener = urllib.request.OpenerDirector()
    for handler in (
        HttpHandler(),
        HttpsHandler(),
        Redirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
