"""The forms of known credentials: a table of what is a credential in a text, and what only has its form (pure).

A rule has a sign, without which its pattern is not tried: most files contain no sign, and are read quickly.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_PROSE = re.compile(
    r"\.(adoc|c|cc|cpp|css|cu|go|h|hpp|html|ipynb|java|jl|jsx?|lua|md|pl|py|pyi|pyx|r|rb|rs|rst|scala|svelte|tex|tsx?|vue)"
)
_TEMPLATE = re.compile(r"(^|[._-])(example|sample|template|tmpl)s?([._-]|$)|\.(dist|default)$", re.I)
_ENVIRONMENT = re.compile(r"(^|\.)env([._-]|$)|^(secrets?|credentials?)(\.(txt|sh))?$", re.I)
_INI = ("", ".cfg", ".cnf", ".conf", ".ini", ".toml")
_LIST = ("", ".conf", ".properties", ".sh", ".txt")


class Kind(NamedTuple):
    """What a file's name says about the texts in it.

    In code and prose (`is_prose`) there are examples of everything; the texts of a template (`is_template`) are meant
    to be replaced; an environment file (`is_environment`) has a variable in each line, and another one (`is_list`) may
    have; others have keys (`is_ini`).
    """

    is_prose: bool = False
    is_template: bool = False
    is_environment: bool = False
    is_list: bool = False
    is_ini: bool = False


def kind_of(name: str) -> Kind:
    """Return what the name of a file, without its folder, says."""
    stem, dot, suffix = name.rpartition(".")
    ending = f".{suffix}".lower() if dot and stem else ""
    return Kind(
        is_prose=_PROSE.fullmatch(ending) is not None,
        is_template=bool(_TEMPLATE.search(name)),
        is_environment=bool(_ENVIRONMENT.search(name)),
        is_list=ending in _LIST,
        is_ini=ending in _INI,
    )


class Rule(NamedTuple):
    """`pattern` finds `what` in texts that have one of `signs`; `holds` decides, by the match, whether it is one."""

    what: str
    signs: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    holds: Callable[[re.Match[bytes], Kind], bool]


_EXAMPLES = re.compile(
    rb"example|placeholder|redacted|x{4}|\*{3}|\.{3}|0{8}|1234567|abcdefg|your|dummy|fake|changeme|change-me", re.I
)
_WORDS = re.compile(
    rb"((my|your|the|some|a|db|user|super|mysecret|secret|test|api)?[-_]?"
    rb"(pass(word|wd|phrase)?|pwd|pw|token|api[-_]?key|key|value|string|here)|change[-_]?me|replace[-_]?me|none|null|true|false|nil|n/?a|todo)"
    rb"[-_]?\d{0,4}",
    re.I,
)
_MORE_WORDS = re.compile(rb"secret|admin|root|user(name)?|guest|test(ing)?|foo|bar|baz|postgres|hunter2?|abc\d*", re.I)
_INSERTED = re.compile(
    rb"\$\w+|\$\{[^{}]*\}|\$\{\{[^{}]*\}\}|\$\(.*\)|`.*`|\{\{.*\}\}|%\(\w+\)s|%s|%\w+%|\*+|x+"
    rb"|(vault|env|op|ref|file|ssm|gcp|aws|azure|secrets?(manager)?|sops|keyring)(\+\w+)?:.*",
    re.I,
)
"""A word that is the place of a value: a variable, the output of a command, a secret elsewhere."""
_PERHAPS_INSERTED = re.compile(rb"<.*>|\[.*\]|\(.*\)|\{.*\}|.*(\{\{.*\}\}|\$\{\{?.*\}|\.\.\.).*|[@!#].*", re.S)
"""A word that may be such a place: a name in brackets, a variable among other letters, a tag. A password may be too."""
_INSERTION = re.compile(rb"\$?\{\{.*?\}\}|\$\{.*?\}|\.\.\.")
_DEFAULTS = re.compile(
    rb"postgres(ql)?|mysql|mariadb|mongo(db)?|redis|rabbitmq|guest|minio(admin)?|airflow|root|admin|neo4j|sa|localhost",
    re.I,
)
"""Passwords that services have when they are new, and that say nothing."""


def _is_made(match: re.Match[bytes], kind: Kind) -> bool:
    """Return whether a machine has made this token: the examples of documentation repeat letters, or say so."""
    text = match[match.lastindex or 0]
    if len({*text}) < min(8, len(text) // 2):
        return False
    return not ((kind.is_prose or kind.is_template) and _EXAMPLES.search(text))


def _always(match: re.Match[bytes], kind: Kind) -> bool:
    return True


def _is_random(word: bytes) -> bool:
    """Return whether a word is more like a generated password than like words: it changes between kinds of letters."""
    kinds = bytes(_KINDS[letter] for letter in word)
    changes = sum(one != other and (one, other) != (*b"Aa",) for one, other in itertools.pairwise(kinds))
    return {*b"Aa0"} <= {*kinds} and changes > 2 and not re.search(rb"\s", word)


_KINDS = bytes(
    ord("a" if chr(code).islower() else "A" if chr(code).isupper() else "0" if chr(code).isdigit() else ".")
    if code < 128
    else ord(".")
    for code in range(256)
)


def _is_path(value: bytes) -> bool:
    """Return whether a value is the path of a file; a generated password may begin with a slash too."""
    if not value.startswith((b"/", b"./", b"../", b"~")):
        return False
    last = value.rpartition(b"/")[2]
    return b"." in last or not any(map(_is_random, re.split(rb"[/~]", value)))


def _is_password(word: bytes, kind: Kind) -> bool:
    """Return whether a word in the place of a password is one, not a name for it or something to be replaced."""
    # % begins a form such as %40 in a URL, and a variable otherwise.
    plain = re.sub(rb"%[0-9A-Fa-f]{2}", b"_", word)
    if not plain or kind.is_template or _INSERTED.fullmatch(plain) or _WORDS.fullmatch(plain):
        return False
    if _PERHAPS_INSERTED.fullmatch(plain):
        return not kind.is_prose and _is_random(_INSERTION.sub(b"", plain).strip(b"<>[](){}@!#"))
    return not (kind.is_prose and (_MORE_WORDS.fullmatch(plain) or _EXAMPLES.search(plain) or {*b":,"} & {*plain}))


def _is_default(word: bytes) -> bool:
    return _DEFAULTS.fullmatch(word) is not None


_NOWHERE = re.compile(
    rb"(.*\.)?(example(\.(com|org|net|io))?|test|invalid|local|localhost)|127\.[\d.]+|0\.0\.0\.0|[^.]+|domain\.\w+",
    re.I,
)
_WEB = (b"http", b"https", b"git+http", b"git+https", b"bzr+https", b"hg+https", b"svn+https")


def _is_login(match: re.Match[bytes], kind: Kind) -> bool:
    """Return whether a URL has a password. Databases of a developer's own machine have well-known ones."""
    user, word, host = match["user"], match["word"], match["host"]
    nowhere = _NOWHERE.fullmatch(host) is not None
    if nowhere and (kind.is_prose or match["scheme"].lower() not in _WEB):
        # The name of a service beside this one: its password may be the real one, unless everybody knows it.
        service = kind.is_environment and re.fullmatch(rb"[^.]+", host) and host.lower() != b"localhost"
        if not service or _MORE_WORDS.fullmatch(word):
            return False
    if nowhere and _MORE_WORDS.fullmatch(word) and _MORE_WORDS.fullmatch(host):
        return False  # the parts of an address, where an example has words without a meaning
    if word in (b"x-oauth-basic", b""):
        return len(user) >= 16 and _is_password(user, kind)
    known = kind.is_prose or _MORE_WORDS.fullmatch(word) or _DEFAULTS.fullmatch(word)
    return not (word == user and known) and _is_password(word, kind)


