"""The fixed tables of HPACK: RFC 7541, appendices A and B."""

from __future__ import annotations

#: Appendix A: names and values that have numbers from 1 on. A value follows its name after
#: a blank; most have none.
_STATIC = """
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
"""

STATIC: tuple[tuple[bytes, bytes], ...] = tuple(
    (name.encode(), value.encode())
    for name, _, value in (line.partition(" ") for line in _STATIC.split("\n")[1:-1])
)

#: Appendix B: the length of each byte's code, and of the end of a text (256), as a letter:
#: A is 5 bits, Z is 30. The codes are canonical: they count upwards by length, then by byte.
_LENGTHS = (
    "ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHF"
    "IBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJBKABABABBBACCBBBABCBAABCCCCCKGJIX"
    "PRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRS"
    "VVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWV"
    "Z"
)
END_OF_TEXT = 256


def huffman_codes() -> dict[tuple[int, int], int]:
    """The byte of each (length in bits, code)."""
    lengths = [ord(letter) - ord("A") + 5 for letter in _LENGTHS]
    found = {}
    code = before = 0
    for length, byte in sorted((length, byte) for byte, length in enumerate(lengths)):
        code <<= length - before
        found[length, code] = byte
        code += 1
        before = length
    return found
