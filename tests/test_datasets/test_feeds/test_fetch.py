"""Fetching pictures: limits, politeness, resuming, and no private address."""

import json
import socket
import threading
from contextlib import suppress

import numpy as np
import pytest

from eclip_mm.datasets import CatalogueError
from eclip_mm.datasets.converters.feed import FetchOptions, fetch_pictures
from eclip_mm.datasets.converters.feed import addresses as addresses_module
from eclip_mm.datasets.converters.feed import fetch as fetch_module
from eclip_mm.datasets.converters.feed.addresses import RefusedAddressError, connect, is_public
from eclip_mm.datasets.converters.feed.deadlines import Deadline
from eclip_mm.datasets.converters.feed.fetched import INDEX, FetchedPictures
from helpers.catalogues import encode, plain_png
from helpers.web import web_server

PNG = {'Content-Type': 'image/png'}


@pytest.fixture
def server():
    with web_server() as running:
        yield running


def options(**changes):
    return FetchOptions(
        **{**dict(allowed_hosts=['127.0.0.1'], tries=1, timeout=2.0, max_wait=0.01), **changes}
    )


@pytest.mark.parametrize(
    ('address', 'public'),
    [
        ('93.184.216.34', True),
        ('2606:2800:220:1::1', True),
        ('127.0.0.1', False),
        ('10.1.2.3', False),
        ('172.16.0.1', False),
        ('192.168.1.1', False),
        ('169.254.169.254', False),  # metadata of cloud machines
        ('100.64.0.1', False),
        ('0.0.0.0', False),
        ('255.255.255.255', False),
        ('224.0.0.1', False),
        ('::1', False),
        ('::', False),
        ('fe80::1%eth0', False),
        ('fd00::1', False),
        ('ff02::1', False),
        ('::ffff:10.0.0.1', False),
        ('::ffff:93.184.216.34', True),
        ('64:ff9b::a00:1', False),  # 10.0.0.1 behind NAT64
        ('64:ff9b::5db8:d822', True),
        ('2002:a00:1::', False),  # 10.0.0.1 by 6to4
    ],
)
def test_public_addresses(address, public):
    assert is_public(address) is public


@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost', '2130706433', '0x7f000001', '127.1'])
def test_a_private_address_is_not_asked_however_it_is_written(host, server, tmp_path):
    port = server.url.rpartition(':')[2]
    url = f'http://{host}:{port}/a.png'
    report = fetch_pictures([url], tmp_path, FetchOptions(tries=1))
    assert report.reasons == {'private address': 1}
    assert f'{host} has the address' in report.problems[0]
    assert not server.asked


def test_a_redirect_to_a_private_address_is_not_followed(server, tmp_path):
    server.answers['/a.png'] = (
        302,
        {'Location': server.url.replace('127.0.0.1', 'localhost')},
        b'',
    )
    server.answers['/b.png'] = (302, {'Location': 'file:///etc/passwd'}, b'')
    server.answers['/c.png'] = (302, {'Location': '/d.png'}, b'')
    server.answers['/d.png'] = (200, PNG, plain_png(9))
    urls = [f'{server.url}/{name}.png' for name in 'abc']
    report = fetch_pictures(urls, tmp_path, options())
    assert report.num_fetched == 1 and '/' not in server.asked
    found = FetchedPictures(tmp_path)
    assert 'localhost has the address' in found.find(urls[0])
    assert 'file' in found.find(urls[1])
    assert found.find(urls[2]).read_bytes() == plain_png(9)


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch):
    """A name server that answers twice, first with a public address, leads nowhere else."""
    asked = []

    def resolve(host, port, **kwargs):
        asked.append(host)
        address = '93.184.216.34' if len(asked) == 1 else '127.0.0.1'
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, '', (address, port))]

    reached = []

    class Socket:
        def __init__(self, *args):
            pass

        def settimeout(self, seconds):
            pass

        def connect(self, address):
            reached.append(address)

    monkeypatch.setattr(socket, 'getaddrinfo', resolve)
    monkeypatch.setattr(addresses_module, 'LimitedSocket', Socket)
    connect('rebind.example', 80, Deadline(1, 1))
    assert reached == [('93.184.216.34', 80)] and len(asked) == 1


