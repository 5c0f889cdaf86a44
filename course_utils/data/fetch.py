"""One page from the web, without a way into the machine or the network that this runs on."""

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import urljoin, urlsplit

from course_utils.errors import DataError

LIMIT = 10 << 20  # bytes
TIMEOUT, DEADLINE = 10, 60  # seconds for one step, and for the page as a whole
REDIRECTS = 5
SUFFIXES = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "application/pdf": ".pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
}


def fetch(address: str, allow_private: bool = False) -> tuple[bytes, str]:
    """The bytes at an http or https address and the suffix that its content type stands for.

    Private, loopback, link-local and other addresses that are not public are refused, after each redirect anew; the
    connection goes to the very address that was checked, so that a name cannot be pointed elsewhere in between.
    allow_private: allow these. Raises `DataError`, also for more than 10 MB, five redirects or a minute.
    """
    deadline = time.monotonic() + DEADLINE
    for _ in range(REDIRECTS + 1):
        connection, path = _connection(address, allow_private)
        try:
            headers = {"User-Agent": "course-extract/1.0", "Accept-Encoding": "identity"}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            target = response.getheader("Location")
            if response.status in (301, 302, 303, 307, 308) and target:
                address = urljoin(address, target)
                continue
            if response.status != 200:
                raise DataError(f"{address} 回答 {response.status}。请检查网址，或者在浏览器里另存为 HTML 再导入。")
            return _body(response, address, deadline), _suffix(response, address)
        except (OSError, http.client.HTTPException) as error:
            raise DataError(
                f"打不开 {address}（{error or type(error).__name__}）。请检查网络，或者另存为文件。"
            ) from None
        finally:
            connection.close()
    raise DataError(f"{address} 跳转了 {REDIRECTS} 次以上。请直接给最后的网址。")


def _connection(address: str, allow_private: bool) -> tuple[http.client.HTTPConnection, str]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise DataError(f"「{address}」不是正确的网址。请检查。") from None
    if parts.scheme not in ("http", "https") or not host:
        raise DataError(f"只能读 http 或 https 网址，不能读「{address}」。本机的文件请直接给路径。")
    port = port or (443 if parts.scheme == "https" else 80)
    connection = _Pinned(host, port, _public(host, port, allow_private), parts.scheme == "https")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return connection, "".join(c if 32 < ord(c) < 127 else _quoted(c) for c in path)


def _quoted(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def _public(host: str, port: int, allow_private: bool) -> str:
    """An address of the host. All that its name stands for must be public: one would be enough to get inside."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise DataError(f"找不到网站 {host}。请检查网址和网络。") from None
    for text in found:
        ip = ipaddress.ip_address(text.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if not allow_private and (not ip.is_global or ip.is_multicast):
            raise DataError(f"{host} 指向内网地址 {ip}，不能读。请给公网上的网址，或者把网页另存为文件。")
    return sorted(found)[0]


class _Pinned(http.client.HTTPConnection):
    """Connects to `ip`, while the request and the certificate name `host`."""

    def __init__(self, host: str, port: int, ip: str, secure: bool):
        super().__init__(host, port, timeout=TIMEOUT)
        self.ip, self.secure = ip, secure
        self.default_port = 443 if secure else 80

    def connect(self) -> None:
        self.sock = socket.create_connection((self.ip, self.port), self.timeout)
        if self.secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _body(response: http.client.HTTPResponse, address: str, deadline: float) -> bytes:
    data = bytearray()
    while piece := response.read1(1 << 16):
        data += piece
        if len(data) > LIMIT:
            raise DataError(f"{address} 超过 {LIMIT >> 20} MB。请下载以后拆成小文件再导入。")
        if time.monotonic() > deadline:
            raise DataError(f"{address} 读了 {DEADLINE} 秒还没有读完。请下载以后再导入。")
    return bytes(data)


def _suffix(response: http.client.HTTPResponse, address: str) -> str:
    kind = (response.getheader("Content-Type") or "text/html").partition(";")[0].strip().lower()
    if kind not in SUFFIXES:
        raise DataError(f"{address} 不是网页或文档，而是 {kind}。请给网页、文本、PDF 或 Word 文件的网址。")
    return SUFFIXES[kind]