def _is_user_token(match: re.Match[bytes], kind: Kind) -> bool:
    """Return whether a URL has a token in the place of the user: long, with letters and digits."""
    user = match["user"]
    mixed = re.search(rb"\d", user) and re.search(rb"[A-Za-z]", user)
    return bool(mixed) and not kind.is_prose and not kind.is_template and not _INSERTED.fullmatch(user)


def _is_key(match: re.Match[bytes], kind: Kind) -> bool:
    # A template too: its key is meant to be replaced, and nobody can tell whether it opens anything.
    return not match.group().endswith(b"...")


def _is_word(match: re.Match[bytes], kind: Kind) -> bool:
    return _is_password(match["word"].strip(b"\"'"), kind)


def _is_other_account(match: re.Match[bytes], kind: Kind) -> bool:
    # The key of every emulator of Azure's storage is the same, and published.
    return not match.group().startswith(b"AccountKey=Eby8vdM02xNO") and _is_made(match, kind)


def _token(what: str, sign: str, pattern: str) -> Rule:
    """Return the rule for a token that begins with `sign`, which no other text before it continues."""
    whole = rf"(?<![A-Za-z0-9_])({pattern})(?![A-Za-z0-9])"
    return Rule(what, (sign.encode(),), re.compile(whole.encode()), _is_made)


