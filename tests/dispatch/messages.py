"""Messages as callers may say them, hostile ones among them, for tests of what becomes of them."""

from __future__ import annotations

from hypothesis import strategies as st

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onclick='alert(1)",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    'https://example.org/" onmouseover="alert(1)',
    "https://example.org/?a=<b>&c='d'",
    "https://user@[::1/",
    "https://",
    "http://example.org\r\nX: 1",
    "a\r\nBcc: eve@example.org",
    "a\nBcc: eve@example.org\n\nbody",
    "\r\n.\r\nMAIL FROM:<eve@example.org>\r\n",
    "]](https://evil.example.org) [x",
    "&lt;b&gt; &amp; &#60;",
    "=?utf-8?q?=0D=0ABcc:_eve@example.org?=",
    "{colour} {0} %s",
    "</title></head></table>",
    "\u202egnp.exe",
    "\x85Bcc: x\u2028y",
    " " * 100,
    "ü" * 300,
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
said_texts = st.one_of(st.sampled_from(HOSTILE), texts, st.builds(str.__add__, st.sampled_from(HOSTILE), texts))
numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
scalars = st.one_of(st.none(), st.booleans(), numbers, said_texts)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(said_texts, inner, max_size=4)),
    max_leaves=6,
)
tags = st.one_of(
    anything,
    st.dictionaries(said_texts, anything, max_size=4),
    st.lists(st.fixed_dictionaries({"key": anything, "value": anything}, optional={"options": anything}), max_size=4),
)
callbacks = st.one_of(
    anything, st.lists(st.fixed_dictionaries({}, optional={"label": anything, "url": anything}), max_size=4)
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "title": anything,
        "description": anything,
        "link": anything,
        "image_url": anything,
        "occurred_at": anything,
        "tags": tags,
        "callbacks": callbacks,
        "other": anything,
    },
)
