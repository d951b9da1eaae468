"""Makes the end of a run's output fit for a label: short, plain, without what looks like a secret.

Whoever controls the output controls this text.
"""

from __future__ import annotations

import re
import unicodedata

MAX_CHARACTERS = 200
# What stands before them is not searched.
MAX_SEARCHED_CHARACTERS = 1 << 14
MASK = "***"
# Our own lines, such as those of `retry`, in a journal with the command's.
OWN_PREFIX = "batch-job: "

# Colours and the like of terminals, ECMA-48: CSI sequences, and titles (OSC).
ESCAPES = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
LINE_ENDS = re.compile(r"[\n\r\v\f\x85\u2028\u2029]+")
KEYS = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|access[_-]?key|account[_-]?key"
    r"|private[_-]?key|secret[_-]?key|credentials?|authorization|cookie|session[_-]?id"
)
VALUE = r"""(?:"[^"\n]*"?|'[^'\n]*'?|[^\s"']\S*)"""
SECRETS = (
    # A private key, also one whose beginning or end is cut off.
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*"), MASK),
    # https://user:password@host
    (re.compile(r"(://[^\s/:@]{0,200}:)[^\s/@]{1,400}(?=@)"), rf"\1{MASK}"),
    (re.compile(r"\b(bearer|basic|digest)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {MASK}"),
    # password=..., "api_key": "...", DB_PASSWORD: ..., --token ...
    (
        re.compile(
            rf"""((?:{KEYS})(?:[_-]\w{{1,20}})?["']?\s{{0,9}}(?:[=:]|=>)\s{{0,9}}){VALUE}""",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(rf"(--?(?:[\w-]{{0,40}}-)?(?:{KEYS})\s{{1,9}}){VALUE}", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    # Tokens that name their issuer: GitHub, GitLab, Slack, AWS, Stripe, OpenAI, JSON Web Tokens.
    (
        re.compile(
            r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[a-z]-|xapp-|AKIA|ASIA|[sr]k_live_|sk-|eyJ)"
            r"[\w.=-]{8,}"
        ),
        MASK,
    ),
    # Keys and digests in hexadecimal.
    (re.compile(r"\b[0-9a-fA-F]{32,}\b"), MASK),
)
# Base64 and other random words: small and capital letters and digits, long, without a break.
RANDOM = re.compile(r"[A-Za-z0-9+/=]{40,}|[A-Za-z0-9_-]{40,}|[A-Za-z0-9]{20,}")
# In chats these would call everybody. A space takes their meaning.
CALLS = re.compile(r"<(?=[!@#])|@(?=(?:all|channel|everyone|here)\b)")


def last_lines(text: str, lines: int) -> str:
    """Return the last lines of a text that have words, at most 200 characters of them."""
    text = text[-MAX_SEARCHED_CHARACTERS:]
    plain = [_plain(line) for line in LINE_ENDS.split(ESCAPES.sub("", text))]
    kept = [line for line in plain if line and not line.startswith(OWN_PREFIX)]
    # Masked before it is cut: the rest of a secret looks like none.
    words = "\n".join(_masked("\n".join(kept)).split("\n")[-lines:])
    words = CALLS.sub(lambda call: f"{call[0]} ", words)
    return words if len(words) <= MAX_CHARACTERS else f"…{words[1 - MAX_CHARACTERS :]}"


def _plain(line: str) -> str:
    """Return a line without characters that are not shown, or that change how others are."""
    shown = (" " if char == "\t" else char for char in line)
    return "".join(char for char in shown if unicodedata.category(char)[0] != "C").strip()


def _masked(text: str) -> str:
    """Return a text without what looks like a secret."""
    for pattern, mask in SECRETS:
        text = pattern.sub(mask, text)
    return RANDOM.sub(lambda word: MASK if _is_random(word[0]) else word[0], text)


def _is_random(word: str) -> bool:
    """Return whether a word has small and capital letters and digits, unlike most names."""
    return all(re.search(kind, word) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