RULES = (
    Rule(
        "a private key",
        (b"PRIVATE KEY",),
        # Between the header and the key: line ends (also as \n in a string of code), and the fields of old forms.
        re.compile(
            rb"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
            rb"(?:\\[nr]|[\s\"'+,\\]|[A-Za-z-]{1,20}: [^\n\\]{1,200}(?:\n|\\n)){0,60}"
            rb"[A-Za-z0-9+/=]{12,}(?:\.\.\.)?"
        ),
        _is_key,
    ),
    Rule(
        "a private key of PuTTY",
        (b"PuTTY-User-Key-File-",),
        re.compile(rb"PuTTY-User-Key-File-\d: [^\0]{0,4000}?Private-Lines: \d+\s+[A-Za-z0-9+/=]{16,}"),
        _is_key,
    ),
    Rule(
        "a URL with a password",
        (b"@",),
        re.compile(
            rb"(?P<scheme>[A-Za-z][A-Za-z0-9+]{1,19})://(?P<user>[^\s/:@\"'<>`\\|]{0,200}):"
            rb"(?P<word>[^\s/@\"'<>`\\|]{0,512})@(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
        ),
        _is_login,
    ),
    Rule(
        "a URL with a token",
        (b"@",),
        re.compile(rb"(?P<scheme>(?:[a-z]{2,3}\+)?https?)://(?P<user>[A-Za-z0-9_-]{20,512})@(?P<host>[A-Za-z0-9._-]+)"),
        _is_user_token,
    ),
    Rule(
        "a URL with a token of conda's channels",
        (b"/t/",),
        re.compile(rb"https?://[A-Za-z0-9._:-]{1,100}/t/(?P<word>[A-Za-z0-9-]{10,100})/"),
        lambda match, kind: not kind.is_prose and _is_word(match, kind),
    ),
    Rule(
        "a login of .netrc",
        (b"password",),
        # The fields of an entry come in any order (ftp(1)).
        re.compile(
            rb"\b(?:machine\s+\S{1,200}|default)(?:\s+(?:login|account)\s+\S{1,200}){0,2}\s+password\s+(?P<word>\S{1,500})"
        ),
        lambda match, kind: not kind.is_prose and _is_word(match, kind),
    ),
    Rule(
        "an access key of AWS",
        (b"AKIA", b"ASIA"),
        re.compile(rb"(?<![A-Za-z0-9+/_])((?:AKIA|ASIA)[A-Z2-7]{16})(?![A-Za-z0-9+/])"),
        _is_made,
    ),
    Rule(
        "a secret key of AWS",
        (b"ecret_access_key", b"ECRET_ACCESS_KEY", b"ecretAccessKey"),
        re.compile(rb"(?i)secret_?access_?key[\"']?\s{0,9}[=:]\s{0,9}[\"']?([A-Za-z0-9+/]{40})(?![A-Za-z0-9+/=])"),
        _is_made,
    ),
    _token("an API key of Google", "AIza", r"AIza[0-9A-Za-z_-]{35}"),
    _token("a client secret of Google", "GOCSPX-", r"GOCSPX-[0-9A-Za-z_-]{28}"),
    _token("an access token of Google", "ya29.", r"ya29\.[0-9A-Za-z_-]{30,500}"),
    Rule(
        "a key of Azure's storage",
        (b"AccountKey=",),
        re.compile(rb"AccountKey=([A-Za-z0-9+/]{86}==)"),
        _is_other_account,
    ),
    Rule(
        "an access key of Azure",
        (b"SharedAccessKey=",),
        re.compile(rb"SharedAccessKey=([A-Za-z0-9+/]{43}=)"),
        _is_made,
    ),
    Rule(
        "a client secret of Azure",
        (b"Q~",),
        re.compile(rb"(?<![A-Za-z0-9_~.-])([A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34})(?![A-Za-z0-9_~.-])"),
        _is_made,
    ),
    *(_token("a token of GitHub", f"gh{kind}_", rf"gh{kind}_[A-Za-z0-9]{{36,251}}") for kind in "pousr"),
    _token("a token of GitHub", "github_pat_", r"github_pat_[A-Za-z0-9_]{36,255}"),
    _token("a token of GitLab", "glpat-", r"glpat-[A-Za-z0-9_.-]{20,300}"),
    _token("a token of GitLab", "gldt-", r"gldt-[A-Za-z0-9_-]{20,300}"),
    _token("a token of GitLab", "glrt-", r"glrt-[A-Za-z0-9_.-]{20,300}"),
    _token("a token of Hugging Face", "hf_", r"hf_[A-Za-z0-9]{30,40}"),
    _token("a token of Slack", "xox", r"xox[abeoprs]-(?:\d-)?[A-Za-z0-9-]{20,300}"),
    _token("a token of Slack", "xapp-", r"xapp-\d-[A-Za-z0-9-]{20,300}"),
    Rule(
        "a webhook of Slack",
        (b"hooks.slack.com",),
        re.compile(rb"hooks\.slack\.com/services/(T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{20,})"),
        _is_made,
    ),
    Rule(
        "an API key of Weights & Biases",
        (b"wandb", b"WANDB"),
        re.compile(rb"(?i)wandb[\w.]{0,20}(?:key|login)\W{1,6}(?:key\W{1,4})?([0-9a-f]{40})(?![0-9a-f])"),
        _is_made,
    ),
    _token("an API key of Weights & Biases", "wandb_v1_", r"wandb_v1_[A-Za-z0-9_-]{30,300}"),
    _token("an API key of OpenAI", "sk-", r"sk-(?:(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,300}|[A-Za-z0-9]{48})"),
    _token("an API key of Anthropic", "sk-ant-", r"sk-ant-[a-z0-9]{2,10}-[A-Za-z0-9_-]{60,300}"),
    _token("a token of PyPI", "pypi-AgE", r"pypi-AgE[A-Za-z0-9_-]{50,500}"),
    _token("a token of npm", "npm_", r"npm_[A-Za-z0-9]{36}"),
    _token("a token of Docker", "dckr_pat_", r"dckr_pat_[A-Za-z0-9_-]{27}"),
    _token("a token of Databricks", "dapi", r"dapi[0-9a-f]{32}"),
    _token("a token of DigitalOcean", "dop_v1_", r"dop_v1_[0-9a-f]{64}"),
    _token("an API key of Replicate", "r8_", r"r8_[A-Za-z0-9]{37}"),
    _token("an API key of Stripe", "k_live_", r"[sr]k_live_[A-Za-z0-9]{20,250}"),
    _token("an API key of SendGrid", "SG.", r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    _token("a secret key of age", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    Rule(
        "an API key of Kaggle",
        (b'"username"',),
        re.compile(rb'\{\s*"username"\s*:\s*"[^"\n]+"\s*,\s*"key"\s*:\s*"([0-9a-f]{32})"'),
        _is_made,
    ),
    Rule(
        "a login of Kubernetes",
        (b"client-key-data", b"users:"),
        re.compile(
            rb"client-key-data:\s*[\"']?([A-Za-z0-9+/=]{20,})|\busers:\s[^\0]{0,4000}?\s\stoken:\s*[\"']?([\w.-]{16,})"
        ),
        lambda match, kind: not kind.is_prose and _is_made(match, kind),
    ),
)
"""Rules for texts of any name, in the order in which they are reported."""

_VARIABLE = re.compile(rb"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*)")
_SECRET_NAME = re.compile(
    r"(^|_)(secrets?|token|password|passwd|passphrase|pass|pwd|apikey|(api|access|private|secret|encryption|auth|"
    r"signing|account|storage|master|license|ssh|service)_?key|credentials?)(_?\d+)?$|password$",
    re.I,
)
_TOKEN_OF_TEXT = re.compile(r"(^|_)(unk|pad|bos|eos|sep|cls|mask|stop|special|start|end|image)_?token$", re.I)
"""The names of a language model's tokens."""
_SOME_KEY = re.compile(r"_key$", re.I)
"""A name that may be a secret's: that depends on its value."""
_KEY_LINE = re.compile(rb"[ \t]*[\"']?(user(?:name)?|login|pass(?:word|wd)?)[\"']?[ \t]*[=:][ \t]*(.*)", re.I)
_NEAR = 4  # lines between a user's name and the password


def lines_with_passwords(data: bytes, kind: Kind) -> Iterator[tuple[int, str]]:
    """Yield the number of each line that sets a password, and what it sets, in a file of variables or of keys."""
    if kind.is_template or kind.is_prose:
        return
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if kind.is_environment or (kind.is_list and _is_all_variables(lines)):
        for number, line in enumerate(lines, 1):
            match = _VARIABLE.match(line.strip())
            if match and _is_secret(match[1].decode(), match[2]) and _is_value(match[1], match[2], kind):
                yield number, f"the value of {match[1].decode()[:80]}"
    elif kind.is_ini:
        yield from _passwords_beside_users(lines, kind)


def _is_secret(name: str, value: bytes) -> bool:
    """Return whether a variable is a secret by its name, or as a key whose value looks like one of a machine."""
    if _TOKEN_OF_TEXT.search(name):
        return False
    if _SECRET_NAME.search(name):
        return True
    word = _unquoted(value)
    mixed = re.search(rb"\d", word) and re.search(rb"[a-z]", word) and re.search(rb"[A-Z]", word)
    return bool(_SOME_KEY.search(name) and mixed) and len(word) >= 16 and re.fullmatch(rb"[\w+/=-]+", word) is not None


def _passwords_beside_users(lines: list[bytes], kind: Kind) -> Iterator[tuple[int, str]]:
    """Yield each password that has a user near it: a password alone may be the name of a field."""
    users: list[tuple[int, bytes]] = []
    words: list[tuple[int, bytes]] = []
    for number, line in enumerate(lines, 1):
        if match := _KEY_LINE.match(line):
            (users if match[1].lower().startswith((b"user", b"login")) else words).append((number, _unquoted(match[2])))
    for number, word in words:
        near = [user for line, user in users if abs(line - number) < _NEAR]
        if near and word not in near and len(word) > 3 and not _is_default(word) and _is_password(word, kind):
            yield number, "a password"


def _is_all_variables(lines: list[bytes]) -> bool:
    """Return whether a text consists of lines NAME=value with names in capitals, and comments."""
    seen = False
    for line in lines:
        text = line.strip()
        if text and not text.startswith(b"#"):
            match = _VARIABLE.match(text)
            if match is None or match[1] != match[1].upper():
                return False
            seen = True
    return seen


def _unquoted(value: bytes) -> bytes:
    value = value.strip()
    if value[:1] in (b'"', b"'"):
        return value[1:].partition(value[:1])[0]
    return re.split(rb"\s[#;]", value, maxsplit=1)[0].strip()


def _is_value(name: bytes, text: bytes, kind: Kind) -> bool:
    """Return whether a variable's value is secret: neither empty, a path, an address, nor a number of tokens."""
    value = _unquoted(text)
    if len(value) < 4 or not _is_password(value, kind) or _is_default(value) or _is_path(value):
        return False
    if value.startswith((b"http:", b"https:")):
        return False
    return not value.isdigit() or re.search(rb"pass|pwd", name, re.I) is not None