def test_one_private_address_among_several_is_enough(monkeypatch):
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, '', (address, 80))
        for address in ('93.184.216.34', '10.0.0.1')
    ]
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *a, **k: found)
    with pytest.raises(RefusedAddressError, match='10.0.0.1, which is not public'):
        connect('mixed.example', 80, Deadline(1, 1))


def test_only_pictures_within_the_limits_are_kept(server, tmp_path):
    big = encode(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    answers = {
        'png': (200, {'Content-Type': 'image/jpeg'}, plain_png(1)),  # the content counts
        'page': (200, {'Content-Type': 'text/html'}, b'<html>'),
        'hidden': (200, PNG, b'<html>not found</html>'),
        'svg': (200, {'Content-Type': 'image/svg+xml'}, b'<svg/>'),
        'empty': (200, PNG, b''),
        'said': (200, {**PNG, 'Content-Length': 10**9}, b'x'),
        'large': (200, {**PNG, 'Content-Length': None}, big),
        'short': (200, {**PNG, 'Content-Length': 900}, plain_png(2)),
        'ppm': (200, PNG, encode(np.zeros((4, 4, 3), np.uint8), 'PPM')),
        'forbidden': (403, {}, b''),
    }
    server.answers = {f'/{name}': answer for name, answer in answers.items()}
    urls = [f'{server.url}/{name}' for name in answers] + ['http://', 'http://x.invalid/a']
    report = fetch_pictures(urls, tmp_path, options(max_bytes=5000))
    assert report.num_fetched == 1 and len(report.problems) == len(urls) - 1
    found = FetchedPictures(tmp_path)
    assert found.find(urls[0]).suffix == '.png'
    kinds = {url.rpartition('/')[2]: found.entries[url].get('kind') for url in urls[:-2]}
    assert kinds == dict(
        png=None,
        page='no picture',
        hidden='no picture',
        svg='no picture',
        empty='no picture',
        said='too large',
        large='too large',
        short='cut short',
        ppm='no picture',
        forbidden='HTTP 403',
    )
    assert found.entries['http://x.invalid/a']['kind'] == 'unknown host'
    for text in ('11 failed', '5 no picture', '2 too large', 'the server sends text/html'):
        assert text in str(report)


def test_a_further_run_fetches_only_what_is_missing(server, tmp_path):
    server.answers = {f'/{i}.png': (200, PNG, plain_png(i)) for i in range(6)}
    server.answers['/busy.png'] = [(503, {}, b''), (200, PNG, plain_png(77))]
    urls = [f'{server.url}/{i}.png' for i in range(6)]
    urls += [f'{server.url}/busy.png', f'{server.url}/gone.png']
    fetch_pictures(urls[:2], tmp_path, options())
    with open(tmp_path / INDEX, 'a') as index:
        index.write('{"url": "' + urls[2])  # killed while writing
    first = fetch_pictures(urls, tmp_path, options())
    assert (first.num_there, first.num_fetched, len(first.problems)) == (2, 4, 2)
    second = fetch_pictures(urls, tmp_path, options())
    assert (second.num_there, second.num_fetched) == (6, 1)  # what was busy
    assert server.asked['/busy.png'] == 2 and server.asked['/gone.png'] == 1
    third = fetch_pictures(urls, tmp_path, options(), retry=True)
    assert (third.num_there, third.num_fetched) == (7, 0) and server.asked['/gone.png'] == 2
    assert all(server.asked[f'/{i}.png'] == 1 for i in range(6))
    FetchedPictures(tmp_path).find(urls[0]).unlink()
    assert fetch_pictures(urls[:1], tmp_path, options()).num_fetched == 1


def test_tries_wait_as_long_as_the_server_asks(server, tmp_path, monkeypatch):
    waits = []

    class Event(threading.Event):
        def wait(self, timeout=None):
            if timeout is None:  # threads wait for each other
                return super().wait()
            waits.append(timeout)
            return super().wait(0)

    monkeypatch.setattr(fetch_module.threading, 'Event', Event)
    server.answers['/a.png'] = [(429, {'Retry-After': '7'}, b''), (200, PNG, plain_png(1))]
    server.answers['/b.png'] = (429, {'Retry-After': '900'}, b'')
    urls = [f'{server.url}/a.png', f'{server.url}/b.png']
    report = fetch_pictures(urls, tmp_path, options(tries=3, max_wait=30, delay=0.25, per_host=1))
    assert report.num_fetched == 1 and server.asked['/b.png'] == 1  # no use in waiting
    assert waits == [7.0, 0.25, 0.25]


def test_a_host_gets_few_requests_at_a_time_and_holds_up_no_other(server, tmp_path):
    server.seconds = 0.02
    server.answers = {f'/{i}.png': (200, PNG, plain_png(i)) for i in range(12)}
    urls = [f'{server.url}/{i}.png' for i in range(12)]
    fetch_pictures(urls, tmp_path, options(per_host=2, num_workers=8))
    assert server.most_at_once == 2
    assert all('eclip_mm' in headers['User-Agent'] for headers in server.headers)


def test_a_full_disk_ends_the_run(server, tmp_path, monkeypatch):
    def fail(path):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(fetch_module, 'whole_file', fail)
    server.answers = {'/a.png': (200, PNG, plain_png(1))}
    with pytest.raises(OSError, match='No space left'):
        fetch_pictures([f'{server.url}/a.png'], tmp_path, options())
    assert not FetchedPictures(tmp_path).entries


def test_addresses_with_blanks_and_letters_are_encoded(server, tmp_path):
    server.answers['/r%C3%B6t%20mug.png?a=%20b'] = (200, PNG, plain_png(1))
    url = f'{server.url}/röt mug.png?a=%20b'
    assert fetch_pictures([url], tmp_path, options()).num_fetched == 1
    assert json.loads((tmp_path / INDEX).read_text())['url'] == url


def test_options_are_checked():
    with pytest.raises(CatalogueError, match='per_host is 0; give more than 0'):
        FetchOptions(per_host=0)


def test_a_malformed_url_is_a_line_of_its_own(tmp_path):
    report = fetch_pictures(['http://[::1/a.jpg'], tmp_path, options())
    assert report.problems and 'http://[::1/a.jpg' in report.problems[0]


def test_what_a_slow_server_does_ends_at_the_deadline(tmp_path):
    """A server may send one byte at a time, in any part of its answer, and never time out."""
    head = b'HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n'
    answers = dict(
        nothing=(b'', b''),
        status=(b'HTTP/1.1 ', b'2'),
        headers=(head, b'X'),
        body=(head + b'\r\n', b'x'),
        redirect=(b'HTTP/1.1 302 Found\r\nLocation: /redirect\r\nX: ', b'x'),
        text=(b'HTTP/1.1 302 Found\r\nLocation: /nothing\r\n\r\n', b'x'),
    )
    stop = threading.Event()

    def answer(client):
        with client, suppress(OSError):
            asked = client.recv(4096).removeprefix(b'GET /').split(b' ')[0]
            first, rest = answers.get(asked.decode(errors='replace'), (b'', b''))
            client.sendall(first)
            while not stop.wait(0.02):
                client.sendall(rest)

    def serve():
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=[listener.accept()[0]], daemon=True).start()

    with socket.create_server(('127.0.0.1', 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        place = f'127.0.0.1:{listener.getsockname()[1]}'
        urls = [f'http://{place}/{name}' for name in answers] + [f'https://{place}/handshake']
        limits = options(timeout=5.0, max_seconds=0.4, per_host=16)
        report = fetch_pictures(urls, tmp_path, limits)
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
    assert report.reasons == dict(slow=len(urls)), str(report)


def test_a_name_server_that_does_not_answer(tmp_path, monkeypatch):
    stop = threading.Event()
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *args, **kwargs: stop.wait(20))
    report = fetch_pictures(['http://shop.example/a.png'], tmp_path, options(max_seconds=0.2))
    stop.set()
    assert report.reasons == dict(slow=1)
