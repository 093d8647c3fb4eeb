#!/usr/bin/env python3
"""Back up, list, verify, clean up and restore a whole ArrivApp: PostgreSQL database, roles, QR codes, configuration.

Data runs one way: settings and arguments -> facts read from disk and server -> a plan (pure) -> steps through
run/pipeline/session -> Report -> exit code, stdout, log.

On disk (archives 0600, directories 0750):
    BACKUP_DIR/database/arrivapp_db_<id>.dump.zst      + .json    pg_dump custom format, zstd outside
    BACKUP_DIR/database/arrivapp_roles_<id>.sql.zst    + .json    pg_dumpall --roles-only
    BACKUP_DIR/qr_codes/qr_codes_<id>.tar.gz           + .json    members relative to QR_CODES_DIR
    BACKUP_DIR/files/config_<id>.tar.gz                + .json    members relative to APP_DIR
    (sealed archives end in .age or .gpg behind that)
    BACKUP_DIR/journal.jsonl, .lock, .swap.json, .work-*/, .arrivapp-backups (the marker: without it nothing is written)
One run makes one backup set: the archives that share an id, the UTC second of its start. The sidecar (.json) is the
commit record, written last; an archive without one is not a backup.

Exit codes: 0 done, 1 failed, 2 usage or settings, 3 partly done, 4 damage, 5 another run holds the lock, 128+n signal n.

The file reads downwards: a definition uses only names that stand above it. To see what a command does, start at its
`cmd_...` in section 11; to see what an archive holds, at the sources in section 8.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import datetime
import difflib
import errno
import fcntl
import functools
import gc
import grp
import gzip
import hashlib
import html
import hmac
import io
import json
import logging
import logging.handlers
import mmap
import os
import pwd
import re
import secrets
import select
import selectors
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import types
import urllib.parse
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

# ==== 1. Constants, errors, report ====================================================================================

VERSION = "1.0"
SIDECAR_VERSION = 1
HERE = Path(__file__).resolve().parent
MARKER = ".arrivapp-backups"
DEFAULT_BACKUP_DIR = Path("/var/backups/arrivapp")
KINDS = ("database", "roles", "qr_codes", "files")
STEMS = {"database": "arrivapp_db", "roles": "arrivapp_roles", "qr_codes": "qr_codes", "files": "config"}  # of archives' names
DIRECTORIES = {"database": "database", "roles": "database", "qr_codes": "qr_codes", "files": "files"}
MIB = 1 << 20
ID_FORMAT = "%Y%m%dT%H%M%SZ"  # of a backup set: the UTC second of its start
MAX_AGE_HOURS = 30  # of the newest complete set: a night and a morning

DONE, FAILED, USAGE, PARTLY, DAMAGE, LOCKED = range(6)

log = logging.getLogger("arrivapp-backup")


class BackupError(Exception):
    """An expected failure: one line for a person that ends with what to do."""
    exit_code = FAILED


class UsageError(BackupError):
    """The command line, a setting, or a name that does not exist."""
    exit_code = USAGE


class PartlyDone(BackupError):
    """What could be done is done and good; something named is not."""
    exit_code = PARTLY


class DamageError(BackupError):
    """Stored data is not what was written, or not what may be restored."""
    exit_code = DAMAGE


class LockedError(BackupError):
    """Another run holds the lock."""
    exit_code = LOCKED


class ProgramError(BackupError):
    """A program that was started ended badly; `stderr` keeps its last words."""

    def __init__(self, program: str, returncode: int, stderr: str) -> None:
        self.program, self.returncode, self.stderr = program, returncode, stderr.strip()
        if returncode < 0:
            ended = f"was killed by {signal.Signals(-returncode).name}"
            ended += " (out of memory?)" if returncode == -signal.SIGKILL else ""
        else:
            ended = f"failed with exit code {returncode}"
        words = [line for line in self.stderr.splitlines() if line.strip()]
        super().__init__(f"{program} {ended}" + (f": {words[-1].strip()}" if words else ""))


class Stopped(BaseException):
    """A signal asks the run to end. Not an Exception, so that no handler for failures swallows it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


@dataclass
class Report:
    """What a run did: the one mutable object. Its exit code is computed, never assigned."""

    command: str
    id: str = ""
    made: list[Any] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    run: str = field(default_factory=lambda: str(uuid.uuid4()))  # this run's name, in the journal and for the dead-man ping
    whole: bool = False  # a backup of every kind, which the dead-man ping waits for

    def problem(self, message: str, code: int = PARTLY) -> None:
        """Record and log something that makes the exit code `code`."""
        log.error("%s", message)
        self.problems.append((code, message))

    @property
    def exit_code(self) -> int:
        """Give the gravest code: a signal before damage before failure before partly done; a held lock alone is its own."""
        codes = {code for code, _ in self.problems}
        ended = max(codes, default=DONE)
        return ended if ended > 128 else next((code for code in (DAMAGE, FAILED, USAGE, PARTLY) if code in codes), ended)


def human_size(size: float) -> str:
    """Write bytes for people: 999 B, 12.3 MB (powers of 1000, as disks are sold)."""
    for unit in ("B", "kB", "MB"):
        if size < 999.95:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def human_age(seconds: float) -> str:
    """Write an age for people: 40 s, 12 min, 5 h, 3 d; the future as such."""
    if seconds < 0:
        return "in the future"
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def printable(text: str) -> str:
    """Escape control characters and broken UTF-8, so that a name cannot forge a log line or drive a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def starred(text: str, secret_values: Iterable[str]) -> str:
    """Put stars in place of secrets."""
    for secret in secret_values:
        text = text.replace(secret, "***").replace(printable(secret), "***")
    return text


def utc_now() -> datetime.datetime:
    """Give the present moment with its zone."""
    return datetime.datetime.now(datetime.timezone.utc)


def names_shown(names: Iterable[str]) -> str:
    """Name the first few of a list for a message."""
    listed = [printable(name) for name in names]
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")


@functools.lru_cache(maxsize=None)
def parse_id(text: str) -> datetime.datetime:
    """Read a set's id, the UTC second 20250111T020000Z. Raise ValueError where it is none."""
    return datetime.datetime.fromisoformat(text)


def local_time(moment: datetime.datetime) -> str:
    """Write a moment in the reader's own time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


# ==== 2. Settings =====================================================================================================


@dataclass(frozen=True)
class Connection:
    """Where a database is. An empty field is left to libpq (PG* variables, service file, ~/.pgpass)."""

    host: str = ""
    port: str = ""
    dbname: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = ()  # libpq variables from the URL's query, e.g. ("PGSSLMODE", "require")

    def __str__(self) -> str:
        """Name it for a message, with what libpq will fill in."""
        name = {key: getattr(self, key) or os.environ.get("PG" + key.upper(), "") or "default" for key in ("host", "port", "user")}
        database = self.dbname or os.environ.get("PGDATABASE", "") or "default"
        return f"host {name['host']}, port {name['port']}, user {name['user']}, database {printable(database)}"


# libpq's parameters that a URL's query may carry, by the environment variable that says the same
# (https://www.postgresql.org/docs/15/libpq-envars.html).
URL_OPTIONS = {
    **{name: f"PG{name.upper()}" for name in ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "gssencmode", "options", "connect_timeout")},
    "application_name": "PGAPPNAME", "channel_binding": "PGCHANNELBINDING", "target_session_attrs": "PGTARGETSESSIONATTRS",
}  # fmt: skip


def parse_database_url(url: str) -> Connection:
    """Read postgresql://user:password@host:port/database?sslmode=... . Raise ValueError, never showing the password."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        raise ValueError("cannot be read as a URL") from None  # the original words may hold the password
    if parts.scheme.split("+")[0] not in ("postgresql", "postgres"):
        raise ValueError("must start with postgresql://")
    if parts.fragment:
        raise ValueError("holds a bare '#' (write @ / ? # in the password as %40 %2F %3F %23)")
    userinfo, _, address = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(.*))?", address, re.DOTALL)
    if not found or "@" in parts.path + parts.query:
        raise ValueError("cannot be read (write @ / ? # in the password as %40 %2F %3F %23)")
    host, port = found.groups()
    query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    host, port = query.pop("host", host.strip("[]")), query.pop("port", port or "")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("has a port that is no port (write @ / ? # in the password as %40 %2F %3F %23)")
    if "," in host:
        raise ValueError("names several hosts: give the one to back up from")
    unknown = sorted(set(query) - set(URL_OPTIONS))
    if unknown:
        raise ValueError(f"has a parameter that is not known: {', '.join(unknown)}")
    texts = [urllib.parse.unquote(text) for text in (host, port, parts.path[1:], user, password)]
    if re.search(r"[\0-\x1f\x7f]", "".join([*texts, *query.values()])):
        raise ValueError("holds a line break or control character, which no password file takes")
    return Connection(*texts, tuple((URL_OPTIONS[key], value) for key, value in query.items()))


def parse_path(text: str) -> Path:
    """Read an absolute path; cron and systemd start us in another directory than a shell."""
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def parse_metrics_file(text: str) -> Path:
    """Read the path of the metrics file."""
    path = parse_path(text)
    if path.suffix != ".prom":
        raise ValueError("must end in .prom: node_exporter reads no other file")
    return path


def parse_number(text: str, low: int = 0, high: int = 10**9) -> int:
    """Read a whole number within bounds."""
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ValueError(f"must be a whole number from {low} to {high}")
    return int(text)


def one_of(answers: Mapping[str, Any]) -> Callable[[str], Any]:
    """Make the parser of a setting that knows only these words."""
    def parse(text: str) -> Any:
        if text.lower() not in answers:
            raise ValueError(f"must be one of: {', '.join(answers)}")
        return answers[text.lower()]

    return parse


YES_NO = one_of({"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False, "1": True, "0": False})
LOG_LEVELS = one_of({name.lower(): name for name in ("DEBUG", "INFO", "WARNING", "ERROR")})


def parse_names(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of paths relative to APP_DIR."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    outside = [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts]
    if outside:
        raise ValueError(f"must be paths inside APP_DIR, relative to it: {', '.join(outside)}")
    return names


def parse_web_url(text: str) -> str:
    """Read the address of a webhook or a ping. Raise ValueError, never showing it: who knows it can write there."""
    try:
        parts = urllib.parse.urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its own words may show the address
        known = False
    if not known or "@" in parts.netloc or parts.fragment or not re.fullmatch("[!-~]+", text):
        raise ValueError("must be https://HOST/... or http://HOST/..., with no user, space or # in it")
    return text


def parse_addresses(text: str) -> tuple[str, ...]:
    """Read e-mail addresses, separated by commas; sendmail also takes the bare name of a user of this machine."""
    addresses = tuple(address.strip() for address in text.split(",") if address.strip())
    wrong = [address for address in addresses if not re.fullmatch(r"(?!-)[\w.+'%=/~&-]+(@[\w.-]+)?", address, re.ASCII)]
    if wrong or not addresses:
        raise ValueError(f"holds what is no e-mail address: {names_shown(wrong)}")
    return addresses


def parse_command(text: str) -> tuple[str, ...]:
    """Split a command into words as a shell would; no shell ever runs it."""
    return tuple(shlex.split(text))


class Recipients(NamedTuple):
    """To whom backups are sealed. Public keys alone: the server cannot read its own old backups."""

    method: str  # age or gpg; also the suffix of sealed archives
    keys: tuple[str, ...]


RECIPIENT = {"age": r"age1[0-9a-z]{8,}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]{32,}", "gpg": r"[0-9A-F]{40}|[0-9A-F]{64}"}


def parse_encrypt_to(text: str) -> Recipients:
    """Read age:RECIPIENT,... or gpg:FINGERPRINT,... ; a fingerprint may have spaces, as gpg shows it."""
    method, _, rest = text.partition(":")
    if "SECRET-KEY" in text.upper():
        raise ValueError("holds a secret key: give the public one, which begins with age1, and take this one off the server")
    keys = tuple(re.sub(r"\s", "", key).upper() if method == "gpg" else key.strip() for key in rest.split(","))
    if method not in RECIPIENT or not all(re.fullmatch(RECIPIENT[method], key) for key in keys):
        raise ValueError("must be age:RECIPIENT (age1...) or gpg:FINGERPRINT (all 40 digits: gpg --fingerprint); several are separated by commas")
    return Recipients(method, keys)


def parse_signing_key(text: str) -> str:
    """Read a key that nobody guesses."""
    if len(text) < 32:
        raise ValueError("must have at least 32 characters: openssl rand -hex 32")
    return text


def parse_remotes(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of rclone's remote:path. No connection strings: they would show secrets in argv."""
    remotes = tuple(dict.fromkeys(name.strip().rstrip("/") for name in text.split(",") if name.strip()))
    wrong = [name for name in remotes if not re.fullmatch(r":?\w[\w.+@ -]*:[^:]+", name) or ".." in name.split("/")]
    if wrong:
        raise ValueError(f"must be remote:path, or several with commas between; this is none: {', '.join(wrong)}")
    return remotes




def setting(parse: Callable[[str], Any], default: Any, *, secret: bool = False, off: Any = None) -> Any:
    """Declare a setting; its name is the field's in capitals. `off`: what an empty value means, where it means something."""
    return field(default=default, repr=not secret, metadata={"parse": parse, "secret": secret, "off": off})


@dataclass(frozen=True)
class Settings:
    """Every setting, parsed. One line declares one; `.env.backup.example` explains each."""

    app_dir: Path = setting(parse_path, HERE)
    backup_dir: Path = setting(parse_path, DEFAULT_BACKUP_DIR)
    log_dir: Path = setting(parse_path, Path("/var/log/arrivapp"))
    log_level: str = setting(LOG_LEVELS, "INFO")
    work_dir: Path | None = setting(parse_path, None)
    qr_codes_dir: str = setting(str, "qr_codes", off="")
    config_files: tuple[str, ...] = setting(
        parse_names, ("app/core/config.py", ".env", "requirements.txt", "docker-compose.yml"), off=()
    )
    db_host: str = setting(str, "")
    db_port: int = setting(functools.partial(parse_number, low=1, high=65535), 0)
    db_name: str = setting(str, "")
    db_user: str = setting(str, "")
    db_password: str = setting(str, "", secret=True)
    database_url: Connection | None = setting(parse_database_url, None, secret=True)
    restore_database_url: Connection | None = setting(parse_database_url, None, secret=True)
    drill_database_url: Connection | None = setting(parse_database_url, None, secret=True)
    qr_codes_query: str = setting(str, "SELECT qr_code_path FROM students WHERE qr_code_path <> ''", off="")
    pg_bin_dir: Path | None = setting(parse_path, None)
    role_passwords: bool = setting(YES_NO, False)
    daily_retention: int = setting(parse_number, 7)
    weekly_retention: int = setting(parse_number, 30)
    monthly_retention: int = setting(parse_number, 365)
    min_keep: int = setting(parse_number, 3)
    keep_before_days: int = setting(parse_number, 7)
    lock_wait_seconds: int = setting(parse_number, 0)
    table_lock_seconds: int = setting(parse_number, 60)
    stall_seconds: int = setting(parse_number, 600)
    fingerprint_seconds: int = setting(parse_number, 60)
    restore_seconds: int = setting(parse_number, 0)
    metrics_file: Path | None = setting(parse_metrics_file, None)
    status_page: Path | None = setting(parse_path, None)
    alert_on: str = setting(one_of({"failure": "failure", "always": "always"}), "failure")
    alert_webhook_url: str = setting(parse_web_url, "", secret=True)
    alert_email_to: tuple[str, ...] = setting(parse_addresses, ())
    alert_email_from: tuple[str, ...] = setting(parse_addresses, ())
    smtp_host: str = setting(str, "")
    smtp_port: int = setting(functools.partial(parse_number, low=1, high=65535), 0)
    smtp_tls: str = setting(one_of({"starttls": "starttls", "tls": "tls", "no": "no"}), "starttls")
    smtp_user: str = setting(str, "")
    smtp_password: str = setting(str, "", secret=True)
    healthcheck_url: str = setting(parse_web_url, "", secret=True)
    notify_command: tuple[str, ...] = setting(parse_command, ())
    encrypt_to: Recipients | None = setting(parse_encrypt_to, None)
    decrypt_identity_file: Path | None = setting(parse_path, None)
    signing_key: str = setting(parse_signing_key, "", secret=True)
    offsite_remotes: tuple[str, ...] = setting(parse_remotes, ())
    offsite_keep_days: int = setting(parse_number, 35)
    offsite_seconds: int = setting(parse_number, 14400)
    offsite_cleanup: bool = setting(YES_NO, False)
    # Not settings: what was worked out while loading.
    connection: Connection = Connection()
    env_file: Path | None = None
    passed_on: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_values: tuple[str, ...] = field(default=(), repr=False)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Give the kinds that a full backup makes here."""
        off = {"qr_codes": not self.qr_codes_dir, "files": not self.config_files}
        return tuple(kind for kind in KINDS if not off.get(kind))

    @property
    def qr_codes_path(self) -> Path:
        """Give the QR code directory; a relative one stands beside the application."""
        return self.app_dir / self.qr_codes_dir

    @functools.cached_property
    def env(self) -> Mapping[str, str]:
        """Give the environment for the programs we start: cron's PATH made usable, English messages, none of our secrets."""
        secret = {f.name.upper() for f in dataclasses.fields(self) if f.metadata.get("secret")}
        env = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in secret} | self.passed_on
        places = [*env.get("PATH", "").split(":"), "/usr/local/bin", "/usr/bin", "/bin", "/opt/homebrew/bin", "/usr/sbin", "/sbin"]
        env["PATH"] = ":".join(dict.fromkeys(place for place in places if place))
        if not env.get("HOME") or not os.access(env["HOME"], os.X_OK):  # runuser keeps root's
            env["HOME"] = pwd.getpwuid(os.geteuid()).pw_dir
        return env | {"LC_ALL": "C", "LANGUAGE": "C"}

    def which(self, program: str) -> str | None:
        """Find a program on that PATH."""
        return shutil.which(program, path=self.env["PATH"])


FIELDS = {f.name.upper(): f for f in dataclasses.fields(Settings) if f.metadata}
SECRETS = tuple(name for name, f in FIELDS.items() if f.metadata["secret"])
CONNECTION_NAMES = {"DB_HOST": "host", "DB_PORT": "port", "DB_NAME": "dbname", "DB_USER": "user", "DB_PASSWORD": "password"}
PASSED_PREFIXES = ("PG", "RCLONE_", "AWS_", "GNUPGHOME")


def parse_env_lines(text: str) -> Iterator[tuple[str, str | None, str]]:
    """Yield (name, value, complaint) for each statement of a .env file, by python-dotenv's own parser, nothing expanded.

    The parser and not `dotenv_values`, because the latter drops a line with an unclosed quote and only logs it.
    """
    try:
        from dotenv.parser import parse_stream
    except ImportError:
        interpreter = HERE / ".venv" / "bin" / "python"
        if os.access(interpreter, os.X_OK) and not os.environ.get("ARRIVAPP_BACKUP_REEXEC"):
            os.environ["ARRIVAPP_BACKUP_REEXEC"] = "1"
            os.execv(interpreter, [str(interpreter), *sys.argv])
        raise UsageError("the Python package python-dotenv is missing: run ./setup_backup_automation.sh, "
                         "or apt install python3-dotenv, or pip install python-dotenv") from None  # fmt: skip
    for binding in parse_stream(io.StringIO(text)):
        first = binding.original.line + len(binding.original.string) - len(binding.original.string.lstrip("\n"))
        if binding.error:
            yield "", None, f"line {first} cannot be read (is a quote unclosed?)"
        elif binding.key is not None and binding.value is None:
            yield binding.key, None, f"line {first}: {binding.key} has no '='"
        elif binding.key is not None:
            yield binding.key, binding.value, ""


def check_private(path: Path) -> str:
    """Say what is wrong with the owner or mode of a file that holds secrets; '' where nothing is.

    It must be ours, root's or the script owner's (who is trusted already); root alone may hand it to a group on purpose.
    """
    facts = path.stat()
    if facts.st_uid not in (os.geteuid(), 0, Path(__file__).stat().st_uid):
        return f"{path} belongs to another user: chown {pwd.getpwuid(os.geteuid()).pw_name} {shlex.quote(str(path))}"
    allowed = 0o640 if facts.st_uid == 0 else 0o600
    if stat.S_IMODE(facts.st_mode) & 0o077 & ~allowed:
        return f"{path} can be read or changed by others: chmod 600 {shlex.quote(str(path))}"
    return ""


def read_env_file(path: Path, problems: list[str]) -> dict[str, str]:
    """Read our settings file; every mistake goes to `problems`, by name."""
    values: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8")
        complaint = check_private(path)
    except (OSError, UnicodeError) as error:
        problems.append(f"cannot read the settings file {path}: {error}")
        return values
    if complaint:
        problems.append(f"the settings file {complaint}")
    for name, value, complaint in parse_env_lines(text):
        passed = name.startswith(PASSED_PREFIXES) and not name.startswith("PG_")  # libpq has no such name: a slip
        known = name in FIELDS or name.removesuffix("_FILE") in SECRETS or passed
        if complaint:
            problems.append(f"{path}: {complaint}")
        elif not known:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            problems.append(f"{path}: unknown setting {printable(name)}" + (f" (did you mean {near[0]}?)" if near else ""))
        else:
            values[name] = value or ""
    return values


def open_secret_files(layer: Mapping[str, str], origin: str, problems: list[str]) -> dict[str, str]:
    """Replace NAME_FILE by NAME with the file's content, for every secret of one source of settings."""
    opened = dict(layer)
    for name in SECRETS:
        text = opened.pop(f"{name}_FILE", "")
        if not text:
            continue
        if opened.get(name):
            problems.append(f"{origin}: both {name} and {name}_FILE are set: keep one")
        try:
            complaint = check_private(Path(text))
            opened[name] = Path(text).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeError) as error:
            complaint = f"cannot be read: {error}"
        if complaint:
            problems.append(f"{origin}: {name}_FILE: {complaint}")
    return opened


def merge_connection(layers: Iterable[Mapping[str, Any]]) -> Connection:
    """Work out the connection from parsed layers, weakest first; within one layer DB_* beats DATABASE_URL.

    A URL replaces whatever is weaker, whole; and its password goes only with its own host and user, so that one
    server's password is never sent to another.
    """
    result, from_url = Connection(), False
    for layer in layers:
        if layer.get("DATABASE_URL"):
            result, from_url = layer["DATABASE_URL"], True
        parts = {key: str(layer[name]) for name, key in CONNECTION_NAMES.items() if layer.get(name)}
        moved = any(parts.get(key, getattr(result, key)) != getattr(result, key) for key in ("host", "user"))
        if from_url and moved:
            result, from_url = dataclasses.replace(result, password=""), False
        result = dataclasses.replace(result, **parts)
    return result


def parse_layer(layer: Mapping[str, str], origin: str, problems: list[str]) -> dict[str, Any]:
    """Parse one source of settings; empty values are left out, except where empty means 'off'."""
    parsed: dict[str, Any] = {}
    for name, text in layer.items():
        if name not in FIELDS:
            continue
        meta = FIELDS[name].metadata
        if any(ord(c) < 32 or ord(c) == 127 for c in text):
            problems.append(f"{origin}: {name} holds a line break or control character (is a quote unclosed?)")
        elif text:
            try:
                parsed[name] = meta["parse"](text)
            except ValueError as error:
                shown = "" if meta["secret"] or "SECRET-KEY" in text.upper() else f"={printable(text)}"
                problems.append(f"{origin}: {name}{shown} {error}")
        elif meta["off"] is not None:
            parsed[name] = meta["off"]
    return parsed


def load_settings(flags: Mapping[str, str], env_file: Path | None = None) -> Settings:
    """Load flags > environment > our settings file > DATABASE_URL of the application's .env.

    Raise UsageError that lists every mistake by name. A settings file that was named must exist; the one beside the
    script may be absent.
    """
    problems: list[str] = []
    path = env_file or HERE / ".env.backup"
    from_file = read_env_file(path, problems) if env_file or path.exists() else {}
    names = {*FIELDS, *(f"{name}_FILE" for name in SECRETS)}
    from_environment = {name: os.environ[name] for name in names if name in os.environ}
    sources = [(str(path), from_file), ("environment", from_environment), ("command line", flags)]
    layers = [parse_layer(open_secret_files(layer, origin, problems), origin, problems) for origin, layer in sources]
    merged: dict[str, Any] = {name: value for layer in layers for name, value in layer.items()}
    application = merged.get("APP_DIR", HERE) / ".env"
    with contextlib.suppress(OSError, UnicodeError):
        found = {name: value for name, value, _ in parse_env_lines(application.read_text("utf-8")) if name == "DATABASE_URL" and value}
        layers.insert(0, parse_layer(found, str(application), problems))
    if problems:
        raise UsageError("\n".join(problems))
    passed_on = {name: value for name, value in from_file.items() if name.startswith(PASSED_PREFIXES) and name not in FIELDS}
    secret_values = {value for name, value in passed_on.items() if re.search("PASSWORD|SECRET|TOKEN|KEY|_PASS$", name)}
    secret_values |= {layer.get(name, "") for layer in layers for name in SECRETS} | {os.environ.get("PGPASSWORD", "")}
    secret_values = {value.password if isinstance(value, Connection) else value for value in secret_values}
    return Settings(
        **{name.lower(): value for name, value in merged.items()},
        connection=merge_connection(layers),
        env_file=path if from_file else None,
        passed_on={name: value for name, value in passed_on.items() if name not in os.environ},
        secret_values=tuple(sorted((value for value in secret_values if len(value) > 3), key=len, reverse=True)),
    )


# ==== 3. Programs =====================================================================================================

LAST_WORDS = 16384  # bytes of stderr kept per program
GRACE_SECONDS = 10  # between SIGTERM and SIGKILL


@functools.lru_cache(maxsize=None)
def _death_wish() -> tuple[str, ...]:
    """Give the command prefix that ends a child when we are killed with -9 (PR_SET_PDEATHSIG; Linux with util-linux)."""
    program = shutil.which("setpriv") if sys.platform == "linux" else None
    known = program and Path(program).resolve().name == "setpriv"  # busybox's knows no --pdeathsig
    return (program, "--pdeathsig", "TERM", "--") if program and known else ()


def _start(command: Sequence[str | Path], **popen: Any) -> subprocess.Popen[bytes]:
    """Start one program in a process group of its own, so that ^C reaches it only through us. For the three below."""
    argv = [str(part) for part in command]
    log.debug("run: %s", shlex.join(argv))
    try:
        return subprocess.Popen([*_death_wish(), *argv], process_group=0, **popen)
    except FileNotFoundError:
        raise BackupError(f"the program {argv[0]} is not there: install it, or correct PATH") from None


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End programs with their groups: SIGTERM, and SIGKILL after a grace; a second signal to us means at once."""
    alive = [process for process in processes if process.poll() is None]
    try:
        for process in alive:
            for number in (signal.SIGTERM, signal.SIGCONT):  # a stopped process cannot obey before it goes on
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, number)
        deadline = time.monotonic() + GRACE_SECONDS
        for process in alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for process in alive:  # what its children left too: the group lives as long as one of them
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _pump(routes: Mapping[int, Callable[[bytes], object]], watched: int, stall: float, limit: float, name: str) -> None:
    """Read every descriptor to its end and hand each chunk on.

    Raise BackupError when `watched` gives no byte for `stall` seconds, or the whole takes `limit` (0: for ever).
    """
    started = moved = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for descriptor, take in routes.items():
            selector.register(descriptor, selectors.EVENT_READ, take)
        while selector.get_map():
            for key, _ in selector.select(0.5):
                chunk = os.read(key.fd, MIB)
                if chunk:
                    key.data(chunk)
                else:
                    selector.unregister(key.fd)
                if key.fd == watched:
                    moved = time.monotonic()
            now = time.monotonic()
            if stall and now - moved > stall:
                raise BackupError(f"{name} moved no byte for {stall:.0f} s (STALL_SECONDS) and was stopped: does the server or a disk hang?")
            if limit and now - started > limit:
                raise BackupError(f"{name} took longer than {limit:.0f} s and was stopped")


def _raise_failure(processes: Sequence[subprocess.Popen[bytes]], names: Sequence[str], words: Sequence[bytes]) -> None:
    """Raise ProgramError for the member of a pipeline that failed first: the cause, not the broken pipes around it."""
    ended = zip(processes, names, words)
    failed = [ProgramError(name, process.returncode, said.decode("utf-8", "replace")) for process, name, said in ended if process.returncode]
    echoes = [e for e in failed if e.returncode == -signal.SIGPIPE or "Broken pipe" in e.stderr]
    killed = [e for e in failed if e.returncode < 0 and e not in echoes]
    for error in [*killed, *(e for e in failed if e not in echoes), *failed][:1]:
        raise error


def pipeline(
    commands: Sequence[Sequence[str | Path]], *, env: Mapping[str, str], stdin: BinaryIO | int = subprocess.DEVNULL,
    sink: Callable[[bytes], object] | None = None, stdout: BinaryIO | int = subprocess.DEVNULL, stall: float = 0,
    limit: float = 0, keep_fds: Sequence[int] = (),
) -> str:  # fmt: skip
    """Run commands joined by pipes and give what they said on stderr; every member's status counts.

    The last one's output goes to `sink` in chunks of bytes, or to the file `stdout`. `keep_fds` stay open in the
    programs (the lock, so that an orphan still holds it). Raise ProgramError for the member that caused a failure. On
    any exception, a signal's too, all of them are stopped first.
    """
    processes: list[subprocess.Popen[bytes]] = []
    words = [bytearray() for _ in commands]
    names = [Path(command[0]).name for command in commands]
    upstream: Any = stdin
    try:
        for position, command in enumerate(commands):
            last = position == len(commands) - 1
            out = stdout if last and sink is None else subprocess.PIPE
            kept = () if names[position] == "gpg" else keep_fds  # its agent is a daemon that would keep them for ever
            process = _start(command, stdin=upstream, stdout=out, stderr=subprocess.PIPE, env=env, pass_fds=kept)
            if processes:
                upstream.close()  # or the one before would never see that its reader died
            processes.append(process)
            upstream = process.stdout
        routes: dict[int, Callable[[bytes], object]] = {p.stderr.fileno(): said.extend for p, said in zip(processes, words)}
        watched = upstream.fileno() if sink else -1
        if sink:
            routes[watched] = sink
        _pump(routes, watched, stall, limit, names[0])
        for process in processes:
            process.wait()
    finally:
        _stop(processes)
        for stream in (s for p in processes for s in (p.stdout, p.stderr) if s):
            stream.close()
    words = [bytes(said[-LAST_WORDS:]) for said in words]
    _raise_failure(processes, names, words)
    return b"".join(words).decode("utf-8", "replace")


def run(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, limit: float = 60, **options: Any) -> str:
    """Run one program and give its stdout. Raise ProgramError if it fails, BackupError after `limit` seconds."""
    output: list[bytes] = []
    pipeline([command], env=os.environ if env is None else env, sink=output.append, limit=limit, **options)
    return b"".join(output).decode("utf-8", "replace")


class Psql:
    """A psql that is fed through its stdin: one process and one login for many queries. Made by `session`."""

    def __init__(self, process: subprocess.Popen[bytes], words: BinaryIO) -> None:
        self._process, self._words = process, words
        self._token = secrets.token_hex(16)

    def _failure(self) -> ProgramError:
        """Give the reason for which psql ended."""
        self._process.wait(GRACE_SECONDS)
        self._words.seek(0)
        said = re.sub(r"^psql:<stdin>:\d+: ", "", self._words.read()[-LAST_WORDS:].decode("utf-8", "replace"), flags=re.MULTILINE)
        errors = re.findall(r"^(?:ERROR|FATAL|psql: error).*", said, re.MULTILINE)
        return ProgramError("psql", self._process.returncode, "\n".join([said, *errors[-1:]]))

    def send(self, sql: str) -> None:
        """Start a query; `receive` waits for it."""
        try:
            self._process.stdin.write(f"{sql.rstrip().rstrip(';')};\n\\echo {self._token}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def ready(self, seconds: float) -> bool:
        """Wait up to `seconds` for the query that was sent; tell whether `receive` has something to read."""
        return bool(select.select([self._process.stdout], [], [], max(0.0, seconds))[0])

    def receive(self, seconds: float = 60) -> list[list[str]]:
        """Give the rows of the query that was sent, as lists of text (NULL is ''). Raise ProgramError if it failed."""
        deadline = time.monotonic() + (seconds or 10**6)  # eleven days
        output, end = bytearray(), f"{self._token}\n".encode()
        while not output.endswith(end):
            if not self.ready(deadline - time.monotonic()):
                raise BackupError(f"the server did not answer a query within {seconds:.0f} s")
            chunk = os.read(self._process.stdout.fileno(), MIB)
            if not chunk:
                raise self._failure()
            output += chunk
        text = output[: -len(end)].decode("utf-8", "surrogateescape")
        return list(csv.reader(io.StringIO(text, newline="")))

    def rows(self, sql: str, seconds: float = 60) -> list[list[str]]:
        """Run a query and give its rows. `seconds` 0 waits for ever."""
        self.send(sql)
        return self.receive(seconds)

    def value(self, sql: str, seconds: float = 60) -> str:
        """Run a query and give the first column of its first row, '' where there is none."""
        rows = self.rows(sql, seconds)
        return rows[0][0] if rows and rows[0] else ""


@contextlib.contextmanager
def session(psql: Path, env: Mapping[str, str]) -> Iterator[Psql]:
    """Open a psql fed through its stdin. -X and ON_ERROR_STOP always: without, half a file would exit 0."""
    command = [psql, "-X", "-q", "-t", "--csv", "-w", "-v", "ON_ERROR_STOP=1"]
    env = {**env, "PGCLIENTENCODING": "UTF8"}
    csv.field_size_limit(1 << 30)  # a database's facts are one field
    with tempfile.TemporaryFile() as words:  # not a pipe: a script's notices would fill it and hang both sides
        process = _start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, env=env)
        try:
            yield Psql(process, words)
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)  # a psql whose input ended ends by itself
            _stop([process])
            process.stdout.close()


def quote_name(name: str) -> str:
    """Quote an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Quote an SQL string, whatever standard_conforming_strings says."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f" E'{escaped}'" if "\\" in text else f"'{escaped}'"


POSTGRES_PLACES = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/libpq/bin", "opt/homebrew/opt/postgresql@*/bin",
                   "usr/local/opt/libpq/bin", "usr/local/opt/postgresql@*/bin", "Applications/Postgres.app/Contents/Versions/*/bin")  # fmt: skip


def postgres_programs(name: str, settings: Settings) -> list[Path]:
    """List the executable PostgreSQL programs of a name, most wanted first: PG_BIN_DIR alone, else PATH and the usual places.

    Debian's /usr/bin/pg_dump is a Perl wrapper that chooses a version by its own rules: passed over for the real ones.
    """
    places = [Path(place) for place in settings.env["PATH"].split(":")]
    places += [found for pattern in POSTGRES_PLACES for found in sorted(Path("/").glob(pattern), reverse=True)]
    programs = [place / name for place in ([settings.pg_bin_dir] if settings.pg_bin_dir else dict.fromkeys(places))]
    return [path for path in programs if os.access(path, os.X_OK) and path.is_file() and path.resolve().name != "pg_wrapper"]


@functools.lru_cache(maxsize=None)
def program_version(path: Path) -> tuple[int, int]:
    """Ask a PostgreSQL program for its (major, minor) version; (0, 0) where it gives none."""
    try:
        found = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", run([path, "--version"], limit=20))
    except (BackupError, OSError):
        return (0, 0)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def install_advice(major: int) -> str:
    """Name the command that installs the client programs of a major."""
    if sys.platform == "darwin":
        return f"brew install postgresql@{major}"
    return f"apt install postgresql-client-{major} (from apt.postgresql.org where the distribution lacks it)"


def postgres_program(name: str, major: int, settings: Settings, connection: Connection) -> Path:
    """Choose a PostgreSQL program of exactly the server's major; raise BackupError naming what there is and what to install.

    An older pg_dump refuses, and a newer pg_restore emits settings that an older server does not know.
    """
    found = postgres_programs(name, settings)
    for path in found:
        if program_version(path)[0] == major:
            return path
    have = ", ".join(f"{path} ({program_version(path)[0] or 'gives no version'})" for path in found) or "none"
    where = f" in PG_BIN_DIR={settings.pg_bin_dir}" if settings.pg_bin_dir else ""
    server = f"the server is PostgreSQL {major} ({connection}) and needs {name} {major}"
    raise BackupError(f"{server}; found{where}: {have}. Install it: {install_advice(major)}")


def postgres_environment(connection: Connection, env: Mapping[str, str], work: Path) -> dict[str, str]:
    """Give the environment by which libpq reaches a connection; the password goes to a private file in `work`.

    Names travel here and never in argv, where a database called `-x` is an option and `a=b` a connection string.
    """
    env = {name: value for name, value in env.items() if name != "PGCLIENTENCODING"}  # it would recode the dump
    names = {"PGHOST": connection.host, "PGPORT": connection.port, "PGDATABASE": connection.dbname, "PGUSER": connection.user}
    if any(names.values()):
        env.pop("PGSERVICE", None)  # a service file would beat the variables
    if connection.host:
        env.pop("PGHOSTADDR", None)
    env |= {name: value for name, value in names.items() if value} | dict(connection.options)
    env.setdefault("PGCONNECT_TIMEOUT", "10")
    env.setdefault("PGAPPNAME", "arrivapp-backup")
    if connection.password:
        env.pop("PGPASSWORD", None)
        passfile = work / f"pgpass-{secrets.token_hex(4)}"
        escaped = connection.password.replace("\\", "\\\\").replace(":", "\\:")
        with open(os.open(passfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(f"*:*:*:*:{escaped}\n".encode())
        return env | {"PGPASSFILE": str(passfile)}
    passfile = Path(env.get("PGPASSFILE") or Path(env["HOME"], ".pgpass"))
    if not env.get("PGPASSWORD") and passfile.exists() and passfile.stat().st_mode & 0o077:
        raise BackupError(f"libpq ignores {passfile}, because others can read it: chmod 600 {shlex.quote(str(passfile))}")
    return env


# What a PostgreSQL program says -> the next step. First match wins.
ADVICE = (
    (r"password authentication failed", "the user or the password is wrong: check DB_USER and DB_PASSWORD, or DATABASE_URL"),
    (r"no password supplied", "the server wants a password: set DB_PASSWORD in .env.backup"),
    (r"database \".*\" does not exist", "check DB_NAME; `psql -l` lists the databases there"),
    (r"role \".*\" does not exist", "check DB_USER, or restore the roles first: restore --backup ID --only roles"),
    (r"unsupported version|unrecognized configuration parameter", "a newer PostgreSQL made it: restore on a server of that major or newer"),
    (r"no pg_hba.conf entry", "the server does not let this user in from here: add a line to its pg_hba.conf"),
    (r"Connection refused|No such file or directory", "is PostgreSQL running there? Check DB_HOST and DB_PORT with pg_isready"),
    (r"could not translate host name", "the name is not known: check DB_HOST and the network"),
    (r"timeout expired", "nothing answers there: check DB_HOST, DB_PORT and the firewall"),
    (r"starting up|shutting down|recovery mode", "the server is not ready yet: try again in a minute"),
    (r"row-level security", "the backup role needs BYPASSRLS: ALTER ROLE ... BYPASSRLS"),
    (r"out of shared memory|max_locks_per_transaction", "raise max_locks_per_transaction on the server (e.g. to 256) and restart it"),
    (r"permission denied to create database", "the role needs CREATEDB, or set RESTORE_DATABASE_URL to one that has it"),
    (r"permission denied|must be owner|must be superuser|must be member", "the role lacks a right: GRANT pg_read_all_data TO it for a backup, "
     "or set RESTORE_DATABASE_URL to an administrator for a restore"),
    (r"No space left", "the server's disk is full: free space there"),
)  # fmt: skip
TRANSIENT = r"starting up|shutting down|recovery mode|too many clients|Connection refused|Temporary failure in name|the database system is not"
RETRIES = (1.0, 2.0, 4.0)  # seconds between tries to reach a server that may be restarting


def postgres_failure(error: ProgramError, connection: Connection) -> BackupError:
    """Turn a program's failure into one line: program, reason, where, next step."""
    lines = [line.strip() for line in error.stderr.splitlines() if re.search(r"FATAL|ERROR|error:|failed|closed the connection", line)]
    last = dict.fromkeys(re.sub(r"^\w+: (?:error|detail): ", "", line) for line in lines[-2:])
    reason = "; ".join(last) or str(error).partition(": ")[2] or str(error)
    advice = next((text for pattern, text in ADVICE if re.search(pattern, error.stderr)), "look it up in BACKUP_README.md, Troubleshooting")
    ended = f" (killed by {signal.Signals(-error.returncode).name})" if error.returncode < 0 else ""
    return BackupError(f"{error.program}{ended}: {printable(reason)} ({connection}). Next: {advice}")


@contextlib.contextmanager
def explained(connection: Connection) -> Iterator[None]:
    """Turn what PostgreSQL's programs say into one line for a person."""
    try:
        yield
    except ProgramError as error:
        raise postgres_failure(error, connection) from error


# ==== 4. Files ========================================================================================================

MAX_MEMBERS = 1_000_000  # of a tar archive
MAX_DEPTH = 100  # directories below each other
SHARED_BY = 7  # sets that may have one file in common
SMALL_FILE = 8 * MIB  # read whole, so that a file changed meanwhile can be read again before its header is written


def adopt(path: Path | int, directory: Path) -> None:
    """Give what root made in a directory to that directory's owner, who must be able to manage it."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=isinstance(path, int))


def make_directory(path: Path) -> None:
    """Make a directory that its group may read (0750), whatever the umask; it is never more open than that."""
    path.mkdir(mode=0o700)
    path.chmod(0o750)
    adopt(path, path.parent)


def sync_file(descriptor: int) -> None:
    """Flush a file to the medium. A failure is never retried: the kernel may have dropped the dirty pages already.

    macOS's fsync leaves the data in the drive's cache (fsync(2) there), F_FULLFSYNC does not.
    """
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        try:
            fcntl.fcntl(descriptor, full)
            return
        except OSError as error:  # not every file system has it
            if error.errno not in (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
                raise
    os.fsync(descriptor)


def sync_directory(directory: Path) -> None:
    """Flush a directory, so that a rename or a removal in it survives a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def published(path: Path) -> Iterator[BinaryIO]:
    """Write a file (0600) so that its name appears only when its bytes are durable: partial name, fsync, rename, fsync.

    On any exception, a signal's too, nothing is left.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)  # of a run that died; the lock is ours
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as stream:
            adopt(stream.fileno(), path.parent)
            yield stream
            stream.flush()
            sync_file(stream.fileno())
        os.rename(partial, path)
        sync_directory(path.parent)
    except BaseException:
        for leftover in (partial, path):
            leftover.unlink(missing_ok=True)
        raise


def share_bytes(path: Path, other: Path, sha256: str) -> None:
    """While `path` is being published, let it be a further name of `other`, whose bytes have that hash, instead of a copy.

    Only if the bytes of `other` are read again and still have it; and no more than SHARED_BY names have one file, for what
    harms it harms all of them. Where links cannot be made, the copy stays.
    """
    partial = path.with_name(f".{path.name}.partial")
    link = path.with_name(f".{path.name}.link.partial")
    try:
        with contextlib.suppress(OSError), open(os.open(other, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
            if os.fstat(stream.fileno()).st_nlink < SHARED_BY and hashlib.file_digest(stream, "sha256").hexdigest() == sha256:
                os.link(other, link, follow_symlinks=False)
                os.rename(link, partial)
    finally:
        link.unlink(missing_ok=True)


def require_space(path: Path, needed: int, purpose: str, inodes: int = 10) -> None:
    """Raise BackupError with both figures where a file system cannot hold `needed` bytes and a few files more."""
    facts, free = os.statvfs(path), shutil.disk_usage(path).free
    if free < needed:
        raise BackupError(f"not enough space in {path} for {purpose}: about {human_size(needed)} needed, {human_size(free)} free: free some")
    if facts.f_files and facts.f_favail < inodes:
        raise BackupError(f"not enough inodes in {path} for {purpose}: {inodes} needed, {facts.f_favail} free")


def disk_failure(error: OSError, path: Path, needed: int) -> BackupError:
    """Turn a failed write into one line that names the limit that was hit."""
    limits = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EROFS: "the file system is read-only",
              errno.EFBIG: "the limit for a file's size is reached (ulimit -f)", errno.EIO: "the disk reports an input/output error"}  # fmt: skip
    reason = limits.get(error.errno or 0, error.strerror or str(error))
    sizes = f"{human_size(shutil.disk_usage(path).free)} free, about {human_size(needed)} needed"
    return BackupError(f"cannot write in {path}: {reason} ({sizes}); it was not kept")


def check_backup_dir(directory: Path, make: bool = True) -> None:
    """Make sure that backups may be written here, before anything else is tried.

    Only the default directory is ever made. Any other must carry the marker: a mount that is gone must be an error and
    not a full root disk. Raise BackupError with the commands that put it right.
    """
    place = shlex.quote(str(directory))
    advice = f"mkdir -p -m 750 {place} && touch {place}/{MARKER}"
    try:
        if make and directory == DEFAULT_BACKUP_DIR and not os.path.exists(directory):
            make_directory(directory)
            (directory / MARKER).touch(0o600)
    except OSError as error:
        raise BackupError(f"cannot make BACKUP_DIR {directory}: {error.strerror}. Next, as root: {advice}") from None
    if not directory.is_dir():
        raise BackupError(f"BACKUP_DIR {directory} is not there. If a disk should be mounted, mount it; else: {advice}")
    if not os.access(directory, os.W_OK | os.X_OK):
        why = "its file system is read-only" if os.statvfs(directory).f_flag & os.ST_RDONLY else "this user may not write there"
        raise BackupError(f"BACKUP_DIR {directory} cannot be written: {why}")
    if not (directory / MARKER).exists():
        raise BackupError(f"BACKUP_DIR {directory} has no marker file {MARKER}. If a disk should be mounted there, mount it; "
                          f"if this is the place: {advice}")  # fmt: skip
    for name in sorted(set(DIRECTORIES.values())):
        if make and not (directory / name).is_dir():
            make_directory(directory / name)


@contextlib.contextmanager
def locked(directory: Path, command: str, wait_seconds: int = 0) -> Iterator[int]:
    """Hold the lock of a BACKUP_DIR and give its descriptor, which the programs inherit. Raise LockedError if it is taken.

    The kernel drops it with its last holder, so it cannot be stale; what the file says is for people.
    """
    path, deadline = directory / ".lock", time.monotonic() + max(1, wait_seconds)  # a second: the holder may be about to write its name
    with contextlib.ExitStack() as stack:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, descriptor)
        adopt(descriptor, directory)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = printable(os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip())
                    raise LockedError(f"another run holds the lock {path}: {holder}. Wait for it, or set LOCK_WAIT_SECONDS") from None
                time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        stack.callback(os.ftruncate, descriptor, 0)
        with contextlib.suppress(OSError):  # on a full disk the name is missing, the lock holds all the same
            os.pwrite(descriptor, f"pid {os.getpid()}, {command}, since {local_time(utc_now())}\n".encode(), 0)
        yield descriptor


OPENED = ".work-opened-"  # begins the name of a directory for an opened seal


def old_opened(base: Path) -> Iterator[Path]:
    """Yield the directories that died runs left with an opened seal. verify makes them without a lock: only old ones are leftovers."""
    for path in base.glob(f"{OPENED}????????"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.lstat().st_mtime > 86400:
                yield path


@contextlib.contextmanager
def workspace(base: Path | None, owner: Path | None = None) -> Iterator[Path]:
    """Give a private directory (0700) in `base`, else in /tmp, for passwords and unpacked dumps; removed at the end.

    Who holds the lock of the BACKUP_DIR `owner` first sweeps away what its dead runs left in `base`.
    """
    prefix = f".work-{hashlib.sha256(os.fsencode(owner)).hexdigest()[:8]}-" if owner else ".work-"
    for leftover in [*base.glob(f"{prefix}*"), *old_opened(base)] if base and owner else ():
        log.info("removing %s, left by a run that died", leftover)
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=base, ignore_cleanup_errors=True) as work:
        yield Path(work)


class BoundedGzip(gzip.GzipFile):
    """A gzip stream for tarfile, which reads a long-name header whole: none may ask for more than 16 MiB."""

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes, given and within bounds."""
        if size is None or not 0 <= size <= 16 * MIB:
            raise DamageError(f"{self.name}: a tar header claims {size} bytes: refused")
        return super().read(size)


class StrictTarInfo(tarfile.TarInfo):
    """A tar header. tarfile takes a damaged one, or the file's end, for the end of the archive; for us that is damage."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> tarfile.TarInfo:
        """Read the next header."""
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # the empty block that closes an archive
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"the header at byte {tar.offset} is not one ({error})") from None


def why_refused(member: tarfile.TarInfo, seen: Mapping[str, bool | None]) -> str:
    """Say why a tar member may not be unpacked; '' if it may. `seen`: is a name before it a directory (None: only implied)."""
    parts, plain = member.name.split("/"), os.path.normpath(member.name)
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or member.issparse():
        return "is neither a file nor a directory"
    if member.name.startswith("/") or ".." in parts or "\0" in member.name or member.name.rstrip("/") not in (plain, f"./{plain}"):
        return "has an unsafe name"
    possible = abs(member.mtime) < 1 << 40 and member.size >= 0 and all(0 <= number < 1 << 32 for number in (member.uid, member.gid))
    if not possible or max(len(os.fsencode(part)) for part in parts) > 255:
        return "has a name, size, time or owner that no file has"
    if any(seen.get(str(parent)) is False for parent in Path(plain).parents):
        return "lies below a file"
    again = plain in seen and not (seen[plain] is None and member.isdir())
    return "is a duplicate, too deep or one too many" if again or len(seen) >= MAX_MEMBERS or len(parts) > MAX_DEPTH else ""


def tar_members(stream: BinaryIO, name: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield the members of a tar stream, checking each header, with memory that does not grow.

    Raise DamageError for anything but regular files and directories, for absolute or climbing names, duplicates, and
    more or deeper members than any backup of ours holds. (tarfile's own `data` filter has been bypassed four times.)
    """
    seen: dict[str, bool | None] = {}
    with tarfile.open(fileobj=stream, mode="r:", tarinfo=StrictTarInfo, errors="surrogateescape", encoding="utf-8") as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()
            refused = why_refused(member, seen)
            if refused:
                raise DamageError(f"{name}: member {printable(member.name[:200])!r} {refused}: refused, nothing was unpacked")
            plain = os.path.normpath(member.name)
            for parent in list(Path(plain).parents)[:-1]:
                seen.setdefault(str(parent), None)
            seen[plain] = member.isdir()
            yield tar, member
    if not seen:
        raise DamageError(f"{name} is damaged: it is empty")


def check_tar(path: Path) -> tuple[int, int]:
    """Read a .tar.gz to its very end, every header and the gzip checksum; give its files and their bytes.

    Raise DamageError naming what is wrong. tarfile alone stops before the checksum: reading all members missed 498 of 500
    bit flips (measured).
    """
    files = size = 0
    try:
        with BoundedGzip(path, "rb") as stream:
            for _, member in tar_members(stream, path.name):
                files += member.isreg()
                size += member.size
            while rest := stream.read(MIB):
                if rest.strip(b"\0"):
                    raise DamageError(f"{path.name} is damaged: something stands behind its end")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError) as error:
        raise DamageError(f"{path.name} is damaged: {error}") from None
    return files, size


def status_of(path: Path) -> os.stat_result | None:
    """Give a path's own status, None where there is nothing."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def set_owner_and_mode(descriptor: int, member: tarfile.TarInfo, replaced: os.stat_result | None) -> None:
    """Give a restored file or directory the owner and mode of what it replaces, else those of the tar header."""
    if replaced and stat.S_ISLNK(replaced.st_mode):  # whose mode says nothing
        replaced = None
    if os.geteuid() == 0:
        uid, gid = member.uid, member.gid
        with contextlib.suppress(KeyError):  # a new server may number its users differently; the name counts
            uid = pwd.getpwnam(member.uname).pw_uid
        with contextlib.suppress(KeyError):
            gid = grp.getgrnam(member.gname).gr_gid
        os.chown(descriptor, *((replaced.st_uid, replaced.st_gid) if replaced else (uid, gid)))
    os.fchmod(descriptor, (replaced.st_mode if replaced else member.mode) & 0o777)


def unpack_tar(path: Path, into: Path, live: Path) -> int:
    """Unpack a .tar.gz into the fresh directory `into`, with owners and modes of their like in `live`; count the files.

    The whole archive is checked before the first byte is written; nothing is followed or overwritten.
    """
    files, size = check_tar(path)
    require_space(into, size, f"the content of {path.name}", inodes=files + 10)
    directories: list[tarfile.TarInfo] = []
    with BoundedGzip(path, "rb") as stream:
        for tar, member in tar_members(stream, path.name):
            target = into / member.name
            (target if member.isdir() else target.parent).mkdir(mode=0o755, parents=True, exist_ok=True)
            if member.isdir():
                directories.append(member)
                continue
            with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as out:
                shutil.copyfileobj(tar.extractfile(member), out, MIB)
                set_owner_and_mode(out.fileno(), member, status_of(live / member.name))
            os.utime(target, (member.mtime, member.mtime), follow_symlinks=False)
    for member in reversed(directories):  # last, because a directory may be read-only
        descriptor = os.open(into / member.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            set_owner_and_mode(descriptor, member, status_of(live / member.name))
        finally:
            os.close(descriptor)
    os.sync()
    return files


def finish_swap(note: Path) -> None:
    """Finish a directory swap that was cut off between its two renames; clear away one that never began."""
    if not note.exists():
        return
    try:
        new, live, before = (Path(json.loads(note.read_text("utf-8"))[key]) for key in ("new", "live", "before"))
    except (ValueError, KeyError, TypeError):
        raise BackupError(f"{note} cannot be read: look whether a directory *.before-* must be renamed back, then remove it") from None
    if not status_of(live) and status_of(before):
        ready = new if status_of(new) else before
        try:
            os.rename(ready, live)
        except OSError as error:  # the backup's user, and its systemd unit, may only read APP_DIR
            raise BackupError(f"a restore of {live} was cut off, and this run may not finish it ({error.strerror}). "
                              f"Next, as root: {shlex.join(['mv', str(ready), str(live)])}") from None  # fmt: skip
        log.warning("finished the interrupted restore of %s; what was there before is in %s", live, before)
    if new.name.startswith(f".{live.name}.restoring-"):  # unpacked by us; an undo's is what was kept
        shutil.rmtree(new, ignore_errors=True)
        if status_of(new):  # for a run that may write there
            return
    note.unlink()


def sweep_restores(settings: Settings) -> None:
    """Put in order what a restore that died left: a directory half swapped, files unpacked beside the live ones."""
    finish_swap(settings.backup_dir / ".swap.json")
    for leftover in settings.app_dir.glob(".restoring-????????T??????Z"):
        shutil.rmtree(leftover, ignore_errors=True)


def swap_directory(new: Path, live: Path, before: Path) -> None:
    """Put `new` in the place of `live`, which is kept as `before`; if that fails half way, `live` is put back."""
    if status_of(live):
        os.rename(live, before)
    try:
        os.rename(new, live)
    except OSError:
        if status_of(before):
            os.rename(before, live)
        raise
    sync_directory(live.parent)


# ==== 5. Archives and the catalog =====================================================================================

SIDECAR_FIELDS: Mapping[str, tuple[type, ...]] = {
    "version": (int,), "id": (str,), "kind": (str,), "file": (str,), "size_bytes": (int,), "sha256": (str,),
    "created_at": (str,), "duration_seconds": (int, float), "kinds": (list,), "host": (str,), "tool_version": (str,),
}  # fmt: skip
OPTIONAL_FIELDS: Mapping[str, tuple[type, ...]] = {
    "raw_bytes": (int,), "file_count": (int,), "names": (list,),
    **dict.fromkeys(("extensions", "properties", "objects", "locale", "tables", "sequences", "symlinks", "skipped"), (dict,)),
    **dict.fromkeys(("partial", "shrunk", "database", "server_version", "encoding", "source_dir", "signature"), (str,)),
    "encryption": (dict, types.NoneType),
}  # fmt: skip
SIDECAR_LIMIT = 8 * MIB  # 12,000 tables with a sequence each take 1 MiB
SHA256 = re.compile(r"[0-9a-f]{64}")
ARCHIVE_NAME = re.compile(r"(?:arrivapp_db|arrivapp_roles|qr_codes|config)_(\d{8}T\d{6}Z)\.(?:dump|sql|tar)\.(?:zst|gz)(?:\.(?:age|gpg))?", re.ASCII)


@dataclass(frozen=True, eq=False)
class Archive:
    """One stored file and what its sidecar says. `problem` is '' while it is good."""

    kind: str
    id: str
    file: str  # its path
    size_bytes: int
    sha256: str
    duration_seconds: float
    kinds: tuple[str, ...]
    sidecar: bytes = b"{}"
    problem: str = ""
    shrunk: str = ""  # how it shrank against the one before, until somebody has accepted that
    verified: str = ""  # UTC time of the last good verify, from the journal
    forged: str = ""  # what is wrong with the signature, where SIGNING_KEY is set; part of the problem

    @functools.cached_property
    def path(self) -> Path:
        """Give the path of the stored file."""
        return Path(self.file)

    @functools.cached_property
    def facts(self) -> Mapping[str, Any]:
        """Give all that the sidecar says; parsed when asked for, because few are and 40,000 of them take 200 MB."""
        return json.loads(self.sidecar)


@dataclass(frozen=True)
class BackupSet:
    """The archives of one run, by kind. `kinds` is what the run was to make."""

    id: str
    archives: Mapping[str, Archive]
    kinds: tuple[str, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)  # sidecar's path -> what is wrong with it
    drill: Mapping[str, Any] = field(default_factory=dict)  # the journal's entry of the last drill that found it identical

    @property
    def moment(self) -> datetime.datetime:
        """Give the start of the run."""
        return parse_id(self.id)

    @functools.cached_property
    def good(self) -> frozenset[str]:
        """Give the kinds of which it holds a good archive."""
        return frozenset(kind for kind, archive in self.archives.items() if not archive.problem)

    def lacks(self, kinds: Iterable[str]) -> list[str]:
        """List those of `kinds` that it holds no good archive of."""
        return [kind for kind in kinds if kind not in self.good]


class Catalog(NamedTuple):
    """What stands in a BACKUP_DIR."""

    sets: list[BackupSet]  # newest first
    orphans: list[Path]  # archives without a sidecar: not backups
    strays: dict[str, str]  # unreadable sidecars whose name holds no id -> what is wrong


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, refusing a key that comes twice: two readers would believe different values."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key comes twice")
    return result


STRICT_JSON = json.JSONDecoder(object_pairs_hook=unique_keys, parse_constant=int)  # int refuses NaN


def parse_sidecar(data: bytes, name: str) -> dict[str, Any]:
    """Read a sidecar strictly. `name` is its file name. Raise ValueError saying what is wrong."""
    if len(data) > SIDECAR_LIMIT:
        raise ValueError("larger than 8 MiB")
    try:
        sidecar = STRICT_JSON.decode(data.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(sidecar, dict):
        raise ValueError("not a JSON object")
    for key, types_ in SIDECAR_FIELDS.items():
        if type(sidecar.get(key)) not in types_:
            raise ValueError(f"{key} is missing or of the wrong type")
    for key in OPTIONAL_FIELDS.keys() & sidecar.keys():
        if type(sidecar[key]) not in OPTIONAL_FIELDS[key]:
            raise ValueError(f"{key} is of the wrong type")
    numbers = (sidecar["size_bytes"], sidecar["duration_seconds"], sidecar.get("raw_bytes", 0), sidecar.get("objects", {}).get("tables", 0))
    texts = (*sidecar["kinds"], *sidecar.get("names", ()), *sidecar.get("symlinks", {}).values())
    if {*map(type, texts)} - {str} or {*map(type, numbers)} - {int, float} or min(numbers) < 0 or max(numbers) >= 1 << 63:
        raise ValueError("a name or a number is impossible")
    for entry in sidecar.get("tables", {}).values():
        if type(entry) is not dict or type(entry.get("rows")) is not int or type(entry.get("hash")) not in (str, types.NoneType):
            raise ValueError("a fingerprint is impossible")
    if not 1 <= sidecar["version"] <= SIDECAR_VERSION:
        raise ValueError(f"version {sidecar['version']} is not known here (a newer tool wrote it?)")
    named = ARCHIVE_NAME.fullmatch(sidecar["file"])
    if not named or named[1] != sidecar["id"] or f"{sidecar['file']}.json" != name:
        raise ValueError("file, id and the sidecar's own name do not belong together")
    parse_id(sidecar["id"])
    if not sidecar["file"].startswith(STEMS.get(sidecar["kind"], "?") + "_") or not SHA256.fullmatch(sidecar["sha256"]):
        raise ValueError("kind is not that of the file, or sha256 is impossible")
    return sidecar


def signature_of(sidecar: Mapping[str, Any], key: str) -> str:
    """Work out the HMAC-SHA256 of all that a sidecar says, in one canonical form; its own signature left out."""
    content = {name: value for name, value in sidecar.items() if name != "signature"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hmac.new(key.encode(), canonical.encode(), hashlib.sha256).hexdigest()


def why_forged(sidecar: Mapping[str, Any], key: str) -> str:
    """Say what is wrong with the signature of a sidecar; '' where it is right, or where there is no key."""
    if key and "signature" not in sidecar:
        return "its sidecar is not signed, and SIGNING_KEY is set"
    if key and not hmac.compare_digest(sidecar["signature"].encode(), signature_of(sidecar, key).encode()):
        return "the signature of its sidecar is wrong: it was forged, or signed with another key"
    return ""


def sidecar_bytes(sidecar: Mapping[str, Any], key: str) -> bytes:
    """Write a sidecar, signed where there is a key."""
    signature = {"signature": signature_of(sidecar, key)} if key else {}
    return json.dumps({**sidecar, **signature}, indent=1).encode() + b"\n"


def read_archive(path: str, signing_key: str) -> Archive:
    """Read the sidecar at `path` and look whether the stored file is there and as long as it was, and the signature right.

    Raise ValueError saying what is wrong with the sidecar, FileNotFoundError if it has vanished.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            data = os.read(descriptor, min(SIDECAR_LIMIT, os.fstat(descriptor).st_size) + 1)
            sidecar = parse_sidecar(data, path.rpartition("/")[2])
            forged = why_forged(sidecar, signing_key)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(error.strerror) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    file, problem = path.removesuffix(".json"), forged or str(sidecar.get("partial", ""))
    try:
        size = os.lstat(file).st_size
        if size != sidecar["size_bytes"]:
            problem = f"{size} bytes instead of {sidecar['size_bytes']}"
    except FileNotFoundError:
        problem = "lost: the archive is gone"
    return Archive(sidecar["kind"], sidecar["id"], file, sidecar["size_bytes"], sidecar["sha256"],
                   float(sidecar["duration_seconds"]), tuple(sidecar["kinds"]), data, problem,
                   str(sidecar.get("shrunk", "")), forged=forged)  # fmt: skip


def write_journal(backup_dir: Path, entry: Mapping[str, Any]) -> None:
    """Append one line to the journal."""
    line = json.dumps({"time": utc_now().isoformat(timespec="seconds"), **entry}) + "\n"
    descriptor = os.open(backup_dir / "journal.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "ab", buffering=0) as stream:
        adopt(descriptor, backup_dir)
        torn = os.pread(descriptor, 1, max(0, os.fstat(descriptor).st_size - 1)) not in (b"", b"\n")  # a run died in its line
        stream.write(b"\n" * torn + line.encode())
        os.fsync(descriptor)


def read_journal(backup_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield the journal's entries, oldest first; a line that cannot be read is passed over."""
    with contextlib.suppress(OSError), (backup_dir / "journal.jsonl").open("rb") as stream:
        for line in stream:
            with contextlib.suppress(ValueError, RecursionError):
                entry = json.loads(line)
                moment = datetime.datetime.fromisoformat(str(entry.get("time"))) if isinstance(entry, dict) else None
                if moment and moment.tzinfo and 1970 < moment.year < 9999:
                    yield entry


class Marks(NamedTuple):
    """What the journal says of the sets."""

    archives: dict[str, tuple[str, str]]  # file name -> (problem or '', time) of the last verify or drill
    drills: dict[str, dict[str, Any]]  # id -> entry of the last drill
    accepted: str  # the newest id up to which a shrink was accepted


def journal_marks(backup_dir: Path) -> Marks:
    """Read what verifies and drills have said, and which shrink was accepted."""
    marks, drills, accepted = {}, {}, ""
    for entry in read_journal(backup_dir):
        if entry.get("command") in ("verify", "drill", "pull") and isinstance(entry.get("archives"), dict):
            marks |= {name: (str(problem), entry["time"]) for name, problem in entry["archives"].items()}
        if entry.get("command") == "drill" and isinstance(entry.get("seconds"), (int, float)):
            drills[str(entry.get("id"))] = entry
        if entry.get("command") == "accept":
            accepted = max(accepted, str(entry.get("id")))
    return Marks(marks, drills, accepted)


def file_names(directory: Path) -> set[str]:
    """Give the names in a directory; none where it is absent. Raise BackupError where it cannot be read."""
    try:
        return set(os.listdir(directory))
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise BackupError(f"cannot read {directory}: {error.strerror}") from None


def catalog(settings: Settings) -> Catalog:
    """Read everything that stands in a BACKUP_DIR, by the sidecars alone; names are never guessed from.

    Where there is a key, an archive with another signature, or none, is a bad one.
    """
    backup_dir = settings.backup_dir
    if not backup_dir.is_dir():
        raise BackupError(f"BACKUP_DIR {backup_dir} is not there: is its disk mounted?")
    file_names(backup_dir)  # an unreadable BACKUP_DIR is an error, an empty one is not
    marks = journal_marks(backup_dir)
    sets: dict[str, dict[str, Archive]] = {}
    unreadable: dict[str, dict[str, str]] = {}
    orphans, strays = [], {}
    for name in sorted(set(DIRECTORIES.values())):
        directory = backup_dir / name
        names = file_names(directory)
        for file in sorted(names):
            if not file.endswith(".json"):
                if f"{file}.json" not in names and ARCHIVE_NAME.fullmatch(file):
                    orphans.append(directory / file)
                continue
            path = f"{directory}/{file}"
            try:
                archive = read_archive(path, settings.signing_key)
            except FileNotFoundError:
                continue  # a cleanup is at work beside us
            except ValueError as error:
                named = ARCHIVE_NAME.fullmatch(file.removesuffix(".json"))
                (unreadable.setdefault(named[1], {}) if named else strays)[path] = str(error)
                continue
            damage, when = marks.archives.get(file.removesuffix(".json"), ("", ""))
            if when:
                archive = dataclasses.replace(archive, problem=archive.problem or damage, verified="" if damage else when)
            if archive.shrunk and archive.id <= marks.accepted:
                archive = dataclasses.replace(archive, shrunk="")
            sets.setdefault(archive.id, {})[archive.kind] = archive
    found = []
    for set_id in sorted({*sets, *unreadable}, reverse=True):
        with contextlib.suppress(ValueError):  # an impossible date in a name: listed as a stray
            parse_id(set_id)
            archives = sets.get(set_id, {})
            kinds = {kind for archive in archives.values() for kind in archive.kinds} | set(archives)
            drill = marks.drills.get(set_id, {})
            found.append(BackupSet(set_id, archives, tuple(k for k in KINDS if k in kinds), unreadable.pop(set_id, {}),
                                   drill if drill.get("identical") is True else {}))  # fmt: skip
    return Catalog(found, orphans, strays | {path: why for group in unreadable.values() for path, why in group.items()})


def find_set(sets: Sequence[BackupSet], wanted: str, kinds: Sequence[str]) -> BackupSet:
    """Find a set by id, or the newest that holds every kind asked for (`latest`). Raise UsageError if there is none."""
    for candidate in sets:
        if candidate.id == wanted or (wanted == "latest" and not candidate.lacks(kinds)):
            return candidate
    what = f"set that holds all of: {', '.join(kinds)}" if wanted == "latest" else f"set (or file) {printable(wanted)}"
    raise UsageError(f"there is no backup {what}. See: backup_system.py list")


def newest_complete(sets: Sequence[BackupSet], settings: Settings) -> BackupSet | None:
    """Give the newest set that holds every kind configured here."""
    return next((s for s in sets if not s.lacks(settings.kinds)), None)


def newest_archives(sets: Sequence[BackupSet]) -> dict[str, Archive]:
    """Give the newest good archive of each kind."""
    return {kind: backup_set.archives[kind] for backup_set in reversed(sets) for kind in backup_set.good}


def new_set_id(backup_dir: Path) -> str:
    """Choose the id of a run: the present UTC second, or the next one if a set has it already."""
    while True:
        set_id = utc_now().strftime(ID_FORMAT)
        if not any(set_id in name for directory in set(DIRECTORIES.values()) for name in file_names(backup_dir / directory)):
            return set_id
        time.sleep(0.1)


def sweep_partials(backup_dir: Path) -> None:
    """Remove the partial files of runs that died; the lock is ours, so nobody is writing them."""
    for directory in set(DIRECTORIES.values()):
        for path in (backup_dir / directory).glob(".*.partial"):
            if path.name == ".latest.partial" or ARCHIVE_NAME.fullmatch(path.name[1:].removesuffix(".partial").removesuffix(".json").removesuffix(".link")):
                log.info("removing %s, left by a run that died", path)
                path.unlink(missing_ok=True)


# ==== 6. Sealing ======================================================================================================

# What a sealed file begins with: age's header; OpenPGP's packets with a session key (RFC 9580, 5.1 and 5.3); either in armor.
SEALED = {"age": re.compile(rb"age-encryption\.org/v1\n|-----BEGIN AGE ENCRYPTED FILE-----"),
          "gpg": re.compile(rb"-----BEGIN PGP MESSAGE-----|[\x84\xc1].[\x03\x06]|[\x85\xc1]..[\x03\x06]|[\x8c\xc3].[\x04-\x06]", re.DOTALL)}
# Nothing of the user's gpg.conf, whose encrypt-to would let others read; no question; and no web of trust: the fingerprint is given.
GPG_OPTIONS = ("--no-options", "--batch", "--no-tty", "--trust-model", "always", "--compress-algo", "none")
SEAL_PACKAGES = {"age": "age", "gpg": "gnupg"}
NO_KEY = r"(?i)no secret key|identity|identities|agent|pinentry|passphrase|cancel"
DRILL_ELSEWHERE_DAYS = 35  # where the key is not on this machine: a month and a few days


class NoKey(BackupError):
    """A sealed archive cannot be opened on this machine."""


def first_bytes(path: Path, count: int = 512) -> bytes:
    """Read the beginning of a file; nothing of a directory."""
    if not path.is_file():
        return b""
    with path.open("rb") as stream:
        return stream.read(count)


def sealed_with(path: Path) -> str:
    """Tell by its first bytes with what a file is sealed: age, gpg or ''."""
    head = first_bytes(path)
    return next((method for method, pattern in SEALED.items() if pattern.match(head)), "")


def seal_stage(settings: Settings) -> list[list[str | Path]]:
    """Give the last stage of a pipeline, which seals; none without ENCRYPT_TO. Raise BackupError where the program is missing."""
    if not settings.encrypt_to:
        return []
    method, keys = settings.encrypt_to
    if not (program := settings.which(method)):
        raise BackupError(f"ENCRYPT_TO is set, but {method} is not installed: apt install {SEAL_PACKAGES[method]}")
    options = (*GPG_OPTIONS, "--encrypt") if method == "gpg" else ()
    return [[program, *options, *(word for key in keys for word in ("-r", key))]]


def open_stage(method: str, settings: Settings) -> list[str | Path]:
    """Give the command that opens a seal. Raise NoKey where it cannot work here, UsageError where others can read the key."""
    program, identity = settings.which(method), settings.decrypt_identity_file
    if not program:
        raise NoKey(f"{method} is not installed: apt install {SEAL_PACKAGES[method]}")
    if method == "gpg":
        return [program, *GPG_OPTIONS, "--decrypt"]
    if not identity:
        raise NoKey("no key here: set DECRYPT_IDENTITY_FILE to the file with the age identity")
    try:
        complaint = check_private(identity)
    except OSError as error:
        raise NoKey(f"no key here: DECRYPT_IDENTITY_FILE {identity}: {error.strerror}") from None
    if complaint:
        raise UsageError(f"DECRYPT_IDENTITY_FILE {complaint}")
    return [program, "-d", "-i", identity]


def seal_words(error: ProgramError) -> str:
    """Give the line in which age or gpg says what is wrong; it is not their last."""
    lines = [line for line in error.stderr.splitlines() if re.search("error:|failed|skipped|manipulated", line)]
    return printable(lines[0].removeprefix("age: error: ")) if lines and error.returncode > 0 else str(error)


def try_seal(settings: Settings) -> None:
    """Seal one byte, so that a key or program that is missing, expired or revoked stops a run before it dumps. Raise BackupError."""
    stage, sealed = seal_stage(settings), bytearray()
    if not stage:
        return
    method, keys = settings.encrypt_to
    try:
        pipeline([["echo"], *stage], env=settings.env, sink=sealed.extend, limit=60)
    except ProgramError as error:
        raise BackupError(f"nothing can be sealed to ENCRYPT_TO={method}:{','.join(keys)}, so no backup is made: {seal_words(error)}. Next: "
                          "import or renew the key, or correct ENCRYPT_TO (empty: backups that everybody can read)") from None  # fmt: skip
    if not SEALED[method].match(sealed):
        raise BackupError(f"{stage[0][0]} gave nothing that looks sealed, so no backup is made: is it the real {method}?")


@contextlib.contextmanager
def sealing(settings: Settings, write: Callable[[bytes], object]) -> Iterator[Callable[[bytes], object]]:
    """Give what takes the bytes of an archive that Python writes; they reach `write` sealed, by a thread with the program."""
    stage = seal_stage(settings)
    if not stage:
        yield write
        return
    failures: list[BackupError] = []
    source, drain = os.pipe()
    def work() -> None:
        try:
            with open(source, "rb") as stream:
                pipeline(stage, env=settings.env, stdin=stream, sink=write, stall=settings.stall_seconds)
        except Exception as error:
            failures.append(error if isinstance(error, BackupError) else BackupError(f"sealing failed: {error}"))
    def put(chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(drain, rest) :]
        except BrokenPipeError:  # an OSError would be taken for a source file that cannot be read
            thread.join()
            raise failures[0] from None

    thread, ended = threading.Thread(target=work, daemon=True), False
    thread.start()
    try:
        yield put
        ended = True
    finally:
        os.close(drain)
        thread.join(None if ended else GRACE_SECONDS)  # a seal that hangs must not hold up a run that is to end
    if failures:
        raise failures[0]


def encryption_facts(recipients: Recipients | None, file: str) -> dict[str, Any] | None:
    """Say for the sidecar how a file is sealed, and how it opens with plain programs; None for one that is not."""
    if not recipients:
        return None
    packed = Path(file).with_suffix("")
    opened = f"age -d -i KEY_FILE {file}" if recipients.method == "age" else f"gpg -d {file}"
    unpack = f"{'zstd' if packed.suffix == '.zst' else 'gzip'} -d > {packed.stem}"
    return {"method": recipients.method, "recipients": list(recipients.keys), "open": f"{opened} | {unpack}"}


def unseal(path: Path, method: str, settings: Settings, work: Path) -> Path:
    """Open a sealed file into a private one in `work`. Raise NoKey, DamageError; what was written until then is not to be used."""
    size, plain = path.stat().st_size, work / re.sub(r"\.(age|gpg|pgp|asc)$", "", path.name)
    require_space(work, size + MIB, f"the opened copy of {path.name}")
    try:
        command = open_stage(method, settings)
        with path.open("rb") as stream, open(os.open(plain, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            def write(chunk: bytes) -> None:
                try:
                    out.write(chunk)
                    out.flush()
                except OSError as error:
                    raise disk_failure(error, work, size) from error

            pipeline([command], env=settings.env, stdin=stream, sink=write, stall=settings.stall_seconds)
    except NoKey as error:
        raise NoKey(f"{path.name} is sealed with {method} and cannot be opened here: {error}") from None
    except ProgramError as error:
        if error.returncode < 0:
            raise BackupError(f"{path.name} could not be opened: {error}. Try again") from None
        if re.search(NO_KEY, error.stderr):
            where = "gpg --import brings it" if method == "gpg" else "is DECRYPT_IDENTITY_FILE the right one?"
            raise NoKey(f"{path.name} is sealed with {method} and cannot be opened here: the key is missing ({seal_words(error)}): {where}") from None
        raise DamageError(f"{path.name} is damaged: {seal_words(error)}") from None
    return plain


@contextlib.contextmanager
def unsealed(archive: Archive, settings: Settings, base: Path | None) -> Iterator[Archive]:
    """Give an archive as it can be read: itself, or, while the block runs, its opened copy in a private directory in `base`."""
    method = sealed_with(archive.path)
    if not method:
        yield archive
        return
    with tempfile.TemporaryDirectory(prefix=OPENED, dir=base, ignore_cleanup_errors=True) as work:
        yield dataclasses.replace(archive, file=str(unseal(archive.path, method, settings, Path(work))))


# ==== 7. Proof ========================================================================================================

OWN_TABLES = """FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_|^information_schema$'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')"""
# Text that depends on nothing but the value: what is no native type is hashed by it.
FIXED_SETTINGS = {"search_path": "", "lc_monetary": "C", "datestyle": "ISO, YMD", "timezone": "UTC", "intervalstyle": "postgres",
                  "extra_float_digits": "1", "bytea_output": "hex", "xmlbinary": "base64", "row_security": "off",
                  "standard_conforming_strings": "on", "quote_all_identifiers": "off", "statement_timeout": "0"}  # fmt: skip
# The types whose own hash is the same on every server and differs for values that differ. Not the others: enums (and regclass)
# hash by OID, which differs after a restore; 1.0 and 1.000, 0 and -0, 1 mon and 30 days, {1,2} and {{1,2}} hash alike; json, xml,
# money, tsvector, point have no hash. Their text is what format('%L') gives: a cast to text may be somebody's function.
NATIVE_TYPES = "int2,int4,int8,text,varchar,name,bool,bytea,uuid,date,time,timestamp,timestamptz,inet,cidr,macaddr"
# A table is read by itself (ONLY): partitions one by one, inheritance parents without their children. Where a level is
# partitioned by hash the tree is read as one: pg_dump may restore its rows into other partitions. Columns go by name, for a
# child that was made before its parent got a column has another order after a restore.
TABLES_TO_READ = f"""SELECT format('%I.%I', nspname, relname),
  CASE WHEN relpersistence = 'u' AND pg_is_in_recovery() THEN 'none' WHEN relkind = 'r' THEN 'ONLY' END,
  CASE relkind WHEN 'r' THEN pg_table_size(c.oid) ELSE (SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(c.oid)) END size,
  (SELECT string_agg(CASE WHEN a.atttypid = ANY (native) AND coalesce(l.collisdeterministic, true) THEN format('t.%I', attname)
      ELSE format('format(''%%L'', t.%I) COLLATE pg_catalog."C"', attname) END, ', ' ORDER BY attname)
    FROM pg_attribute a LEFT JOIN pg_collation l ON l.oid = a.attcollation WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
  FROM (SELECT c.*, n.nspname {OWN_TABLES}) c, (SELECT '{{{NATIVE_TYPES}}}'::regtype[]::oid[] native) types,
    LATERAL (SELECT (relispartition OR relkind = 'p') AND EXISTS (SELECT FROM pg_partition_tree(pg_partition_root(c.oid)) l
      JOIN pg_partitioned_table p ON p.partrelid = l.relid WHERE partstrat = 'h') AS mixed) tree
  WHERE CASE relkind WHEN 'r' THEN NOT mixed WHEN 'p' THEN mixed AND NOT relispartition ELSE false END ORDER BY size"""
# Sequences are no part of a snapshot; NOT NULL constraints stand in pg_constraint only since 18.
OBJECT_FACTS = f"""WITH own AS (SELECT c.* {OWN_TABLES}) SELECT json_build_object(
  'sequences', (SELECT coalesce(json_object_agg(format('%I.%I', schemaname, sequencename), last_value * sign(increment_by::numeric)), '{{}}')
    FROM pg_sequences s JOIN own ON own.oid = format('%I.%I', schemaname, sequencename)::regclass WHERE NOT s.cycle),
  'objects', json_build_object('tables', (SELECT count(*) FROM own WHERE relkind IN ('r', 'p')), 'sequences', (SELECT count(*) FROM own WHERE relkind = 'S'),
    'indexes', (SELECT count(*) FROM own WHERE relkind IN ('i', 'I')), 'views', (SELECT count(*) FROM own WHERE relkind IN ('v', 'm')),
    'constraints', (SELECT count(*) FROM pg_constraint k JOIN own ON own.oid = k.conrelid WHERE contype <> 'n'),
    'triggers', (SELECT count(*) FROM pg_trigger g JOIN own ON own.oid = g.tgrelid WHERE NOT tgisinternal),
    'functions', (SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname !~ '^pg_|^information_schema$'
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e'))))"""
# Read to its end, a hole in a large object is zeros, and restored as such: pages of zeros do not count, its length does.
LARGE_OBJECTS = """SELECT 'large objects', (SELECT count(*) FROM pg_largeobject_metadata), (SELECT concat(sum(bytes), ' bytes, ', sum(hash)) FROM
  (SELECT max(pageno * (current_setting('block_size')::int8 / 4) + octet_length(data)) bytes,
    sum(hash_record_extended(ROW(loid::int8, pageno, rtrim(data, '\\x00')), 0)) FILTER (WHERE rtrim(data, '\\x00') <> '') hash
   FROM pg_largeobject GROUP BY loid) o)"""
LARGE_OBJECT_FACTS = """SELECT count(*), pg_table_size('pg_largeobject'), has_table_privilege('pg_largeobject', 'SELECT') FROM pg_largeobject_metadata"""
TOGETHER = 32 * MIB  # tables read by one query: small ones, to spare the round trips


def open_snapshot(psql: Psql, lock_seconds: int) -> tuple[str, dict[str, Any]]:
    """Begin a repeatable-read transaction; give its exported snapshot, for pg_dump, and what is in the catalog then.

    The facts are `sequences` (name -> last value, negated where it counts down, None if unused; those that cycle are left
    out) and `objects` (counts).
    """
    settings = [f"SELECT set_config('{name}', '{value}', true)" for name, value in FIXED_SETTINGS.items()]
    # As pg_dump does since CVE-2024-7348: a table that its owner replaces by a view must not run his functions as us.
    settings.append("SELECT set_config(name, 'view', true) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'")
    psql.rows(";\n".join(["BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", *settings, f"SET LOCAL lock_timeout = {lock_seconds * 1000}"]))
    return psql.value("SELECT pg_export_snapshot()"), json.loads(psql.value(OBJECT_FACTS))


class TableToRead(NamedTuple):
    """A table to count and hash."""

    name: str  # quoted, with its schema
    only: str  # ONLY, or nothing where its partitions are read with it; none: unlogged on a standby, pg_dump leaves its rows out
    size: int  # bytes
    columns: str  # what to hash of a row `t`

    def query(self, hashed: bool) -> str:
        """Write the query for name, rows and hash (NULL where it is only counted)."""
        if self.name == "large objects":
            return LARGE_OBJECTS if hashed and self.columns else "SELECT 'large objects', count(*), NULL FROM pg_largeobject_metadata"
        if self.only == "none":
            return f"SELECT {quote_text(self.name)}, 0, '0'"
        digest = f"coalesce(sum(hash_record_extended(ROW({self.columns}), 0)), 0)::text" if hashed else "NULL"
        return f"SELECT {quote_text(self.name)}, count(*), {digest} FROM {self.only} {self.name} t"


def read_tables(psql: Psql, seconds: float = 0, known: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Count and hash every table: "schema.table" -> {rows, hash}, as the transaction of `open_snapshot` sees them.

    The hash is the sum of the rows' hashes, as text, so the rows' order does not matter (9.2 million rows in 2 s, measured).
    It is None for a table that was only counted: after `seconds` (0: no limit; the small tables come first), or where
    `known`, an earlier result, has none. Large objects count as one table.
    """
    deadline = time.monotonic() + (seconds or 10**6)
    waiting = [TableToRead(name, only, int(size or 0), columns) for name, only, size, columns in psql.rows(TABLES_TO_READ, 0)]
    count, size, readable = psql.rows(LARGE_OBJECT_FACTS)[0]
    waiting += [TableToRead("large objects", "", int(size), "data" if readable == "t" else "")] * (count != "0")
    result: dict[str, dict[str, Any]] = {}
    while waiting:
        batch = [waiting.pop(0)]
        while waiting and len(batch) < 100 and sum(table.size for table in batch) + waiting[0].size < TOGETHER:
            batch.append(waiting.pop(0))
        rows: list[list[str]] = []
        left = deadline - time.monotonic()
        if left > 0:
            queries = [table.query(known is None or known.get(table.name, {}).get("hash") is not None) for table in batch]
            *rows, (state,) = psql.rows(f"SAVEPOINT t; SET LOCAL statement_timeout = {int(min(left, 10**6) * 1000)};\n\\set ON_ERROR_STOP 0\n"
                                        + "\nUNION ALL ".join(queries)
                                        + ";\n\\echo :SQLSTATE\n\\set ON_ERROR_STOP 1\nROLLBACK TO t; RELEASE t", 0)  # fmt: skip
            if state not in ("00000", "57014"):  # query_canceled: the time is over
                raise BackupError(f"reading {names_shown(table.name for table in batch)} failed (SQLSTATE {state})")
        for name, count, digest in rows or psql.rows("\nUNION ALL ".join(table.query(False) for table in batch), 0):
            result[name] = {"rows": int(count), "hash": digest or None}
    return result


@contextlib.contextmanager
def fingerprint_beside(psql: Path, env: Mapping[str, str], settings: Settings, failed: Callable[[str], None]) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Read a database's fingerprint while the block runs. Give the option that lets pg_dump read the same snapshot, and the
    facts for its sidecar, complete when the block has ended. `failed` is told why there is none.
    """
    facts: dict[str, Any] = {}
    failures: list[Exception] = []
    with contextlib.ExitStack() as stack:
        def work() -> None:
            try:
                facts.update(opened, tables=read_tables(reader, settings.fingerprint_seconds))
            except (BackupError, OSError, ValueError) as error:  # the latter two where the session was closed under it
                failures.append(error)

        thread, option = threading.Thread(target=work, daemon=True), []  # it ends with its psql, whatever happens here
        try:
            if settings.fingerprint_seconds:
                reader = stack.enter_context(session(psql, env))
                snapshot, opened = open_snapshot(reader, settings.table_lock_seconds)
                option = [f"--snapshot={snapshot}"]
                thread.start()
        except BackupError as error:
            failures.append(error)
        yield option, facts
        if option:
            thread.join(settings.fingerprint_seconds + settings.stall_seconds if settings.stall_seconds else None)
            failures += [BackupError("the server did not answer in time")] * thread.is_alive()
    for failure in failures:
        failed(f"no fingerprint, so no restore of it can be proven: {failure}")


class Difference(NamedTuple):
    """What a restored database does not have as its backup says."""

    what: str
    expected: str
    found: str


def compare_fingerprints(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[Difference]:
    """List how a restored database differs from its backup's fingerprint. A sequence may be ahead, never behind."""
    differences = []
    def told(entry: Any) -> str:
        return f"{entry['rows']} rows" if entry else "absent"

    for name in sorted({*expected["tables"], *found["tables"]}):
        wanted, there = expected["tables"].get(name), found["tables"].get(name)
        if not wanted or not there or wanted["rows"] != there["rows"]:
            differences.append(Difference(name, told(wanted), told(there)))
        elif wanted["hash"] and there["hash"] and wanted["hash"] != there["hash"]:
            differences.append(Difference(name, f"{told(wanted)}, hash {wanted['hash']}", f"{told(there)}, hash {there['hash']}"))
    for name, value in sorted(expected.get("sequences", {}).items()):
        there = found["sequences"].get(name)
        if type(value) is int and (there is None or there < value):
            differences.append(Difference(f"sequence {name}", str(value), str(there)))
    for name, count in expected.get("objects", {}).items():
        if name in found["objects"] and found["objects"][name] != count:
            differences.append(Difference(f"number of {name.replace('_', ' ')}", str(count), str(found["objects"][name])))
    return differences


def differences_text(differences: Sequence[Difference]) -> str:
    """Write the table of differences, one line each, the first 20."""
    rows = [("TABLE", "EXPECTED", "FOUND"), *differences[:20]]
    more = [f"and {len(differences) - 20} more"] if len(differences) > 20 else []
    return "\n".join([printable(f"{what:<40} {expected:<44} {found}") for what, expected, found in rows] + more)


def only_counted(tables: Mapping[str, Any]) -> list[str]:
    """List the tables of a fingerprint that have no hash."""
    return [name for name, entry in tables.items() if not entry["hash"]]


def proof_text(facts: Mapping[str, Any]) -> str:
    """Say how much of a database was compared: `11 tables, 70,432 rows`, and what was only counted."""
    tables = facts["tables"]
    counted = only_counted(tables)
    text = f"{len(tables)} tables, {sum(entry['rows'] for entry in tables.values()):,} rows"
    return text + (f"; only counted, not hashed: {names_shown(counted)}" if counted else "")


# ==== 8. Sources ======================================================================================================

# The properties of a database that no dump restored under another name carries over. `d` is its row of pg_database.
PROPERTIES = """json_build_object(
  'owner', pg_get_userbyid(d.datdba),
  'connection_limit', d.datconnlimit,
  'comment', shobj_description(d.oid, 'pg_database'),
  'tablespace', (SELECT spcname FROM pg_tablespace WHERE oid = d.dattablespace),
  'acl', CASE WHEN d.datacl IS NOT NULL THEN (
    SELECT coalesce(json_agg(json_build_object('grantee', CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END,
      'privilege', privilege_type, 'grantable', is_grantable)), '[]') FROM aclexplode(d.datacl)) END,
  'settings', (
    SELECT coalesce(json_agg(json_build_object('role', CASE WHEN setrole <> 0 THEN pg_get_userbyid(setrole) END,
      'name', split_part(item, '=', 1), 'value', substr(item, strpos(item, '=') + 1))), '[]')
    FROM pg_db_role_setting, unnest(setconfig) item WHERE setdatabase = d.oid))"""
# to_jsonb(d) because the columns of a locale differ by major (ICU came with 15, datlocale with 17).
LOCALE = """json_build_object('provider', coalesce(to_jsonb(d)->>'datlocprovider', 'c'), 'collate', d.datcollate,
  'ctype', d.datctype, 'locale', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'),
  'rules', to_jsonb(d)->>'daticurules', 'version', to_jsonb(d)->>'datcollversion')"""
TABLE_NAMES = f"SELECT coalesce(json_agg(n.nspname || '.' || c.relname), '[]') {OWN_TABLES}"
DATABASE_FACTS = f"""SELECT json_build_object(
  'major', current_setting('server_version_num')::int / 10000, 'server_version', current_setting('server_version'),
  'in_recovery', pg_is_in_recovery(), 'database', current_database(),
  'user', current_user, 'superuser', r.rolsuper, 'bypass_rls', r.rolbypassrls,
  'size_bytes', pg_database_size(d.oid), 'encoding', pg_encoding_to_char(d.encoding), 'locale', {LOCALE},
  'extensions', (SELECT coalesce(json_object_agg(extname, extversion), '{{}}') FROM pg_extension),
  'properties', {PROPERTIES},
  'tables', (SELECT count(*) {OWN_TABLES} AND c.relkind IN ('r', 'p')),
  'unreadable_tables', ({TABLE_NAMES} AND c.relkind IN ('r', 'p', 'm', 'S') AND NOT CASE c.relkind
    WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END),
  'foreign_tables', ({TABLE_NAMES} AND c.relkind = 'f'),
  'row_security', ({TABLE_NAMES} AND c.relrowsecurity)
) FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user"""
SCRATCH = r"^arrivapp_scratch_\d{8}t\d{6}z_[0-9a-f]{6}$"
KEPT_MARK = "arrivapp-backup kept "  # begins the comment of a database that a restore has put or left aside
DUMP_TRIES = 3  # where a lock or a standby's recovery stood in the way
LOCK_FAILURE = "(lock|statement) timeout"  # pg_dump waits for locks by statement_timeout
PASSING_DUMP_FAILURE = f"{LOCK_FAILURE}|conflict with recovery|snapshot"


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server that answered, and what it said of itself and of the database we asked for."""

    connection: Connection
    env: Mapping[str, str]
    psql: Path
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """What a source needs to work: the run's settings, report, id, private directory, server and lock."""

    settings: Settings
    report: Report
    id: str
    work: Path
    server: Server | None = None
    lock: tuple[int, ...] = ()
    previous: Mapping[str, Archive] = field(default_factory=dict)  # the newest good archive of each kind
    kinds: tuple[str, ...] = ()
    accept_differences: bool = False

    def program(self, name: str) -> Path:
        """Choose the PostgreSQL program of the server's major."""
        return postgres_program(name, self.server.facts["major"], self.settings, self.server.connection)


class Source(Protocol):
    """One kind of thing that is backed up. Stateless; to add one, copy the smallest and add it to SOURCES."""

    kind: str
    suffix: str  # of its archives' names, before the compressor's own

    def dump(self, job: Job, write: Callable[[bytes], object]) -> dict[str, Any]:
        """Write the archive's bytes and give the facts for its sidecar. Raise BackupError; nothing is kept then."""

    def inspect(self, path: Path, settings: Settings) -> str:
        """Read an archive to its very end with the program that will restore it. Raise DamageError."""

    def restore(self, job: Job, archive: Archive, target: str, undo: contextlib.ExitStack) -> Callable[[], str]:
        """Build beside what is live and give the swap: calling it puts the new in place and says what was kept."""


def open_session(server: Server, dbname: str = "") -> contextlib.AbstractContextManager[Psql]:
    """Open psql on a server, in the database given or the connection's own. It raises ProgramError as psql gave it."""
    return session(server.psql, {**server.env, **({"PGDATABASE": dbname} if dbname else {})})


def ask(server: Server, sql: str, dbname: str = "", seconds: float = 60) -> list[list[str]]:
    """Run SQL in a session of its own and give the rows. Raise BackupError in one line."""
    with explained(server.connection), open_session(server, dbname) as psql:
        return psql.rows(sql, seconds)


def ask_server(connection: Connection, settings: Settings, work: Path) -> Server:
    """Log in and learn what we must know of a server and database. Raise ProgramError as psql gave it."""
    env = postgres_environment(connection, settings.env, work)
    if not (env.get("PGDATABASE") or env.get("PGSERVICE")):
        raise UsageError("no database is configured: set DB_NAME (or DATABASE_URL) in .env.backup, "
                         "see .env.backup.example")  # fmt: skip
    if re.search("[\n\r]", env.get("PGDATABASE", "") + env.get("PGUSER", "")):
        raise UsageError("a database or user name with a line break cannot be backed up (pg_dumpall fails on it): "
                         "rename it")  # fmt: skip
    programs = postgres_programs("psql", settings)
    if not programs:
        raise BackupError(f"psql is not installed, and the backup of {connection} needs it: {install_advice(15)}")
    with session(programs[0], env) as psql:
        facts = json.loads(psql.value(DATABASE_FACTS))
    if connection.dbname and facts["database"] != connection.dbname:
        asked, reached = printable(connection.dbname), printable(facts["database"])
        raise BackupError(f"asked for database {asked}, reached {reached}: check PGSERVICE")
    return Server(connection, env, programs[0], facts)


def find_server(connection: Connection, settings: Settings, work: Path, patient: bool = True) -> Server:
    """Reach a server, waiting a little for one that is restarting. Raise BackupError in one line."""
    for delay in (*(RETRIES if patient else ()), None):
        try:
            return ask_server(connection, settings, work)
        except ProgramError as error:
            if delay is None or not re.search(TRANSIENT, error.stderr):
                raise postgres_failure(error, connection) from None
            log.warning("the server does not let us in yet, trying again in %.0f s: %s", delay, error)
            time.sleep(delay)


def find_admin_server(connection: Connection, settings: Settings, work: Path, patient: bool = True) -> Server:
    """Reach a server in a database that one may stand in while others are made and renamed."""
    try:
        return find_server(dataclasses.replace(connection, dbname="postgres"), settings, work, patient)
    except BackupError as error:
        if 'database "postgres"' not in str(error):  # else it is absent, or closed to us
            raise
        return find_server(dataclasses.replace(connection, dbname="template1"), settings, work, patient=False)


def compressor(settings: Settings) -> tuple[list[str], str]:
    """Choose the stage that compresses dumps, and the suffix of its files.

    zstd level 1 with all cores: measured on a 1.1 GB database, 11.5 s and 269 MB, against 42 s for pg_dump's own gzip.
    Its -vv says how many bytes went in.
    """
    zstd = ("zstd", "-T0", "-1", "-vv", "--no-progress")
    for suffix, name, *options in ((".zst", *zstd), (".gz", "pigz", "-n"), (".gz", "gzip", "-n")):
        program = settings.which(name)
        if program:
            return [program, *options, "-c"], suffix
    raise BackupError("neither zstd, pigz nor gzip is installed: apt install zstd")


def unpack_stage(path: Path, settings: Settings) -> list[list[str]]:
    """Choose the stage that unpacks a file, by its content; none for a plain one."""
    magic = first_bytes(path, 4)
    name = "zstd" if magic == b"\x28\xb5\x2f\xfd" else "gzip" if magic.startswith(b"\x1f\x8b") else ""
    program = settings.which(name) if name else ""
    if program is None:
        raise PartlyDone(f"{name} is not installed, so {path.name} cannot be unpacked: apt install {name}")
    return [[program, "-dc"]] if program else []


def unpacked(path: Path, settings: Settings, *more: Sequence[str | Path], **options: Any) -> None:
    """Run a pipeline that reads the unpacked content of a file into `more`; `options` are those of `pipeline`."""
    with path.open("rb") as stream:
        stages = [*unpack_stage(path, settings), *more] or [["cat"]]
        pipeline(stages, stdin=stream, **{"env": settings.env, **options})


BEGINNING = ("head", "-c", "65536")  # a last stage; what stands before it dies of SIGPIPE


def content_of(path: Path, settings: Settings) -> str:
    """Tell what a file holds, by its content: custom (pg_dump's archive formats), sql, roles or tar.

    Raise UsageError for anything else.
    """
    if (path / "toc.dat").is_file():
        return "custom"
    head = bytearray()
    with contextlib.suppress(ProgramError):
        unpacked(path, settings, BEGINNING, sink=head.extend)
    if head.startswith(b"PGDMP") or (head[257:262] == b"ustar" and head.startswith(b"toc.dat\0")):
        return "custom"
    if head[257:262] == b"ustar":
        return "tar"
    if b"\n-- PostgreSQL database cluster dump\n" in head[:1000]:
        return "roles"
    if head and b"\0" not in head:
        return "sql"
    if not head and unpack_stage(path, settings):
        raise DamageError(f"{path.name} is damaged: not a byte of it can be unpacked")
    raise UsageError(f"{path} is no pg_dump archive, SQL script or tar.gz, packed or not")


def read_through(path: Path, settings: Settings, *more: Sequence[str | Path], sink: Any = None) -> None:
    """Read a file to its very end through its decompressor and `more`. Raise DamageError where any complains."""
    try:
        unpacked(path, settings, *more, sink=sink, stall=settings.stall_seconds if sink else 0)
    except ProgramError as error:
        if "unsupported version" in error.stderr:
            newer = "was made by a newer pg_dump than the newest pg_restore here"
            raise PartlyDone(f"{path.name} {newer}: {error}") from None
        raise DamageError(f"{path.name} is damaged: {error}") from None


def read_sql(path: Path, settings: Settings, take: Callable[[bytes], object] | None = None) -> None:
    """Read a SQL script to its end, handing its chunks on. Raise DamageError where pg_dump began and did not end it."""
    head, tail = b"", b""
    def sink(chunk: bytes) -> None:
        nonlocal head, tail
        head, tail = (head + chunk[:1000])[:1000], (tail + chunk)[-1000:]
        if take:
            take(chunk)

    read_through(path, settings, sink=sink)
    begun = re.search(rb"(-- PostgreSQL database (?:cluster )?dump)\n", head)
    if begun and begun[1] + b" complete" not in tail:
        raise DamageError(f"{path.name} is damaged: the SQL script breaks off before its end")


LOCK_HOLDERS = """SELECT DISTINCT 'pid ' || a.pid || ' (' || coalesce(a.usename, '?') || '): ' || left(a.query, 100)
  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
  WHERE l.granted AND l.locktype = 'relation' AND a.pid <> pg_backend_pid() AND a.datname = current_database()
    AND l.mode LIKE '%ExclusiveLock' AND l.mode <> 'RowExclusiveLock'"""


def dump_failure(error: ProgramError, server: Server) -> BackupError:
    """Turn a failed dump into one line, with who holds the lock where one stood in the way."""
    failure, found = postgres_failure(error, server.connection), ""
    if not re.search(LOCK_FAILURE, error.stderr):
        return failure
    with contextlib.suppress(BackupError):
        found = "; ".join(printable(row[0]) for row in ask(server, LOCK_HOLDERS, seconds=10))
    holder = found or "a session that is gone"
    return BackupError(f"{failure}. The lock is held by {holder}: let it end, or pg_terminate_backend(pid)")


# What a SQL script is made of: comments and quotes, which are passed over, words, ends of statements, what psql obeys.
# A quote or a comment that does not end is refused, and so is a comment in a comment.
SQL_TOKEN = re.compile(
    rb"""(?P<passed>--[^\r\n]*|/\*(?:(?!/\*|\*/).)*\*/|'[^']*'|"[^"]*"|[eE]'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'"""
    rb"""|(?P<tag>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$).*?(?P=tag))"""
    rb"""|(?P<word>[A-Za-z_\x80-\xff][\w$\x80-\xff]*|[^\s;'"\\$/A-Za-z_\x80-\xff-]+|[$/-](?!\*))"""
    rb"""|(?P<end>;)|(?P<restrict>^\\(?:un)?restrict\b[^\r\n]*)|(?P<refused>[\\'"]|/\*)""",
    re.DOTALL | re.MULTILINE,
)
COPY_DATA = re.compile(rb"[ \t\r]*(?:\n.*?)??\n\\\.\r?$", re.DOTALL | re.MULTILINE)


def guard_script(script: Path, name: str) -> None:
    """Refuse a foreign SQL script that would leave the scratch database. Raise UsageError naming the line.

    psql obeys DROP DATABASE and \\connect in the output of `pg_dump --clean --create` and so destroyed the live
    database, exit 0 (measured). COPY data are passed over; \\restrict becomes a comment, because we set our own.
    """
    at, words = 0, []
    with script.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as text:
        while token := SQL_TOKEN.search(text, at):
            at, kind = token.end(), token.lastgroup
            if kind == "word" and len(words) < 5000:  # one INSERT may have a million lines
                words.append(token[0].upper())
            elif kind == "restrict":
                text[token.start() : token.start() + 2] = b"--"
            elif kind == "end":
                if words[:1] == [b"COPY"] and b" FROM STDIN" in b" ".join(words):
                    data = COPY_DATA.match(text, at)
                    at, kind = (data.end(), kind) if data else (at, "refused")
                words = []
            if kind == "refused" or (words[1:2] == [b"DATABASE"] and words[0] in (b"CREATE", b"DROP", b"ALTER")):
                start = text.rfind(b"\n", 0, token.start()) + 1
                shown = printable(text[start : start + 80].decode("utf-8", "replace").split("\n")[0].strip())
                number = 1 + text[:start].count(b"\n")
                raise UsageError(f"{name}, line {number}: {shown!r} would act outside the database being restored: "
                                 "refused. Make the dump without --create, or take that line out")  # fmt: skip


def cut_name(name: str, suffix: str) -> str:
    """Join a database name and a suffix within 63 bytes, to which PostgreSQL cuts silently; a hash keeps it unique."""
    if len((name + suffix).encode()) <= 63:
        return name + suffix
    suffix = f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}{suffix}"
    return name.encode()[: 63 - len(suffix)].decode("utf-8", "ignore") + suffix


DROP_SUBSCRIPTIONS = """SELECT format('ALTER SUBSCRIPTION %1$I DISABLE;
    ALTER SUBSCRIPTION %1$I SET (slot_name = NONE); DROP SUBSCRIPTION %1$I', subname)
  FROM pg_subscription JOIN pg_database d ON d.oid = subdbid WHERE datname = current_database()"""


def drop_database(server: Server, name: str) -> None:
    """Drop a scratch database if it is there; its subscriptions first, or DROP DATABASE refuses even by force."""
    with contextlib.suppress(BackupError), open_session(server, name) as psql:
        for (statements,) in psql.rows(DROP_SUBSCRIPTIONS):
            psql.rows(statements)
    try:
        with open_session(server) as psql:
            psql.rows(f"DROP DATABASE IF EXISTS {quote_name(name)} WITH (FORCE)", 0)
    except BackupError as error:
        log.warning("%s could not be dropped and takes room on the server: %s", name, error)


def drop_scratch_databases(server: Server) -> None:
    """Drop the scratch databases of runs that died; one that a session uses is somebody's work."""
    for (name,) in ask(server, f"""SELECT datname FROM pg_database d WHERE datname ~ {quote_text(SCRATCH)}
                                   AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)"""):
        log.info("dropping %s, left by a restore that died", name)
        drop_database(server, name)


Live = Mapping[str, Any] | None  # what a server says of a database; None where it is absent


def database_row(server: Server, name: str) -> Live:
    """Ask for one database of a server."""
    found = ask(server, f"""SELECT json_build_object(
      'name', d.datname, 'oid', d.oid, 'size_bytes', pg_database_size(d.oid), 'properties', {PROPERTIES},
      'connections', (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid))
      FROM pg_database d WHERE d.datname = {quote_text(name)}""")
    return json.loads(found[0][0]) if found else None


CREATE_DATABASE = re.compile(rb'\nCREATE DATABASE (?:"(?:[^"]|"")*"|\w+) WITH TEMPLATE = template0 ([^;]*);\n')


def pg_restore(job: Job, path: Path, options: Sequence[str], *more: Sequence[str | Path], **pipe: Any) -> None:
    """Run pg_restore on an archive: on the file itself, or on the stream that unpacks it."""
    command, packed = [job.program("pg_restore"), *options], unpack_stage(path, job.settings)
    if packed:
        unpacked(path, job.settings, command, *more, env=job.server.env, **pipe)
    else:
        pipeline([[*command, path], *more], env=job.server.env, **pipe)


def creation_options(job: Job, archive: Archive, content: str, live: Live) -> str:
    """Give the encoding and locale of a dump, or of the live database for a script, as CREATE DATABASE takes them.

    They stand in the CREATE DATABASE that `pg_restore --create` and `pg_dump --create` print.
    """
    text = bytearray()
    if content == "custom":
        try:
            pg_restore(job, archive.path, ["--create", "--schema-only", "-f", "-"], BEGINNING, sink=text.extend)
        except ProgramError as error:
            if error.returncode != -signal.SIGPIPE:
                raise
    elif live:  # without its schemas, for its tables may be locked or broken
        command = [job.program("pg_dump"), "-w", "--create", "--schema-only", "--exclude-schema=*"]
        pipeline([command], env={**job.server.env, "PGDATABASE": live["name"]}, sink=text.extend)
    found = CREATE_DATABASE.search(text)
    options = re.sub(r"TABLESPACE = \S+", "", found[1].decode()) if found else ""
    if live and live["properties"]["tablespace"] != "pg_default":  # to name that one needs a right that owners lack
        options += f" TABLESPACE {quote_name(live['properties']['tablespace'])}"
    return options


# Settings whose value is a list of names: each is quoted by itself (as pg_dump's variable_is_guc_list_quote()).
LIST_SETTINGS = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")


def property_statements(name: str, properties: Mapping[str, Any]) -> Iterator[str]:
    """Yield the statements that give a database the owner, rights, limits, comment and settings of another."""
    database, owner = f"DATABASE {quote_name(name)}", quote_name(properties["owner"])
    yield f"ALTER {database} OWNER TO {owner}"
    yield f"ALTER {database} CONNECTION LIMIT {int(properties['connection_limit'])}"
    if properties.get("acl") is not None:
        yield f"REVOKE ALL ON {database} FROM PUBLIC, {owner}"
    for entry in properties.get("acl") or ():
        grantee = quote_name(entry["grantee"]) if entry["grantee"] else "PUBLIC"
        option = " WITH GRANT OPTION" if entry["grantable"] else ""
        yield f"GRANT {re.sub('[^A-Z]', '', entry['privilege'])} ON {database} TO {grantee}{option}"
    if properties.get("comment") and not properties["comment"].startswith(KEPT_MARK):
        yield f"COMMENT ON {database} IS {quote_text(properties['comment'])}"
    for entry in properties["settings"]:
        values = [entry["value"]]
        if entry["name"] in LIST_SETTINGS:
            parts = re.findall(r'"((?:[^"]|"")*)"|([^,\s]+)', entry["value"])
            values = [(quoted or plain).replace('""', '"') for quoted, plain in parts] or [""]
        setting, value = ".".join(map(quote_name, entry["name"].split("."))), ", ".join(map(quote_text, values))
        role = f"ROLE {quote_name(entry['role'])} IN " if entry["role"] else ""
        yield f"ALTER {role}{database} SET {setting} TO {value}"


def load_dump(job: Job, archive: Archive, scratch: str, *flags: str) -> None:
    """Fill a scratch database from a pg_dump archive: unpacked, by every core, where the disk allows, else streamed."""
    path, raw_bytes = archive.path, archive.facts.get("raw_bytes") or 0
    whole = job.work / "unpacked.dump"
    if unpack_stage(path, job.settings) and raw_bytes and shutil.disk_usage(job.work).free > raw_bytes + 64 * MIB:
        with whole.open("xb") as out:
            unpacked(path, job.settings, stdout=out, keep_fds=job.lock)
        path = whole
    options = ["-w", "--exit-on-error", *flags, "-d", scratch]
    if path.is_dir() or first_bytes(path, 5) == b"PGDMP":  # several jobs can share neither a stream nor a tar archive
        options += ["-j", str(os.cpu_count() or 1)]
    pg_restore(job, path, options, keep_fds=job.lock, limit=job.settings.restore_seconds)
    whole.unlink(missing_ok=True)


def load_script(job: Job, path: Path, scratch: str) -> None:
    """Fill a scratch database from a SQL script: unpacked into a private file, guarded, then run.

    \\restrict, which came with the fix of CVE-2025-8714, lets psql obey no backslash command at all.
    """
    psql, script = job.program("psql"), job.work / "script.sql"
    with script.open("xb") as stream:
        read_sql(path, job.settings, stream.write)
    guard_script(script, path.name)
    command = [psql, "-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", scratch]
    major, minor = program_version(psql)
    if minor >= {14: 19, 15: 14, 16: 10, 17: 6}.get(major, 0):
        command += ["-c", f"\\restrict {secrets.token_hex(16)}"]
    pipeline([[*command, "-f", script]], env=job.server.env, keep_fds=job.lock, limit=job.settings.restore_seconds)
    script.unlink()


def restore_failure(error: ProgramError, job: Job, archive: Archive, scratch: str, live: Live) -> BackupError:
    """Turn a failed load into one line: what failed, that live data is untouched, and the next step."""
    told = f"restoring into {scratch} on PostgreSQL {job.server.facts['major']} failed; the live data is untouched."
    if "No space left" in error.stderr:
        told += f" The dump is {human_size(archive.facts.get('raw_bytes') or 0)} unpacked"
        told += f", the live database is {human_size(live['size_bytes'])}." if live else "."
    return BackupError(f"{told} {postgres_failure(error, job.server.connection)}")


def kept_comment(kept: str, target: str, job: Job, comment: str | None, **more: Any) -> str:
    """Write the statement that marks a database as kept aside: all that undo and cleanup need stands with the data."""
    mark = {"name": target, "id": job.id, "time": utc_now().isoformat(timespec="seconds"), "comment": comment, **more}
    return f"COMMENT ON DATABASE {quote_name(kept)} IS {quote_text(KEPT_MARK + json.dumps(mark))}"


def swap_database(job: Job, scratch: str, target: str, live: Live, *more: str) -> str:
    """Put the scratch database in the place of the live one: both renames in one transaction.

    A second session ends the other sessions by the database's oid while the first waits for them (up to 5 s a try, as
    ALTER DATABASE RENAME does). New ones wait for the lock and then find the new database: measured outage 0.2 s with
    six clients that reconnect in a loop. Never ALLOW_CONNECTIONS false: a crash in between would lock everybody out.
    """
    kept = cut_name(target, f"_before_{job.id.lower()}")
    statements = [*more, f"ALTER DATABASE {quote_name(scratch)} RENAME TO {quote_name(target)}"]
    if live:
        statements = [f"ALTER DATABASE {quote_name(target)} RENAME TO {quote_name(kept)}", *statements,
                      kept_comment(kept, target, job, live["properties"]["comment"])]  # fmt: skip
    # An undo's "scratch" is the kept one, into which somebody may look.
    end_sessions = f"""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = {quote_text(scratch)} OR datid = {live['oid'] if live else 0}"""
    for tries_left in (2, 1, 0):
        try:
            with open_session(job.server) as first, open_session(job.server) as second:
                first.send(";\n".join(["BEGIN", *statements, "COMMIT"]))
                while not first.ready(0.05):
                    second.rows(end_sessions)
                first.receive()
            return f"the database before is kept as {kept}" if live else "there was none before"
        except ProgramError as error:
            if not tries_left or "is being accessed by other users" not in error.stderr:
                raise postgres_failure(error, job.server.connection) from None


def prove(job: Job, archive: Archive, scratch: str) -> tuple[dict[str, Any], list[Difference]]:
    """Fingerprint a restored database and hold it against its backup's; the log says how much was compared."""
    if "tables" not in archive.facts:
        log.warning("not proven: no fingerprint (%s has none to compare the restored rows with)", archive.path.name)
        return {}, []
    with open_session(job.server, scratch) as psql:
        _, found = open_snapshot(psql, 0)
        found["tables"] = read_tables(psql, known=archive.facts["tables"])
    differences = compare_fingerprints(archive.facts, found)
    if differences and job.accept_differences:
        log.warning("%d differences from the backup", len(differences))
        for line in differences_text(differences).split("\n"):
            log.warning("%s", line)
    elif not differences:
        log.info("compared with the backup's fingerprint, identical: %s", proof_text(found))
    return found, differences


def require_extensions(server: Server, extensions: Iterable[str]) -> None:
    """Raise BackupError where a server lacks extensions of a backup."""
    there = {name for (name,) in ask(server, "SELECT name FROM pg_available_extensions")}
    lacking = sorted(set(extensions) - there)
    if lacking:
        packages = f"postgresql-contrib or postgresql-{server.facts['major']}-NAME"
        raise BackupError(f"the server lacks extensions that the backup uses: {names_shown(lacking)}. "
                          f"Install them (often apt install {packages}), then restore again")  # fmt: skip


class Scratch(NamedTuple):
    """A restored database beside the live one."""

    name: str
    found: Mapping[str, Any]  # its fingerprint; empty where the backup has none
    differences: list[Difference]
    in_use: contextlib.ExitStack  # the session that marks it as somebody's work


class Database:
    """The application's PostgreSQL database, as a pg_dump custom archive."""

    kind, suffix = "database", ".dump"

    def dump(self, job: Job, write: Callable[[bytes], object]) -> dict[str, Any]:
        """Stream pg_dump through the compressor and the seal; nothing but their bytes reaches the disk."""
        facts, settings, pg_dump = job.server.facts, job.settings, job.program("pg_dump")
        command = [pg_dump, "-Fc", "-Z0", "-w", f"--lock-wait-timeout={settings.table_lock_seconds * 1000}"]
        with fingerprint_beside(job.server.psql, job.server.env, settings, job.report.problem) as (snapshot, proof):
            try:
                stages = [[*command, *snapshot], compressor(settings)[0], *seal_stage(settings)]
                said = pipeline(stages, env=job.server.env, sink=write, stall=settings.stall_seconds, keep_fds=job.lock)
            except ProgramError as error:
                raise dump_failure(error, job.server) from error
        for line in re.findall(r"^pg_dump: warning: (.*)$", said, re.MULTILINE):
            (job.report.problem if "not dumped" in line else log.warning)(f"pg_dump: {line}")
        counted, foreign = only_counted(proof.get("tables", {})), facts["foreign_tables"]
        if counted:
            what = "only counted, not hashed (FINGERPRINT_SECONDS, or no right to read them)"
            log.warning("%s: %s", what, names_shown(counted))
        if foreign:
            log.warning("the data behind foreign tables is not in this backup: %s", names_shown(foreign))
        raw = re.search(r"\(\s*(\d+) B =>", said)
        copied = ("database", "server_version", "encoding", "locale", "extensions", "properties", "in_recovery",
                  "foreign_tables")  # fmt: skip
        return {key: facts[key] for key in copied} | {
            "pg_dump_version": ".".join(map(str, program_version(pg_dump))),
            "raw_bytes": int(raw[1]) if raw else facts["size_bytes"],
            "objects": {"tables": facts["tables"]},
        } | proof

    def inspect(self, path: Path, settings: Settings) -> str:
        """Let pg_restore read the whole archive; `--list` would pass 398 of 400 bit flips (measured)."""
        programs = postgres_programs("pg_restore", settings)
        if not programs:
            advice = install_advice(15)
            raise PartlyDone(f"pg_restore is not installed, so only the stored bytes were checked: {advice}")
        read_through(path, settings, [max(programs, key=program_version), "-f", "/dev/null"])
        return "read by pg_restore to the end"

    def build(self, job: Job, archive: Archive, live: Live, undo: contextlib.ExitStack, drill: bool = False) -> Scratch:
        """Restore into a scratch database, ANALYZE it and compare it with the fingerprint; `undo` drops it.

        A drill needs no right but CREATEDB: owners, grants and the database's properties are left out.
        """
        path, server = archive.path, job.server
        content = content_of(path, job.settings)
        if content == "custom" and path.is_file() and not archive.sha256:
            self.inspect(path, job.settings)
        drop_scratch_databases(server)
        require_extensions(server, archive.facts.get("extensions") or {})
        scratch = f"arrivapp_scratch_{job.id.lower()}_{secrets.token_hex(3)}"
        properties = None if drill else (live or archive.facts).get("properties")
        in_use = contextlib.ExitStack()
        try:
            options = creation_options(job, archive, content, live)
            undo.callback(drop_database, server, scratch)  # before it is there: a signal may come while it is made
            with open_session(server) as psql:
                psql.rows(f"CREATE DATABASE {scratch} TEMPLATE template0 {options}", 0)
            undo.enter_context(in_use)
            guard = in_use.enter_context(open_session(server, scratch))  # so that nobody takes it for a leftover
            log.info("restoring %s into the scratch database %s", path.name, scratch)
            guard.rows("SELECT 1")
            if content == "custom":
                load_dump(job, archive, scratch, *(("--no-owner", "--no-acl") if drill else ()))
            else:
                load_script(job, path, scratch)
            guard.send("ANALYZE")  # and meanwhile the proof
            found, differences = prove(job, archive, scratch)
            guard.receive(0)
            if properties:
                guard.rows(";\n".join(property_statements(scratch, properties)))
        except ProgramError as error:
            raise restore_failure(error, job, archive, scratch, live) from None
        return Scratch(scratch, found, differences, in_use)

    def restore(self, job: Job, archive: Archive, target: str, undo: contextlib.ExitStack) -> Callable[[], str]:
        """Build and prove a scratch database with the live one's properties; the swap renames both.

        One that differs from its backup is kept for a look, and DamageError says how it differs.
        """
        live = database_row(job.server, target)
        scratch = self.build(job, archive, live, undo)
        if scratch.differences and not job.accept_differences:
            scratch.in_use.close()
            kept = cut_name(target, f"_differs_{job.id.lower()}")
            mark = kept_comment(scratch.name, target, job, None, differs=True)
            swap_database(job, scratch.name, kept, None, mark)
            raise DamageError("what was restored is not what was backed up: nothing was replaced. "
                              f"Look at it in the database {kept}, choose another backup, or say --accept-differences\n"
                              f"{differences_text(scratch.differences)}")  # fmt: skip
        def swap() -> str:
            scratch.in_use.close()
            return swap_database(job, scratch.name, target, live)

        return swap


# A statement of a `pg_dumpall --roles-only` script, and the role that it is about: in GRANT a TO b that is b. Strings
# there double their quotes, also in E'...', so it ends at the first semicolon outside quotes.
ROLE_STATEMENT = re.compile(
    r"""^(?:CREATE ROLE|ALTER ROLE|COMMENT ON ROLE|GRANT .*? TO) ("(?:[^"]|"")*"|[^\s;"]+)"""
    r"""(?:[^;'"]|'[^']*'|"[^"]*")*;""", re.MULTILINE
)  # fmt: skip


def role_statements(script: str) -> dict[str, list[str]]:
    """Sort the statements of a roles script by the role that they make or change."""
    found: dict[str, list[str]] = {}
    for statement in ROLE_STATEMENT.finditer(script):
        found.setdefault(statement[1], []).append(statement[0])
    return found


class Roles:
    """The server's roles, which no dump of a database holds. Passwords only with ROLE_PASSWORDS=yes."""

    kind, suffix = "roles", ".sql"

    def command(self, job: Job) -> list[str | Path]:
        """Give the pg_dumpall command line."""
        passwords = [] if job.settings.role_passwords else ["--no-role-passwords"]
        return [job.program("pg_dumpall"), "--roles-only", "-w", *passwords]

    def dump(self, job: Job, write: Callable[[bytes], object]) -> dict[str, Any]:
        """Stream pg_dumpall through the compressor."""
        commands = [self.command(job), compressor(job.settings)[0], *seal_stage(job.settings)]
        with explained(job.server.connection):
            pipeline(commands, env=job.server.env, sink=write, stall=job.settings.stall_seconds, keep_fds=job.lock)
        return {"server_version": job.server.facts["server_version"], "passwords": job.settings.role_passwords}

    def inspect(self, path: Path, settings: Settings) -> str:
        """Read the script to its end and look for the line that pg_dumpall writes last."""
        read_sql(path, settings)
        return "read to the last line"

    def restore(self, job: Job, archive: Archive, target: str, undo: contextlib.ExitStack) -> Callable[[], str]:
        """Plan to make the roles that are missing; one that is there is never altered, its differences are named."""
        script = bytearray()
        read_sql(archive.path, job.settings, script.extend)
        stored = role_statements(script.decode("utf-8", "replace"))
        with explained(job.server.connection):
            present = role_statements(run(self.command(job), env=job.server.env))
        missing = [role for role in stored if role not in present]
        for role, text in [(role, text) for role in stored for text in stored[role]]:
            if role in present and text not in present[role]:
                shown = re.sub(r"PASSWORD '[^']*'", "PASSWORD '***'", text)
                log.warning(f"role {role} is there and stays as it is; the backup would: {shown}")
        statements = [text for role in missing for text in stored[role]]
        statements.sort(key=lambda text: text.startswith("GRANT"))  # memberships when every role exists
        def make() -> str:
            if not missing:
                return "no role was missing"
            ask(job.server, "BEGIN;\n" + "\n".join(statements) + "\nCOMMIT")
            hint = "" if archive.facts.get("passwords") else "; they have no password yet: ALTER ROLE ... PASSWORD"
            return f"made the roles {', '.join(missing)}{hint}"

        return make


def add_file(tar: tarfile.TarFile, name: str, path: Path, flags: int) -> bool:
    """Store one regular file; tell whether it kept still. Raise OSError if it cannot be opened or read.

    A small file that changes while it is read is read again, up to three times. Any other is stored as long as its
    header promised: what is missing then is zeros, and the caller names the file.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags), "rb") as stream:
        def state() -> tuple[int, int]:
            facts = os.fstat(stream.fileno())
            return facts.st_size, facts.st_mtime_ns
        def padded(count: int) -> bytes:
            nonlocal still
            chunk = source.read(count)
            still = still and len(chunk) == count
            return chunk.ljust(count, b"\0")

        for _ in range(3):
            before, member = state(), tar.gettarinfo(arcname=name, fileobj=stream)
            if member is None or not member.isreg():
                raise OSError(errno.EINVAL, "not a regular file")
            member.mtime = int(member.mtime)
            small = member.size <= SMALL_FILE
            stream.seek(0)
            source = io.BytesIO(stream.read(member.size)) if small else stream
            still = state() == before
            if still:
                break
        try:
            tar.addfile(member, types.SimpleNamespace(read=padded))
        except OSError as error:  # the header is written: the archive cannot be saved
            raise BackupError(f"reading {path} failed half way: {error.strerror}") from None
        return still and (small or state() == before)


def tree(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (name relative to root, complaint or '') for a tree, a directory before its content, following no link."""
    failures: list[OSError] = []
    yield ".", ""
    for place, directories, files in os.walk(root, onerror=failures.append):
        below = os.path.relpath(place, root)
        if below.count("/") + 2 > MAX_DEPTH:
            yield below, f"holds more than {MAX_DEPTH} levels"
            directories.clear()
            continue
        directories.sort()
        yield from ((os.path.normpath(f"{below}/{name}"), "") for name in sorted([*directories, *files]))
    for error in failures:
        yield os.path.relpath(error.filename, root), f"cannot be read: {error.strerror}"


def link_inside(name: str, target: str) -> bool:
    """Tell whether a symbolic link points to a place inside its own tree."""
    reached = os.path.normpath(os.path.join(os.path.dirname(name), target))
    return not os.path.isabs(target) and reached != ".." and not reached.startswith("../")


# What is named, and exit 3, but no reason to distrust the rest.
NO_LOSS = ("vanished", "a socket, pipe or device", "a symbolic link out of the tree")


def add_member(tar: tarfile.TarFile, root: Path, name: str, facts: dict[str, Any], follow: bool) -> None:
    """Store one name of a tree and note in the facts what came of it."""
    path = root / name
    try:
        status = path.stat() if follow else path.lstat()
        if stat.S_ISDIR(status.st_mode):
            member = tar.gettarinfo(path, name)
            member.mtime = int(member.mtime)
            tar.addfile(member)
        elif stat.S_ISLNK(status.st_mode):
            target = os.readlink(path)
            if not link_inside(name, target):
                raise OSError(errno.EXDEV, NO_LOSS[2])
            facts["symlinks"][name] = target
        elif stat.S_ISREG(status.st_mode):
            if not add_file(tar, name, path, 0 if follow else os.O_NOFOLLOW):
                facts["changed"].append(name)
            facts["file_count"] += 1
        else:
            raise OSError(errno.EINVAL, NO_LOSS[1])
    except OSError as error:
        vanished = isinstance(error, FileNotFoundError)
        facts["skipped"][name] = NO_LOSS[0] if vanished else error.strerror or str(error)
    tar.members.clear()
    tar.inodes.clear()


def write_tar(
    job: Job, kind: str, root: Path, names: Iterable[tuple[str, str]], write: Callable[[bytes], object]
) -> dict[str, Any]:
    """Write a deterministic .tar.gz of (name, complaint) pairs (no wall clock in it) and give its facts.

    What is not stored as it was goes to the report. Where that is more than 1 % of the files, or any configuration
    file, the archive is marked partial: it is kept, but counts as good nowhere.
    """
    facts: dict[str, Any] = {"source_dir": str(root), "file_count": 0, "symlinks": {}, "changed": [], "skipped": {}}
    with (
        sealing(job.settings, write) as put,
        gzip.GzipFile("", "wb", 1, types.SimpleNamespace(write=put, flush=lambda: None), mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, dereference=True, encoding="utf-8",
                     errors="surrogateescape") as tar,
    ):  # fmt: skip
        for name, complaint in names:
            if complaint:
                facts["skipped"][name] = complaint
            else:
                add_member(tar, root, name, facts, follow=kind == "files")
        facts["raw_bytes"] = tar.offset
    skipped = [f"{name} ({reason})" for name, reason in facts["skipped"].items()]
    for listed, text in ((skipped, "not stored"), (facts["changed"], "changed while it was read")):
        if listed:
            job.report.problem(f"{kind}: {text}: {names_shown(listed)}")
    lost = sum(kind == "files" or reason not in NO_LOSS for reason in facts["skipped"].values())
    if lost > (0 if kind == "files" else facts["file_count"] / 100):
        facts["partial"] = f"partial: {lost} files could not be stored"
        advice = "let this user read them and run the backup again"
        job.report.problem(f"{kind}: {lost} files could not be stored: {advice}", FAILED)
    return facts


def is_mount_point(path: Path) -> bool:
    """Tell a mount point, a bind mount too (which os.path.ismount takes for an ordinary directory)."""
    with contextlib.suppress(OSError):
        mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
        points = [re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split()[4]) for line in mounts]
        return str(path) in points
    return os.path.ismount(path)


def note_swap(job: Job, new: Path, live: Path, before: Path, undo: contextlib.ExitStack) -> None:
    """Write down a directory swap before it begins, so that the next run can finish it or clear it away if we die."""
    note = (job.settings.backup_dir if job.lock else job.work) / ".swap.json"
    with published(note) as stream:
        stream.write(json.dumps({"version": 1, "new": str(new), "live": str(live), "before": str(before)}).encode())
    undo.callback(finish_swap, note)


class Directory:
    """A directory tree: the QR codes."""

    kind, suffix = "qr_codes", ".tar.gz"

    def dump(self, job: Job, write: Callable[[bytes], object]) -> dict[str, Any]:
        """Store the tree, names sorted."""
        root = job.settings.qr_codes_path
        if not root.is_dir():
            raise BackupError(f"QR_CODES_DIR {root} is not there: correct it, or set QR_CODES_DIR= to back up none")
        return write_tar(job, self.kind, root, tree(root), write)

    def inspect(self, path: Path, settings: Settings) -> str:
        """Read the gzip stream to its very end and every header."""
        return f"{check_tar(path)[0]} files read to the end"

    def restore(self, job: Job, archive: Archive, target: str, undo: contextlib.ExitStack) -> Callable[[], str]:
        """Unpack beside the live directory; the swap is two renames that the next run can finish."""
        live = Path(target).resolve()
        if is_mount_point(live):
            raise BackupError(f"{live} is a mount point and cannot be swapped: "
                              "restore with --directory into another place and copy from there")  # fmt: skip
        live.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = live.with_name(f".{live.name}.restoring-{job.id}")
        before = live.with_name(f"{live.name}.before-{job.id}")
        note_swap(job, new, live, before, undo)
        new.mkdir(mode=0o700)
        files = unpack_tar(archive.path, new, live)
        for name, link in (archive.facts.get("symlinks") or {}).items():
            if link_inside(name, link) and link_inside("x", name):
                os.symlink(link, new / name)
        def swap() -> str:
            replaced = status_of(live)
            swap_directory(new, live, before)
            return f"{files} files" + (f"; what was there before is kept as {before}" if replaced else "")

        return swap


def replace_file(new: Path, live: Path, restore_id: str) -> str:
    """Put a restored file in the place of a live one, which is kept (0600), or is identical. Say what was done."""
    before = live.with_name(f"{live.name}.before-{restore_id}")
    old = live.read_bytes() if live.exists() else None
    if old == new.read_bytes():
        return "unchanged"
    if old is not None:
        with published(before) as stream:
            stream.write(old)
            adopt(stream.fileno(), live)
    os.rename(new, live)
    sync_directory(live.parent)
    return "new" if old is None else f"replaced (before: {before.name})"


class ConfigFiles(Directory):
    """The configuration files, named one by one, relative to APP_DIR. Of one that is a link the content is stored."""

    kind = "files"

    def dump(self, job: Job, write: Callable[[bytes], object]) -> dict[str, Any]:
        """Store the listed files and the directories above them."""
        root, listed, last = job.settings.app_dir, sorted(set(job.settings.config_files)), job.previous.get(self.kind)
        present = [name for name in listed if status_of(root / name)]
        if not present:
            raise BackupError(f"none of CONFIG_FILES is in APP_DIR {root}: correct APP_DIR, "
                              "or set CONFIG_FILES= to back up none")  # fmt: skip
        for name in [name for name in listed if name not in present]:
            if last and name in last.facts.get("names", []):
                job.report.problem(f"files: {printable(name)} was in the last backup and is gone")
            else:
                log.warning("files: %s is not there (CONFIG_FILES lists what should be)", printable(name))
        parents = {str(parent) for name in present for parent in Path(name).parents} - {"."}
        members = ((name, "") for name in sorted({*parents, *present}))
        return write_tar(job, self.kind, root, members, write) | {"names": present}

    def restore(self, job: Job, archive: Archive, target: str, undo: contextlib.ExitStack) -> Callable[[], str]:
        """Unpack beside the live files; the swap replaces one file at a time. APP_DIR itself is never renamed."""
        root = Path(target).resolve()
        root.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = root / f".restoring-{job.id}"
        undo.callback(shutil.rmtree, new, ignore_errors=True)
        new.mkdir(mode=0o700)
        unpack_tar(archive.path, new, root)
        def swap() -> str:
            done = []
            for name, _ in list(tree(new)):
                restored, live = new / name, root / name
                if not restored.is_dir():
                    done.append(f"{name} {replace_file(restored, live, job.id)}")
                elif not live.is_dir():
                    live.mkdir()
                    shutil.copystat(restored, live)
                    if os.geteuid() == 0:
                        os.chown(live, restored.stat().st_uid, restored.stat().st_gid)
            return ", ".join(done)

        return swap


SOURCES: Mapping[str, Source] = {source.kind: source for source in (Database(), Roles(), Directory(), ConfigFiles())}


class Kept(NamedTuple):
    """What a restore has put aside."""

    id: str  # of that restore
    kind: str
    live: str  # the name it had: a database's, or a path
    place: str  # where it is now
    comment: str | None = None  # the one that a database had
    differs: bool = False  # a database that was restored, differed from its backup and never went live

    def __str__(self) -> str:
        """Name it for a person."""
        what = "restored, but it differs" if self.differs else f"before the restore {self.id}"
        return f"{self.kind} {printable(self.place)} ({what})"


def kept_databases(server: Server) -> list[Kept]:
    """List the databases of a server that carry our mark."""
    marked = ask(server, f"""SELECT datname, substr(shobj_description(oid, 'pg_database'), {len(KEPT_MARK) + 1})
      FROM pg_database WHERE starts_with(shobj_description(oid, 'pg_database'), {quote_text(KEPT_MARK)})""")
    found = []
    for name, text in marked:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a mark that somebody edited is no longer ours
            mark = json.loads(text)
            parse_id(mark["id"])
            differs = bool(mark.get("differs"))
            suffix = f"_{'differs' if differs else 'before'}_{mark['id'].lower()}"
            if name == cut_name(mark["name"], suffix):  # one renamed by hand, to be live again, is no longer ours
                found.append(Kept(mark["id"], "database", mark["name"], name, mark["comment"], differs))
    return found


def kept_paths(settings: Settings) -> list[Kept]:
    """List the QR code directories and configuration files that restores have put aside."""
    places = [("files", settings.app_dir / name) for name in settings.config_files]
    if "qr_codes" in settings.kinds:
        places.insert(0, ("qr_codes", settings.qr_codes_path.resolve()))
    found = []
    for kind, live in places:
        beginning = f"{live.name}.before-"
        for name in file_names(live.parent):
            with contextlib.suppress(ValueError):
                if name.startswith(beginning) and parse_id(name.removeprefix(beginning)):
                    found.append(Kept(name.removeprefix(beginning), kind, str(live), str(live.with_name(name))))
    return found


def put_back(job: Job, kept: Kept) -> str:
    """Swap what is live and what a restore put aside; doing it again swaps back."""
    place, live = Path(kept.place), Path(kept.live)
    if kept.kind == "database":
        comment = quote_text(kept.comment) if kept.comment else "NULL"
        statement = f"COMMENT ON DATABASE {quote_name(kept.place)} IS {comment}"
        return swap_database(job, kept.place, kept.live, database_row(job.server, kept.live), statement)
    if kept.kind == "files":
        facts = status_of(live)
        if facts:
            os.chmod(place, stat.S_IMODE(facts.st_mode))
        return replace_file(place, live, job.id)
    before = live.with_name(f"{live.name}.before-{job.id}")
    with contextlib.ExitStack() as undo:
        note_swap(job, place, live, before, undo)
        swap_directory(place, live, before)
    return f"what was there is kept as {before}"


def find_table(server: Server, dbname: str, name: str) -> tuple[str, str, list[list[str]]]:
    """Find a table that a person names; give its full and bare name and its columns. Raise UsageError without one."""
    found = ask(server, f"""SELECT c.oid, format('%I.%I', nspname, relname), format('%I', relname)
      FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace, (VALUES ({quote_text(name)})) given (name)
      WHERE relkind IN ('r', 'p', 'm') AND (
        name = format('%I.%I', nspname, relname) OR nspname || '.' || relname IN (name, lower(name))
        OR pg_table_is_visible(c.oid) AND (name = format('%I', relname) OR relname IN (name, lower(name))))
      ORDER BY relname <> name LIMIT 1""", dbname)
    if not found:
        raise UsageError(f"the backup has no table {printable(name)} (say schema.table where it is in no usual schema)")
    [(oid, full, bare)] = found
    return full, bare, ask(server, f"""SET search_path = '';
      SELECT format('%I', attname), format_type(atttypid, atttypmod)
      FROM pg_attribute WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped ORDER BY attnum""", dbname)


def copy_table(job: Job, scratch: str, target: str, schema: str, name: str, undo: contextlib.ExitStack) -> str:
    """Copy a table of a scratch database into `schema` of the live one: columns and rows, no defaults, keys, triggers.

    Raise BackupError where the live database lacks a column's type. `undo` drops what was made.
    """
    source, bare, columns = find_table(job.server, scratch, name)
    made = f"{schema}.{bare}"
    names, types_ = [column for column, _ in columns], [type_ for _, type_ in columns]
    lacking = ask(job.server, f"""SET search_path = ''; SELECT DISTINCT t
      FROM unnest(ARRAY[{", ".join(map(quote_text, types_))}]::text[]) t WHERE to_regtype(t) IS NULL""", target)
    if lacking:
        shown = names_shown(type_ for (type_,) in lacking)
        raise BackupError(f"the live database lacks a type that {source} uses: {shown}. "
                          "Create it, or restore the whole database under another name with --database")  # fmt: skip
    if ask(job.server, f"SELECT 1 WHERE to_regclass({quote_text(made)}) IS NOT NULL", target):
        raise UsageError(f"{made} is there already: use it, or DROP TABLE {made}")
    columns_sql = ", ".join(map(" ".join, columns))
    ask(job.server, f"CREATE SCHEMA IF NOT EXISTS {schema};\nCREATE TABLE {made} ({columns_sql})", target)
    def drop() -> None:
        with contextlib.suppress(BackupError):  # the schema stays where another table is in it
            ask(job.server, f"DROP TABLE {made};\nDROP SCHEMA {schema}", target)

    undo.callback(drop)
    psql = [job.server.psql, "-X", "-q", "-w", "-v", "ON_ERROR_STOP=1"]
    read = [*psql, "-d", scratch, "-c", f"COPY (SELECT {', '.join(names)} FROM {source}) TO STDOUT"]
    env = {**job.server.env, "PGDATABASE": target, "PGCLIENTENCODING": "UTF8"}
    pipeline([read, [*psql, "-c", f"COPY {made} FROM STDIN"]], env=env)
    return made


# ==== 9. Retention ====================================================================================================


class Verdict(NamedTuple):
    """What is to become of a set, and why."""

    set: BackupSet
    keep: bool
    reason: str


class Plan(NamedTuple):
    """A cleanup's plan: a verdict per set, newest first, and why nothing at all may be deleted ('' if it may)."""

    verdicts: list[Verdict]
    refusal: str


STALE = datetime.timedelta(days=2)


def refusal_to_delete(sets: Sequence[BackupSet], policy: Settings, now: datetime.datetime) -> str:
    """Say why nothing may be deleted now: the clock is wrong, backups have stopped or shrunk. '' where all is well."""
    future, newest = [s.id for s in sets if s.moment > now], newest_complete(sets, policy)
    if future:
        shown = names_shown(future)
        return f"sets are dated in the future ({shown}): correct the clock, or remove them by hand if it was wrong then"
    if newest is None:
        return f"there is no complete set (one that holds {', '.join(policy.kinds)})" if sets else ""
    if now - newest.moment > STALE:
        age = human_age((now - newest.moment).total_seconds())
        return f"backups have stopped: the newest complete set is {age} old ({newest.id})"
    shrunk = [f"{archive.path.name} shrank ({archive.shrunk}): is that right? Then: status --accept {archive.id}"
              for backup_set in sets for archive in backup_set.archives.values() if archive.shrunk]  # fmt: skip
    return shrunk[0] if shrunk else ""


def plan_cleanup(sets: Sequence[BackupSet], policy: Settings, now: datetime.datetime) -> Plan:
    """Decide for each set (newest first) whether it stays, with the reason. Pure: reads no clock and no disk.

    Judged for each kind by itself among the sets that hold a good archive of it, so that no set displaces one that
    holds what it lacks: every set of `daily_retention` days, the newest of each ISO week within `weekly_retention`, of
    each month within `monthly_retention`, and the newest `min_keep`. A set stays if it stays for any kind.
    """
    def within(these: Iterable[BackupSet], days: int) -> list[BackupSet]:
        return [s for s in these if now - s.moment <= datetime.timedelta(days=days)]

    least, complete = max(1, policy.min_keep), [s for s in sets if not s.lacks(policy.kinds)]
    forged = [s for s in sets if any(archive.forged for archive in s.archives.values())]
    verified = [s for s in complete if all(s.archives[kind].verified for kind in policy.kinds)]
    rules = [  # where several keep a set, the first is told
        ([s for s in sets if s.unreadable], "has a sidecar that cannot be read: never deleted, look at it"),
        (forged, "not signed, or wrongly: never deleted, look at it"),
        (within(sets, policy.daily_retention), f"within {policy.daily_retention} days"),
        ([s for s in complete if s.drill][:1], "the newest that a drill restored"),
        (verified[:1], "the newest that was verified"),
        (complete[:least], f"one of the newest {least} complete sets"),
    ]
    periods = (("week", policy.weekly_retention, "%G-W%V"), ("month", policy.monthly_retention, "%Y-%m"))
    for kind in KINDS:
        holding = [s for s in sets if kind in s.good]
        rules.append((holding[:least], f"one of the newest {least} with {kind}"))
        for period, days, pattern in periods:
            newest = {s.moment.strftime(pattern): s for s in reversed(holding)}
            rules += [(within([s], days), f"newest of {period} {name}") for name, s in newest.items()]
    reasons = {s.id: reason for these, reason in reversed(rules) for s in these}
    refusal, verdicts = refusal_to_delete(sets, policy, now), []
    for backup_set in sets:
        reason = reasons.get(backup_set.id, "kept, because nothing is deleted now" if refusal else "")
        verdicts.append(Verdict(backup_set, bool(reason), reason or "old, and newer ones stand for its week and month"))
    return Plan(verdicts, refusal)


# ==== 10. Off-site, alerts, metrics, status page ======================================================================

# -- Off-site

RCLONE_FLAGS = ("--ask-password=false", "--contimeout=15s", "--timeout=2m", "--low-level-retries=3", "--log-level=ERROR", "--log-format=")
REMOTE_HASHES = ("sha256", "sha1", "md5")  # a backend has some of them, or none


class Remote(NamedTuple):
    """One place off-site, and what every call of rclone to it needs."""

    name: str  # remote:path, as rclone calls it
    program: str
    env: Mapping[str, str]
    deadline: float  # of time.monotonic(): a remote that hangs must not hang us


def open_remote(settings: Settings, name: str, seconds: float = 0) -> Remote:
    """Get ready to talk to a remote, for `seconds` at most (else OFFSITE_SECONDS). Raise BackupError where rclone is missing."""
    program = settings.which("rclone")
    if not program:
        raise BackupError("rclone is not installed: apt install rclone (for SFTP 1.63 or newer)")
    return Remote(name, program, settings.env, time.monotonic() + (seconds or settings.offsite_seconds or float("inf")))


def rclone(remote: Remote, *argv: str | Path, sink: Callable[[bytes], object] | None = None) -> str:
    """Run rclone and give its stdout, or hand it to `sink`. Raise BackupError with its last words.

    It never inherits the lock. A directory that is not there yet (exit code 3) is listed as an empty one.
    """
    output: list[bytes] = []
    left = max(0.1, remote.deadline - time.monotonic())
    try:
        pipeline([[remote.program, *argv, *RCLONE_FLAGS]], env=remote.env, sink=sink or output.append, limit=left)
    except ProgramError as error:
        if error.returncode == 3 and argv[0] == "lsjson":
            return "[]"
        raise BackupError(str(error)) from error
    return b"".join(output).decode("utf-8", "replace")


def remote_path(archive: Archive) -> str:
    """Give an archive's path below a remote: the same as below BACKUP_DIR."""
    return f"{DIRECTORIES[archive.kind]}/{archive.path.name}"


def remote_files(remote: Remote, *options: str) -> dict[str, dict[str, Any]]:
    """List the archives and sidecars that stand on a remote: path -> what rclone says of it. Anything else is not ours."""
    text = rclone(remote, "lsjson", "-R", "--files-only", "--no-modtime", "--no-mimetype", *options, remote.name)
    try:
        found = json.loads(text)
    except ValueError:
        raise BackupError(f"what rclone lists cannot be read: {text[:80]!r}") from None
    places = {*DIRECTORIES.values()}
    parts = {entry["Path"]: entry["Path"].partition("/") for entry in found}
    return {entry["Path"]: entry for entry in found if parts[entry["Path"]][0] in places
            and ARCHIVE_NAME.fullmatch(parts[entry["Path"]][2].removesuffix(".json"))}  # fmt: skip


def offsite_notes(backup_dir: Path, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what the journal says of a remote, with its time, oldest first."""
    for entry in read_journal(backup_dir):
        remotes = entry.get("offsite")
        if isinstance(remotes, dict) and isinstance(remotes.get(name), dict):
            yield entry["time"], remotes[name]


def pushed_before(backup_dir: Path, name: str) -> dict[str, str]:
    """Give every archive that was ever pushed to a remote: path -> the time, '' where our own cleanup deleted it there."""
    known: dict[str, str] = {}
    for when, note in offsite_notes(backup_dir, name):
        known |= {str(path): when for path in note.get("pushed", ())} | {str(path): "" for path in note.get("deleted", ())}
    return known


def vanished(settings: Settings, name: str, there: Mapping[str, Any]) -> list[str]:
    """List what was pushed within OFFSITE_KEEP_DAYS and is gone from a remote, or has lost its sidecar there."""
    begin = (utc_now() - datetime.timedelta(days=settings.offsite_keep_days)).isoformat(timespec="seconds")
    known = pushed_before(settings.backup_dir, name)
    return sorted(path for path, when in known.items() if when > begin and not {path, f"{path}.json"} <= there.keys())


def download(remote: Remote, path: str, size: int, sha256: str, take: Callable[[bytes], object] = len) -> None:
    """Read a file of a remote to its end and hand on its bytes. Raise DamageError where they are not what they should be."""
    digest, read = hashlib.sha256(), 0
    def take_on(chunk: bytes) -> None:
        nonlocal read
        read += len(chunk)
        if read > size:
            raise DamageError(f"{path} is longer there than {size} bytes")
        digest.update(chunk)
        take(chunk)

    rclone(remote, "cat", f"{remote.name}/{path}", sink=take_on)
    if digest.hexdigest() != sha256:
        raise DamageError(f"{path} is damaged there: {read} bytes with SHA-256 {digest.hexdigest()[:16]}... instead of {size} with {sha256[:16]}...")


def upload(remote: Remote, backup_dir: Path, wanted: Mapping[str, str], there: Mapping[str, Any]) -> None:
    """Copy files (path -> SHA-256, '' where none is known) to a remote and compare each there.

    By a hash of the backend's own; where it has none, by reading the file back. What stands there is never replaced: our
    own rest of an interrupted push has the right length, for rclone renames at the end. Raise DamageError.
    """
    local: dict[str, dict[str, str]] = {}
    for path, sha256 in wanted.items():
        digests = {name: hashlib.new(name, usedforsecurity=False) for name in REMOTE_HASHES}
        with (backup_dir / path).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            while chunk := stream.read(MIB):
                for digest in digests.values():
                    digest.update(chunk)
        local[path] = {name: digest.hexdigest() for name, digest in digests.items()}
        if sha256 and local[path]["sha256"] != sha256:
            raise DamageError(f"{path} is damaged here, so it was not pushed: backup_system.py verify")
        if path in there and there[path]["Size"] != size:
            raise DamageError(f"{path} stands there with {there[path]['Size']} bytes instead of {size}: remove it there by hand, with rights "
                              "that this server should not have")  # fmt: skip
    includes = [f"--include=/{path}" for path in wanted]
    rclone(remote, "copy", "--immutable", "--size-only", "--retries=3", "--retries-sleep=10s", *includes, backup_dir, remote.name)
    found = remote_files(remote, *(f"--hash-type={name}" for name in REMOTE_HASHES), *includes)
    for path, digests in local.items():
        hashes = found.get(path, {}).get("Hashes") or {}
        common = [name for name in REMOTE_HASHES if hashes.get(name)]
        if not common:
            download(remote, path, (backup_dir / path).stat().st_size, digests["sha256"])
        elif any(hashes[name] != digests[name] for name in common):
            raise DamageError(f"{path} is not the same there, by its {common[0]}: remove it there by hand, with rights that this server should not have")


def push_to(remote: Remote, settings: Settings, report: Report, note: dict[str, Any], again: bool) -> None:
    """Bring every good set that a remote lacks there, newest first: archives first, and the sidecars when they are good.

    What was pushed once is not pushed again: a lifecycle rule, or our cleanup, may have removed it there. No lock is
    held: a set that a cleanup removes meanwhile is passed over.
    """
    backup_dir, there = settings.backup_dir, remote_files(remote)
    note["gone"] = [] if again else vanished(settings, remote.name, there)
    if note["gone"]:
        report.problem(f"{remote.name}: pushed before, and gone there: {names_shown(note['gone'])}. Who deleted it? To push it anew: push --again")
    known = pushed_before(backup_dir, remote.name)
    for backup_set in catalog(settings).sets:
        archives = {remote_path(a): a for kind, a in backup_set.archives.items() if kind in backup_set.good}
        complete = {path for path in archives if {path, f"{path}.json"} <= there.keys()}
        missing = {path: a.sha256 for path, a in archives.items() if path not in complete and (again or path not in known)}
        try:
            if missing:
                upload(remote, backup_dir, missing, there)
                upload(remote, backup_dir, {f"{path}.json": "" for path in missing}, there)
                log.info("pushed %s to %s: %s", backup_set.id, remote.name, human_size(sum(archives[path].size_bytes for path in missing)))
        except (BackupError, OSError) as error:
            if not all(os.path.exists(f"{a.file}.json") for a in archives.values()):
                log.info("%s was removed by a cleanup while it was pushed", backup_set.id)
                continue
            if not isinstance(error, DamageError):
                raise
            report.problem(f"{remote.name}: {error}", DAMAGE)
            continue
        note["pushed"] += [path for path in archives if path in missing or path in complete and path not in known]
        if not backup_set.lacks(settings.kinds) and {*complete, *missing} == archives.keys():
            note["newest"] = max(note["newest"], backup_set.id)


def push_all(settings: Settings, report: Report, again: bool = False) -> dict[str, dict[str, Any]]:
    """Push to every remote, each for itself; failures go to the report. Give what the journal is to remember."""
    notes: dict[str, dict[str, Any]] = {}
    for name in settings.offsite_remotes:
        note = notes[name] = {"pushed": [], "newest": "", "failed": False}
        try:
            push_to(open_remote(settings, name), settings, report, note, again)
        except (BackupError, OSError) as error:
            note["failed"] = True
            report.problem(f"the off-site copy to {name} failed; the backups here are good: {error}")
    return notes


@contextlib.contextmanager
def remote_catalog(settings: Settings, remote: Remote) -> Iterator[tuple[Catalog, Mapping[str, Any]]]:
    """Give what stands on a remote as a catalog, with the listing: its sidecars, and for archives empty stand-ins as long.

    The journal beside them holds what was accepted, and what `verify --offsite` has said of this remote.
    """
    there = remote_files(remote)
    with workspace(None) as work:
        for path, entry in there.items():
            if not path.endswith(".json"):
                (work / path).parent.mkdir(exist_ok=True)
                (work / path).touch()
                os.truncate(work / path, max(0, entry["Size"]))
        if there:
            includes = [f"--include=/{place}/*.json" for place in sorted({*DIRECTORIES.values()})]
            rclone(remote, "copy", "--max-size=8Mi", *includes, remote.name, work)
        for entry in read_journal(settings.backup_dir):
            if entry.get("command") == "accept":
                write_journal(work, entry)
        for when, note in offsite_notes(settings.backup_dir, remote.name):
            if note.get("archives"):
                write_journal(work, {"time": when, "command": "verify", "archives": note["archives"]})
        yield catalog(dataclasses.replace(settings, backup_dir=work)), there


def offsite_state(settings: Settings, sets: Sequence[BackupSet], max_age_hours: int) -> list[dict[str, Any]]:
    """Say how the off-site copies stand, and what is wrong with them, by the journal alone: no remote is asked."""
    local, states = newest_complete(sets, settings), []
    for name in settings.offsite_remotes:
        newest, gone, complaint = "", [], ""
        for _, note in offsite_notes(settings.backup_dir, name):
            with contextlib.suppress(ValueError, TypeError):  # anybody may have edited the journal
                newest = max(newest, parse_id(note["newest"]).astimezone(datetime.timezone.utc).strftime(ID_FORMAT)) if note.get("newest") else newest
            gone = note["gone"] if isinstance(note.get("gone"), list) else gone
        moment = parse_id(newest) if newest else None
        behind = max(0, round((local.moment - moment).total_seconds())) if moment and local else None
        if gone:
            complaint = f"{len(gone)} archives are gone from {name}: see backup_system.py verify --offsite"
        elif not moment:
            complaint = f"no complete set was ever pushed to {name}: backup_system.py push"
        elif behind and behind > max_age_hours * 3600:
            complaint = f"{name} is {human_age(behind)} behind the backups here: backup_system.py push"
        age = round((utc_now() - moment).total_seconds()) if moment else None
        states.append({"remote": name, "newest": newest or None, "age_seconds": age, "behind_seconds": behind, "complaint": complaint})
    return states

# -- Alerts

TRY_SECONDS = 10  # that one try of one channel may take, all told
ALERT_LINES = 20  # of problems
OUTCOMES = {DONE: "OK", PARTLY: "PARTLY DONE", DAMAGE: "found DAMAGE"}  # in a title; all else FAILED
NEXT_COMMANDS = {FAILED: "check", USAGE: "check", DAMAGE: "list"}  # by exit code; all else status


class Alert(NamedTuple):
    """What is said of a run, ready to be sent: no secret is in it."""

    title: str
    text: str
    signal: str  # what the dead-man ping adds to its address: start, log or an exit status; '' is success
    run: str


def post(url: str, data: bytes, content_type: str) -> bytes:
    """POST to a URL and give the beginning of the answer. A redirect is an error: nobody agreed to where it leads."""
    import urllib.request  # only here: with all that it brings, it would make every start slower

    request = urllib.request.Request(url, data, {"Content-Type": content_type, "User-Agent": f"arrivapp-backup/{VERSION}"})
    opener = urllib.request.OpenerDirector()  # the usual one also follows redirects, and reads files and FTP
    for handler in ("ProxyHandler", "HTTPHandler", "HTTPSHandler", "HTTPErrorProcessor", "HTTPDefaultErrorHandler"):
        opener.add_handler(getattr(urllib.request, handler)())
    with opener.open(request, timeout=TRY_SECONDS) as answer:
        return answer.read(100)


def feed(command: Sequence[str], data: bytes, settings: Settings) -> None:
    """Run a program with a short text on its stdin: by a pipe, which holds it all, since a full disk must not stop an alert."""
    if not settings.which(command[0]):
        raise BackupError(f"the program {command[0]} is not there: install it, or name another way")
    reader, writer = os.pipe()
    with open(reader, "rb") as stdin:
        with open(writer, "wb") as stream:
            stream.write(data)
        run(command, env=settings.env, limit=TRY_SECONDS, stdin=stdin)


def mail(settings: Settings, alert: Alert) -> Any:
    """Write an alert as an e-mail that no auto-responder answers (RFC 3834)."""
    import email.message
    import email.utils

    sender = next(iter(settings.alert_email_from), f"arrivapp-backup@{os.uname().nodename}")
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = f"ArrivApp backup <{sender}>", ", ".join(settings.alert_email_to), alert.title
    message["Date"], message["Message-ID"] = email.utils.localtime(), email.utils.make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{alert.text}\n", cte="quoted-printable")
    return message


class Channel(Protocol):
    """A way to reach people. Stateless; whatever `send` raises is turned into one line by who called it."""

    name: str
    setting: str  # without it the channel is off
    seconds: int  # after which nobody waits for it any more

    def send(self, settings: Settings, alert: Alert) -> None:
        """Send it, or raise."""


class Webhook:
    """Slack's incoming webhook, which Mattermost and others understand too."""

    name, setting, seconds = "webhook", "ALERT_WEBHOOK_URL", TRY_SECONDS

    def send(self, settings: Settings, alert: Alert) -> None:
        """Post the text; & < > are escaped, so that no file name can call the whole channel (<!channel>)."""
        text = f"{alert.title}\n{alert.text}".replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        post(settings.alert_webhook_url, json.dumps({"text": text}).encode(), "application/json")


class Smtp:
    """E-mail by a mail server."""

    name, setting, seconds = "e-mail", "ALERT_EMAIL_TO", TRY_SECONDS

    def send(self, settings: Settings, alert: Alert) -> None:
        """Hand the mail to the server. A password never goes over a network in the clear."""
        import smtplib
        import ssl

        host, how, trusted = settings.smtp_host, settings.smtp_tls, ssl.create_default_context()
        if how == "no" and settings.smtp_user and host not in ("localhost", "127.0.0.1", "::1"):
            raise BackupError("SMTP_TLS=no would send the password in the clear: use starttls or tls")
        connect = functools.partial(smtplib.SMTP_SSL, context=trusted) if how == "tls" else smtplib.SMTP
        with connect(host, settings.smtp_port or {"starttls": 587, "tls": 465, "no": 25}[how], timeout=TRY_SECONDS) as server:
            if how == "starttls":
                server.starttls(context=trusted)
            if settings.smtp_user:
                server.login(settings.smtp_user, settings.smtp_password)
            refused = server.send_message(mail(settings, alert))
        if refused:
            raise BackupError(f"the server took it, but not for {names_shown(refused)}")


class Sendmail:
    """E-mail by this machine's own mail program, where no SMTP_HOST is set."""

    name, setting, seconds = "e-mail", "ALERT_EMAIL_TO", TRY_SECONDS + GRACE_SECONDS

    def send(self, settings: Settings, alert: Alert) -> None:
        """Hand the mail to sendmail, which takes the recipients from its head."""
        sender = [word for address in settings.alert_email_from for word in ("-f", address)]
        feed(["sendmail", "-i", "-t", *sender], mail(settings, alert).as_bytes(), settings)


class Ping:
    """The dead-man ping in the form of healthchecks.io: who listens there alerts when it stays away.

    https://healthchecks.io/docs/http_api/: the address itself is success, /start, /log, /<exit status> (0-255).
    """

    name, setting, seconds = "ping", "HEALTHCHECK_URL", TRY_SECONDS

    def send(self, settings: Settings, alert: Alert) -> None:
        """Ping; an unknown check is answered with 200 too, but not with a bare OK."""
        parts = urllib.parse.urlsplit(settings.healthcheck_url)
        path, query = "/".join(filter(None, [parts.path.rstrip("/"), alert.signal])), "&".join(filter(None, [parts.query, f"rid={alert.run}"]))
        answer = post(parts._replace(path=path, query=query).geturl(), f"{alert.title}\n{alert.text}".encode(), "text/plain; charset=utf-8")
        if answer.startswith(b"OK ("):
            raise BackupError(f"the answer is {answer.decode('utf-8', 'replace')}")


class Command:
    """A program of the user's own, with the report on its stdin; the title is the first line."""

    name, setting, seconds = "command", "NOTIFY_COMMAND", TRY_SECONDS + GRACE_SECONDS

    def send(self, settings: Settings, alert: Alert) -> None:
        """Run it."""
        feed(settings.notify_command, f"{alert.title}\n\n{alert.text}\n".encode(), settings)


SMTP, SENDMAIL, PING = Smtp(), Sendmail(), Ping()
CHANNELS: tuple[Channel, ...] = (Webhook(), SMTP, SENDMAIL, PING, Command())


def configured_channels(settings: Settings) -> list[Channel]:
    """List the channels that settings are there for."""
    spare = SENDMAIL if settings.smtp_host else SMTP
    return [channel for channel in CHANNELS if getattr(settings, channel.setting.lower()) and channel is not spare]


def why_not_sent(error: Any) -> tuple[str, bool]:
    """Say why a try failed, never with the address in it, and whether a second one may help."""
    import http.client
    import urllib.error

    if isinstance(error, urllib.error.HTTPError):
        moved = ", a redirect, which is not followed: set the address where it leads" if 300 <= error.code < 400 else ""
        return f"HTTP {error.code} {http.client.responses.get(error.code, '')}{moved}", error.code >= 500 or error.code == 429
    if hasattr(error, "smtp_code"):
        return f"the server says {error.smtp_code} {error.smtp_error.decode('utf-8', 'replace')}", 400 <= error.smtp_code < 500
    error = error.reason if isinstance(error, urllib.error.URLError) else error
    if hasattr(error, "verify_message"):
        return f"its certificate is not trusted: {error.verify_message}", False
    if isinstance(error, TimeoutError):
        return f"no answer within {TRY_SECONDS} s", False
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__, True
    return str(error) if isinstance(error, BackupError) else type(error).__name__, False


def try_channels(channels: Sequence[Channel], settings: Settings, alert: Alert) -> dict[Channel, tuple[str, bool]]:
    """Send by all channels at once and give those that failed. Each has a thread, left behind when its time is up:

    a socket's own limit is for one read (a server that trickles bytes resets it), and finding a name has none at all.
    """
    ended: dict[Channel, Any] = {}
    def attempt(channel: Channel) -> None:
        try:
            ended[channel] = channel.send(settings, alert)
        except Exception as error:
            ended[channel] = why_not_sent(error)

    started, threads = time.monotonic(), {channel: threading.Thread(target=attempt, args=(channel,), daemon=True) for channel in channels}
    for thread in threads.values():
        thread.start()
    for channel, thread in threads.items():
        thread.join(max(0.0, started + channel.seconds - time.monotonic()))
    late = f"no answer within {TRY_SECONDS} s", False
    return {channel: failure for channel in channels if (failure := ended.get(channel, late))}


def deliver(channels: Sequence[Channel], settings: Settings, alert: Alert, tries: int = 2) -> dict[Channel, str]:
    """Send an alert, trying again where that may help, and give the channels that failed with the reason."""
    failed = try_channels(channels, settings, alert)
    again = [channel for channel, (_, may_help) in failed.items() if may_help and tries > 1]
    failed = {channel: why for channel, why in failed.items() if channel not in again} | try_channels(again, settings, alert)
    return {channel: starred(printable(f"{why} ({channel.setting})"), settings.secret_values) for channel, (why, _) in failed.items()}


def has_recovered(settings: Settings, report: Report) -> bool:
    """Tell by the journal whether this is the first good run of its command after a failed one.

    A backup of fewer kinds says nothing of the whole, and a verify of one set nothing where damage is known in another.
    """
    runs = []
    for entry in read_journal(settings.backup_dir):
        made = entry["kinds"] if isinstance(entry.get("kinds"), list) else settings.kinds
        if entry.get("command") == report.command and all(kind in made for kind in settings.kinds):
            runs.append(entry)
    if report.exit_code or len(runs) < 2 or runs[-1].get("run") != report.run or not runs[-2].get("exit_code"):
        return False
    return report.command != "verify" or not any(a.problem for s in catalog(settings).sets for a in s.archives.values())


def alert_of(settings: Settings, report: Report, recovered: bool) -> Alert:
    """Write what is said of a run: what is wrong, since when the last good backup stands, what to type next."""
    code, good = report.exit_code, "there is none"
    outcome = f"{OUTCOMES.get(code, 'FAILED')} on {{}} (exit {code})" if code else "RECOVERED on {}" if recovered else "OK on {}"
    lines = [line[:300] for _, problem in report.problems for line in problem.splitlines() if line.strip()]
    lines[ALERT_LINES:] = [f"... and {len(lines) - ALERT_LINES} lines more: see the log"] * (len(lines) > ALERT_LINES)
    lines += [f"{archive.kind}: {archive.path.name}, {human_size(archive.size_bytes)}" for archive in report.made]
    try:
        newest = newest_complete(catalog(settings).sets, settings)
        good = f"{newest.id}, {local_time(newest.moment)}, {human_age((utc_now() - newest.moment).total_seconds())} old" if newest else good
    except (BackupError, OSError) as error:
        good = f"cannot be told: {error}"
    options = ["--env-file", str(settings.env_file)] if settings.env_file not in (None, HERE / ".env.backup") else []
    command = shlex.join(["python3", str(Path(__file__).resolve()), *options, NEXT_COMMANDS.get(code, "status")])
    lines += [f"Last good backup: {good}", f"Log: {settings.log_dir / 'backup.log'}", f"Next: {command}"]
    text = "\n".join(starred(printable(line), settings.secret_values) for line in lines)
    return Alert(f"ArrivApp {report.command} {outcome.format(printable(os.uname().nodename))}", text, str(code or ""), report.run)


def seen_at_terminal(code: int) -> bool:
    """Tell what who sits at a terminal did and sees, a slip in typing or `| head`, from what somebody must be told of."""
    return code in (USAGE, 128 + signal.SIGPIPE) and sys.stderr.isatty()


def announce(settings: Settings, report: Report) -> None:
    """Ping that a backup begins, where somebody waits for that. A failure is a warning: the ping at the end decides."""
    if report.whole and settings.healthcheck_url:
        for why in deliver([PING], settings, Alert("backup begins", "", "start", report.run), tries=1).values():
            log.warning("no ping at the start: %s", why)


def alert_people(settings: Settings, report: Report) -> None:
    """Tell how a run ended: the dead-man ping of every whole backup, the others what is wrong and that it is right again.

    A channel that fails is one problem more, and never more than that.
    """
    channels, code = configured_channels(settings), report.exit_code
    recovered = bool(channels) and has_recovered(settings, report)
    told = recovered or settings.alert_on == "always" or (code and not seen_at_terminal(code))
    channels = [channel for channel in channels if (report.whole if channel is PING else told)]
    if not channels:
        return
    alert = alert_of(settings, report, recovered)
    failed = deliver(channels, settings, alert, tries=1 if code > 128 else 2)  # systemd kills 30 s after it asked us to stop
    sent = ", ".join(channel.name for channel in channels if channel not in failed)
    if sent:  # a fixed line, that systemd's notifier looks for; nothing that `-q` shows where all is well
        log.log(logging.WARNING if code else logging.INFO, "%s by %s", "alert sent" if code else "success reported", sent)
    for channel, why in failed.items():
        report.problem(f"no alert by {channel.name}: {why}. Try: backup_system.py check --send-test-alert")


# -- Metrics


def write_for_all(path: Path, text: str) -> None:
    """Replace a file by one rename, for everybody to read (0644): no reader ever sees half of it, and the old one stays if this fails.

    The temporary name is a new one each time, for no lock is held here, and none that node_exporter reads.
    """
    descriptor, partial = tempfile.mkstemp(".partial", f".{path.name}.", path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            os.fchmod(descriptor, 0o644)
            adopt(descriptor, path.parent)
            stream.write(text)
        os.rename(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def epoch(text: str | None) -> int:
    """Turn a UTC time of the journal into seconds since 1970; 0 for never, so that its age is beyond every limit."""
    return int(datetime.datetime.fromisoformat(text).timestamp()) if text else 0


def metrics(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Yield from the status what Prometheus is to know: name, meaning, name of the label, and value by label ('' without one)."""
    newest, runs, drill = facts.get("newest", {}), facts.get("runs", {}), facts.get("last_drill") or {}
    yield "build_info", "The version of the tool, as a label.", "version", {VERSION: 1}
    yield "healthy", "1 if status found nothing wrong when this was written.", "", {"": facts["healthy"]}
    yield "last_run_timestamp_seconds", "When the last run of a command ended.", "command", {name: epoch(run["time"]) for name, run in runs.items()}
    yield "last_run_exit_code", "0 done, 3 partly done, anything else: failed.", "command", {name: run["exit_code"] for name, run in runs.items()}
    for name, key, meaning in (
        ("archive_size_bytes", "size_bytes", "Size of the newest good archive."),
        ("duration_seconds", "duration_seconds", "How long it took to make the newest good archive."),
        ("archive_shrunk", "shrunk", "1 while an archive is far smaller than the one before and nobody has accepted that."),
    ):
        yield name, meaning, "kind", {kind: entry.get(key) for kind, entry in newest.items()}
    begun = {kind: epoch(entry.get("time")) for kind, entry in newest.items()}
    yield "last_success_timestamp_seconds", "When the newest good archive was begun. 0: there is none.", "kind", begun
    yield "database_rows", "Rows in the newest database archive, all tables together.", "", {"": newest.get("database", {}).get("rows")}
    yield "qr_codes_files", "Files in the newest qr_codes archive.", "", {"": newest.get("qr_codes", {}).get("files")}
    if "sets" in facts:
        yield "sets", "Backup sets in BACKUP_DIR.", "", {"": facts["sets"]}
        yield "tier_sets", "Backup sets that the retention keeps, by rule.", "tier", facts["tiers"]
        yield "damaged_archives", "Archives that are damaged, lost or incomplete, and sidecars that cannot be read.", "", {"": facts["damaged"]}
        yield "free_bytes", "Free space of BACKUP_DIR.", "", {"": facts["free_bytes"]}
        yield "last_verify_timestamp_seconds", "When a verify last found an archive good. 0: never.", "", {"": epoch(facts["last_verify"])}
        yield "last_drill_timestamp_seconds", "When a drill last restored a set. 0: never.", "", {"": epoch(drill.get("time"))}
        yield "recovery_target_seconds", "How long a recovery may take.", "", {"": facts["recovery_target_seconds"]}
        offsite = {state["remote"]: int(parse_id(state["newest"]).timestamp()) if state["newest"] else 0 for state in facts["offsite"]}
        yield "offsite_set_timestamp_seconds", "When the newest set that a remote holds was begun. 0: it holds none.", "remote", offsite
    if drill:
        yield "drill_identical", "1 if the last drill found what was backed up.", "", {"": drill["identical"] is True}
        yield "drill_step_duration_seconds", "How long the last drill took, by step.", "step", drill["steps"] if isinstance(drill["steps"], dict) else {}
        yield "recovery_seconds", "How long a recovery takes, as the last drill measured it.", "", {"": drill["recovery_seconds"]}


def metrics_text(facts: Mapping[str, Any]) -> str:
    """Write the status in Prometheus' text format; a value that is no number (the journal may hold anything) is left out."""
    lines = []
    for name, meaning, label, values in metrics(facts):
        samples = {key: value for key, value in values.items() if isinstance(value, (int, float)) and 0 <= value < 1 << 63}
        if samples:
            lines += [f"# HELP arrivapp_backup_{name} {meaning}", f"# TYPE arrivapp_backup_{name} gauge"]
        for key, value in samples.items():
            text = printable(key).replace("\\", r"\\").replace('"', r"\"")
            lines.append(f"arrivapp_backup_{name}" + (f'{{{label}="{text}"}}' if label else "") + f" {value + 0}")  # True + 0 is 1
    return "\n".join(lines) + "\n"


# -- Status page

PAGE_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="robots" content="noindex"><title>%s: ArrivApp backups on %s</title><link rel="icon" href="data:,"><style>%s</style></head><body>
"""
PAGE_STYLE = """
:root { color-scheme: light dark; --page: #f3f5f7; --card: #ffffff; --ink: #17202b; --soft: #55606e; --line: #dfe4ea; --on: #ffffff;
  --good: #177a4c; --mild: #cbe7d7; --warn: #8f5d00; --bad: #b3261e; --plot: #2c62b6; --good-page: #e4f3ea; --bad-page: #fcebe9 }
@media screen and (prefers-color-scheme: dark) { :root { --page: #0f1419; --card: #182028; --ink: #e7ebf0; --soft: #a2adba;
  --line: #2d3742; --on: #0c1210; --good: #55c78c; --mild: #1f4a35; --warn: #dfae4a; --bad: #ff8a7e; --plot: #7fb0f5;
  --good-page: #142b20; --bad-page: #371b1a } }
* { box-sizing: border-box; margin: 0 }
body { background: var(--page); color: var(--ink); padding: 2rem 1rem 3rem; overflow-wrap: anywhere; -webkit-text-size-adjust: 100%;
  font: 1rem/1.55 Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
body > * { max-width: 66rem; margin: 0 auto 1.25rem } main { display: grid; gap: 1.25rem; grid-template-columns: minmax(0, 1fr) }
header, section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1.5rem }
.good-page { background: var(--good-page); border-color: var(--good) } .bad-page { background: var(--bad-page); border-color: var(--bad) }
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: .01em } h2 { font-size: 1.15rem; line-height: 1.3; margin-bottom: 1rem }
h2 + .soft { margin: -.7rem 0 1rem }
h1 small { display: block; font-size: .95rem; font-weight: 500; color: var(--soft); letter-spacing: 0; margin-bottom: .3rem }
header > svg { float: left; width: 3.6rem; height: 3.6rem; margin-right: 1.1rem } header > :nth-child(3) { clear: both; padding-top: 1rem }
p + *, ul + p, table + p { margin-top: .7rem } * + h2 { margin-top: 1.6rem } ul { padding-left: 1.2rem } li + li { margin-top: .25rem }
.soft, dt, th, figcaption, footer { color: var(--soft) } .soft, footer { font-size: .9rem } footer { padding: 0 .5rem }
.good { color: var(--good) } .warn { color: var(--warn) } .bad { color: var(--bad) } .good, .warn, .bad, b { font-weight: 600 }
code { font: .88em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(18rem, 100%), 1fr)); gap: 1.25rem; padding: 0 }
.cards div { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1.1rem 1.5rem }
.cards dt { font-size: .9rem } .cards dd b { display: block; font-size: 1.2rem; line-height: 1.35; margin: .15rem 0 }
.cards dd { font-size: .9rem; color: var(--soft) } .cards dd b:not([class]) { color: var(--ink) }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1.25rem }
section .pair { column-gap: 2.5rem }
.months { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.4rem, 1fr)); gap: 1.25rem 1rem; margin-bottom: 1.25rem }
.months figcaption { font-size: .9rem; font-weight: 600; padding: 0 0 .35rem 12.5% } .months svg { display: block; width: 100% }
.months text { font-size: 8.5px; fill: var(--soft); text-anchor: end }
.legend { list-style: none; padding: 0; display: grid; gap: .35rem 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)) } .legend li { margin: 0; font-size: .9rem }
.legend svg { width: 16px; height: 16px; vertical-align: -3px; margin-right: .45rem } .fill { fill: currentColor }
.ring { fill: none; stroke: currentColor; stroke-width: 1.5 }
.sign { fill: none; stroke: var(--on); stroke-width: 2; stroke-linecap: round } .sign.own { stroke: currentColor }
.mild { color: var(--mild) } .blank { color: var(--line) } .hide { position: absolute; width: 0; height: 0 }
.plot figcaption { display: flex; justify-content: space-between; gap: 1rem; margin-bottom: 1.6rem }
.plot figcaption b { color: var(--ink) }
.area { position: relative; height: 11rem; margin: 0 .8rem 2.9rem 4.2rem; font-size: .8rem; line-height: 1.2; color: var(--soft);
  white-space: nowrap } .area svg { position: absolute; width: 100%; height: 100%; overflow: visible } .area span { position: absolute }
.area path { fill: none; vector-effect: non-scaling-stroke; stroke: var(--plot); stroke-width: 1.5; stroke-linecap: round }
.area .grid { stroke: var(--line); stroke-width: 1 } .area .dots { stroke-width: 6 } .area .many { stroke-width: 3 }
.area .far { stroke: var(--warn) } .y { right: 100%; padding-right: .6rem; transform: translateY(50%) }
.x { top: 100%; padding-top: .5rem; transform: translateX(-50%); text-align: center } .far-out { bottom: 100%; padding-bottom: .3rem }
table { border-collapse: collapse; width: 100%; font-size: .95rem }
th, td { text-align: left; vertical-align: top; padding: .45rem .9rem .45rem 0; font-weight: 400 } tbody th { white-space: nowrap }
thead th { font-size: .85rem } tbody tr { border-top: 1px solid var(--line) } tbody th { color: var(--ink) }
td:last-child, th:last-child { padding-right: 0 } td:not(:last-child) { white-space: nowrap }
.steps dt { font-size: .9rem; margin-top: .9rem }
.steps code { display: block; background: var(--page); border-radius: 8px; padding: .55rem .8rem; margin-top: .2rem }
@media (max-width: 30rem) { body { padding: 1rem .75rem 2rem } header, section, .cards div { padding: 1.1rem }
  .months { grid-template-columns: 1fr 1fr } .cards { gap: .75rem } }
@media print { :root { color-scheme: light; --page: #ffffff } html { font-size: 10.5px } body { padding: 0; print-color-adjust: exact }
  header, section, .cards div { break-inside: avoid; padding: 1rem } .cards { grid-template-columns: 1fr 1fr 1fr; gap: .6rem }
  body > * { margin-bottom: .8rem } .months { grid-template-columns: repeat(6, 1fr) } .steps code { border: 1px solid var(--line) }
  .pair { grid-template-columns: 1fr 1fr; gap: .8rem } }
"""
SQUARE = '<rect class="fill" width="16" height="16" rx="3"/>'
RING = '<rect class="ring" x=".75" y=".75" width="14.5" height="14.5" rx="2.5"/>'
DAYS = {  # the states of a day, best first: its name, colour, drawing, and words
    "drilled": ("good", f'{SQUARE}<path style="fill:var(--on)" d="M8 2.8 13.2 8 8 13.2 2.8 8z"/>', "complete, and a drill restored it"),
    "verified": ("good", f'{SQUARE}<path class="sign" d="m4.2 8.4 2.6 2.6 5-5.6"/>', "complete, and verified"),
    "complete": ("good", SQUARE, "complete"),
    "partly": ("warn", f'{SQUARE}<path class="sign" d="M4.5 8h7"/>', "partly: something is missing"),
    "bad": ("bad", f'{SQUARE}<path class="sign" d="m5 5 6 6m0-6-6 6"/>', "damaged"),
    "removed": ("mild", f'{SQUARE}<circle class="good fill" cx="8" cy="8" r="1.6"/>', "made, removed since"),
    "failed": ("bad", f'{RING}<path class="sign own" d="M8 4.2v4.4M8 11.8v0"/>', "the backup failed"),
    "nothing": ("soft", RING, "nothing was made"),
    "outside": ("blank", SQUARE, "before the first backup, or not yet"),
}  # fmt: skip
TARGETS = (("Database", "database", 15 * 60, "15-30 min"), ("QR codes", "qr_codes", 5 * 60, "5-10 min"),
           ("Configuration", "files", 5 * 60, "5 min"))  # fmt: skip; the runbook's figures; a drill must keep the lower one
SIZE_STEPS = [figure * 10**power for power in range(21) for figure in (1, 2, 5)]
TIME_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, *(60 * n for n in (1, 2, 5, 10, 20, 30)), *(3600 * step for step in SIZE_STEPS)]
LONG_GAP = datetime.timedelta(days=40)  # retention leaves one set a month; a line over more than that would hide a hole


def esc(text: object) -> str:
    """Make text from outside (names, messages, the journal) safe to stand in HTML, and cut what has no end."""
    return html.escape(printable(str(text)[:1000]))


def figure_of(value: object) -> float | None:
    """Read a figure of the journal, which anybody may have edited; None where it is none."""
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 1e15 else None


def day_text(moment: datetime.date) -> str:
    """Write a day for people of every country: Tue 3 Mar 2026."""
    return f"{moment:%a} {moment.day} {moment:%b} {moment:%Y}"


def moment_text(moment: datetime.datetime) -> str:
    """Write a moment in local time with its zone."""
    local = moment.astimezone()
    return f"{day_text(local)}, {local:%H:%M %Z}"


def seconds_text(seconds: float) -> str:
    """Write a duration: 0.4 s, 12 s, 3 min."""
    return f"{seconds:.1f}".removesuffix(".0") + " s" if seconds < 10 else human_age(seconds)


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; the cells are HTML, the first of each row is its heading."""
    body = "".join(f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows)
    return f'<table><thead><tr>{"".join(f"<th scope=col>{cell}</th>" for cell in head)}</tr></thead><tbody>{body}</tbody></table>'


def section(title: str, *content: str) -> str:
    """Write a part of the page under its heading."""
    return f"<section><h2>{title}</h2>{''.join(content)}</section>"


def day_states(sets: Sequence[BackupSet], journal: Iterable[Mapping[str, Any]], kinds: Sequence[str]) -> dict[datetime.date, str]:
    """Say for each local day how its best set stands; where there is none, what the journal says of its runs."""
    found: list[tuple[datetime.datetime, str]] = []
    for backup_set in sets:
        state = "verified" if all(a.verified for a in backup_set.archives.values()) else "complete"
        if backup_set.lacks(kinds):
            state = "bad" if backup_set.unreadable or any(a.problem for a in backup_set.archives.values()) else "partly"
        found.append((backup_set.moment, "drilled" if backup_set.drill and state in ("verified", "complete") else state))
    for entry in journal:
        if entry.get("command") == "backup":
            moment = datetime.datetime.fromisoformat(entry["time"])
            with contextlib.suppress(ValueError):  # the run's start, where it got that far: its end may be tomorrow
                moment = datetime.datetime.strptime(str(entry.get("id")), ID_FORMAT).replace(tzinfo=datetime.timezone.utc)
            found.append((moment, "removed" if entry.get("made") else "failed"))
    order, states = list(DAYS), {}
    for moment, state in found:
        if 1970 < moment.year < 9999:
            day = moment.astimezone().date()
            states[day] = min(states.get(day, state), state, key=order.index)
    return states


def calendar_month(first: datetime.date, states: Mapping[datetime.date, str]) -> str:
    """Draw a month, a row per week, with words for each day and, for who cannot see it, for all of it."""
    drawn, told, row = [], {}, 0
    for day in (first + datetime.timedelta(days=n) for n in range(31)):
        if day.month == first.month:
            state = states.get(day, "outside")
            told.setdefault(state, []).append(str(day.day))
            if day.day == 1 or day.weekday() == 0:
                row += day.day > 1
                drawn.append(f'<text x="14" y="{18 * row + 11}">{day.day}</text>')
            drawn.append(f'<use href="#{state}" x="{18 * day.weekday() + 18}" y="{18 * row}"><title>{day_text(day)}: {DAYS[state][2]}</title></use>')
    words = "; ".join(f"{DAYS[state][2]}: {', '.join(told[state])}" for state in DAYS if state in told)
    return (f'<figure><figcaption>{first:%B %Y}</figcaption><svg viewBox="0 0 144 106" role="img" aria-label="{first:%B %Y}. {words}">'
            f'{"".join(drawn)}</svg></figure>')  # fmt: skip


def calendar(states: Mapping[datetime.date, str], today: datetime.date) -> str:
    """Draw the last 12 months, with a legend that counts."""
    months = [datetime.date((today.year * 12 + today.month - 1 - ago) // 12, (today.month - 1 - ago) % 12 + 1, 1) for ago in reversed(range(12))]
    begin = min(states, default=today)
    days = [months[0] + datetime.timedelta(days=n) for n in range((today - months[0]).days + 1)]
    shown = {day: states.get(day, "nothing" if begin < day < today else "outside") for day in days}
    counts = {state: sum(found == state for found in shown.values()) for state in DAYS}
    legend = "".join(f'<li><svg viewBox="0 0 16 16" aria-hidden="true"><use href="#{state}"/></svg>{words}'
                     + (f": <b>{counts[state]}</b> {'day' if counts[state] == 1 else 'days'}" if state != "outside" else "") + "</li>"
                     for state, (_, _, words) in DAYS.items())  # fmt: skip
    return section("The last 12 months", '<p class="soft">A square is a day, a row is a week from Monday. The best set of a day counts.</p>',
                   f'<div class="months">{"".join(calendar_month(month, shown) for month in months)}</div><ul class="legend">{legend}</ul>')  # fmt: skip


def chart(title: str, points: Sequence[tuple[datetime.datetime, float]], until: datetime.datetime, steps: Sequence[float],
          text: Callable[[float], str]) -> str:  # fmt: skip
    """Plot figures over time, oldest first. One far above the others stands on the upper edge and is named there.

    The drawing stretches with the page and the words do not: they are HTML, placed in per cent.
    """
    first, last = min(points[0][0], until - datetime.timedelta(days=7)), max(points[-1][0], until)
    values = sorted(value for _, value in points)
    usual = values[-1 - len(values) // 10]  # nine in ten are not above it
    top = values[-1] if len(values) < 10 or values[-1] <= 4 * usual else 1.5 * usual
    step = next(step for step in steps if top <= 4 * step)
    ticks = [step * n for n in range(max(1, -int(-top // step)) + 1)]
    def across(moment: datetime.datetime) -> int:
        return round((moment - first) / (last - first) * 1000)
    def down(value: float) -> int:
        return 200 - round(200 * min(value, ticks[-1]) / ticks[-1])

    line, dots, far, before = [], {}, {}, None
    for moment, value in points:
        place = f"{across(moment)} {down(value)}"
        line.append(f"{'L' if before and moment - before <= LONG_GAP else 'M'}{place}")
        (far if value > ticks[-1] else dots)[f"M{place}h0"] = None  # dots on the same place are one
        before = moment
    grid = "".join(f"M0 {down(tick)}H1000" for tick in ticks)
    labels = [f'<span class="y" style="bottom:{100 * n / (len(ticks) - 1):.0f}%">{text(tick)}</span>' for n, tick in enumerate(ticks)]
    for n in range(5):
        day = first + (last - first) * n / 4
        labels.append(f'<span class="x" style="left:{25 * n}%">{day.day} {day:%b}<br>{day:%Y}</span>')
    when, most = max(points, key=lambda point: point[1])
    if far:
        side = "left" if across(when) < 500 else "right"
        place = across(when) / 10 if side == "left" else 100 - across(when) / 10
        labels.append(f'<span class="far-out warn" style="{side}:{place:.1f}%">&#9650; {text(most)}, {day_text(when)}</span>')
    words = f"{title}: {len(points)} sets from {day_text(points[0][0])} to {day_text(points[-1][0])}, newest {text(points[-1][1])}, most {text(most)}"
    return (f'<figure class="plot"><figcaption>{title}<span>newest <b>{text(points[-1][1])}</b></span></figcaption><div class="area">'
            f'<svg viewBox="0 0 1000 200" preserveAspectRatio="none" role="img"><title>{words}</title><path class="grid" d="{grid}"/>'
            f'<path d="{"".join(line)}"/><path class="dots{" many" * (len(points) > 120)}" d="{"".join(dots)}"/>'
            f'<path class="dots far" d="{"".join(far)}"/></svg>{"".join(labels)}</div></figure>')  # fmt: skip


def charts(sets: Sequence[BackupSet], kinds: Sequence[str], until: datetime.datetime) -> str:
    """Plot how large the complete sets are and how long they took."""
    complete = [(s.moment.astimezone(), s.archives.values()) for s in reversed(sets) if not s.lacks(kinds)]
    if not complete:
        return section("Size and duration", "<p>There is no complete set yet, so there is nothing to plot.</p>")
    sizes = [(moment, float(sum(a.size_bytes for a in archives))) for moment, archives in complete]
    times = [(moment, sum(a.duration_seconds for a in archives)) for moment, archives in complete]
    return section("Size and duration", '<p class="soft">A dot is a complete set that is still there.</p><div class="pair">',
                   chart("Size of a set", sizes, until.astimezone(), SIZE_STEPS, lambda size: human_size(size).replace(".0 ", " ")),
                   chart("Time it took", times, until.astimezone(), TIME_STEPS, seconds_text), "</div>")  # fmt: skip


def recovery(drill: Mapping[str, Any], kinds: Sequence[str]) -> str:
    """Hold what the last drill measured against the times that the runbook promises."""
    steps, rows = drill.get("steps") if isinstance(drill.get("steps"), dict) else {}, []
    for title, kind, target, promise in TARGETS:
        seconds, measured = figure_of(steps.get(kind)), "not measured"
        if seconds is not None:
            word = '<span class="good">&#10003; in time</span>' if seconds <= target else '<span class="bad">&#10007; TOO SLOW</span>'
            measured = f"{seconds_text(seconds)}, {word}"
        rows += [(title, promise, measured)] * (kind in kinds)
    rows.append(("The whole server", "2-4 hours", "no drill can measure it"))
    return section("Recovery", html_table(("What is lost", "Back within", "The last drill took"), rows),
                   '<p class="soft">The time for people comes on top of what the drill took.</p>')  # fmt: skip


def cleanup_section(plan: Plan, facts: Mapping[str, Any], keep_days: int) -> str:
    """Say what cleanup would delete now, and what restores have put aside."""
    rows = [(verdict.set.id, esc(verdict.reason)) for verdict in plan.verdicts if not verdict.keep]
    if plan.refusal:
        told = f'<p><b class="warn">It deletes nothing:</b> {esc(plan.refusal)}</p>'
    else:
        told = html_table(("Set", "Why"), rows[:10]) if rows else "<p>Nothing: every set that is there stays.</p>"
        told += f"<p>and {len(rows) - 10} more: <code>backup_system.py cleanup --dry-run</code></p>" if len(rows) > 10 else ""
    kept = "".join(f"<li>{esc(Kept(**item))}</li>" for item in facts.get("kept", ()))
    complaint = f'<p class="warn">{esc(facts["kept_complaint"])}</p>' if facts.get("kept_complaint") else ""
    aside = f"<ul>{kept}</ul><p class=soft>Cleanup removes it {keep_days} days after the restore.</p>" if kept else "" if complaint else "<p>Nothing.</p>"
    return section("What cleanup deletes next", told, "<h2>Kept aside by restores</h2>", complaint, aside)


def restore_section(newest: BackupSet | None, settings: Settings) -> str:
    """Give the commands that bring the newest complete set back, to be copied as they are."""
    own = settings.env_file and settings.env_file != HERE / ".env.backup"
    script = shlex.join(["python3", str(HERE / "backup_system.py"), *(["--env-file", str(settings.env_file)] if own else [])])
    steps = [("What is there", "list")]
    if newest:
        only = [(f"{title} only", f"restore --backup {newest.id} --only {kind}") for title, kind, *_ in TARGETS if kind in settings.kinds]
        steps += [("Everything", f"restore --backup {newest.id}"), *only, ("Back to what was there before the restore", "restore --undo")]
    told = "".join(f"<dt>{title}</dt><dd><code>{esc(script)} {words}</code></dd>" for title, words in steps)
    return section("To bring it back", "<p>On the server, in a terminal: a restore asks before it replaces anything, and keeps what was there. "
                   f"For the worst day there is the runbook, step by step: <code>{esc(HERE / 'DISASTER_RECOVERY.md')}</code></p>",
                   f'<dl class="steps">{told}</dl>')  # fmt: skip


def cards(facts: Mapping[str, Any], newest: BackupSet | None, drill: Mapping[str, Any]) -> str:
    """Show the figures that matter most, each with a word of explanation."""
    verify, free, per_day = facts.get("last_verify"), facts.get("free_bytes"), facts.get("bytes_per_day")
    never, rows = '<span class="warn">never</span>', [("Newest complete set", '<span class="bad">none</span>', "backup_system.py backup")]
    if newest:
        rows = [("Newest complete set", moment_text(newest.moment), f"{newest.id}, {human_size(sum(a.size_bytes for a in newest.archives.values()))}")]
    if drill:
        word = '<span class="good">&#10003; identical</span>' if drill.get("identical") is True else '<span class="bad">&#10007; NOT IDENTICAL</span>'
        rows.append(("Last drill", word, f"{moment_text(datetime.datetime.fromisoformat(drill['time']))}: {esc(drill.get('proof'))}"))
    else:
        rows.append(("Last drill", never, "it restores and compares: backup_system.py drill"))
    rows += [("Last verify", moment_text(datetime.datetime.fromisoformat(verify)) if verify else never, "each byte, as it is stored"),
             ("Sets", str(facts.get("sets", "unknown")), ", ".join(f"{count} {tier}" for tier, count in facts.get("tiers", {}).items())),
             ("Free space", human_size(free) if free is not None else "unknown",
              f"full in {facts['days_until_full']} days at {human_size(per_day)} a day" if per_day else "")]  # fmt: skip
    for state in facts.get("offsite", ()):
        text = f"the newest there is {human_age(state['age_seconds'])} old, {human_age(state['behind_seconds'] or 0)} behind" if state["newest"] else ""
        rows.append((f"Off-site: {esc(state['remote'])}", esc(state["newest"] or "nothing yet"), text))
    if not facts.get("offsite"):
        rows.append(("Off-site copies", '<span class="warn">not set up</span>', "if this machine is lost, so are the backups"))
    return '<dl class="cards">' + "".join(f"<div><dt>{title}</dt><dd><b>{value}</b>{text}</dd></div>" for title, value, text in rows) + "</dl>"


def status_page(facts: Mapping[str, Any], sets: Sequence[BackupSet], plan: Plan, journal: Sequence[Mapping[str, Any]], settings: Settings,
                now: datetime.datetime, max_age_hours: int) -> str:  # fmt: skip
    """Write how the backups stand as one page that needs nothing else, no script and no other file. Pure."""
    sets = [s for s in sets if 1970 < s.moment.year < 9999]  # the others have no local time
    newest, reasons, host = newest_complete(sets, settings), facts["reasons"], esc(facts.get("host", ""))
    drill = next((entry for entry in reversed(journal) if entry.get("command") == "drill" and "recovery_seconds" in entry), {})
    word, kind, sign = ("HEALTHY", "good", "verified") if facts["healthy"] else ("NOT HEALTHY", "bad", "bad")
    told = "".join(f"<li>{esc(reason)}</li>" for reason in [*reasons[:20], *([f"and {len(reasons) - 20} more"] if len(reasons) > 20 else [])])
    told = f"<ul>{told}</ul>" if told else "<p>The backups are there, they are new enough, and nothing is known to be wrong with them.</p>"
    until = (newest.moment if newest and facts["healthy"] else now) + datetime.timedelta(hours=max_age_hours)
    symbols = "".join(f'<g id="{state}" class="{colour}">{drawing}</g>' for state, (colour, drawing, _) in DAYS.items())
    return f"""{PAGE_HEAD % (word, host, PAGE_STYLE)}<svg class="hide" aria-hidden="true"><defs>{symbols}</defs></svg>
<header class="{kind}-page"><svg viewBox="0 0 16 16" aria-hidden="true"><use href="#{sign}"/></svg>
<h1><small>ArrivApp backups on {host}</small><span class="{kind}">{word}</span></h1>{told}
<p>Written <b>{moment_text(now)}</b>. Believe it until <b>{moment_text(until)}</b>: an older page proves nothing, for whatever stopped
the backups has stopped this page too. Then ask the server: <code>backup_system.py status</code></p></header>
<main>{cards(facts, newest, drill)}
{calendar(day_states(sets, journal, settings.kinds), now.astimezone().date())}
{charts(sets, settings.kinds, now)}
<div class="pair">{recovery(drill, settings.kinds)}{cleanup_section(plan, facts, settings.keep_before_days)}</div>
{restore_section(newest, settings)}</main>
<footer>ArrivApp backup {VERSION}, {esc(settings.backup_dir)}</footer></body></html>
"""


# ==== 11. Commands and command line ===================================================================================


def say(text: str, end: str = "\n") -> None:
    """Print data to stdout."""
    print(text, end=end, flush=True)


def record(settings: Settings, report: Report, **facts: Any) -> None:
    """Write the run into the journal; a journal that cannot be written fails nothing that was made."""
    entry = {"command": report.command, "run": report.run, "id": report.id or None, "exit_code": report.exit_code,
             "seconds": round(time.monotonic() - report.started, 1),
             "problems": [starred(message, settings.secret_values) for _, message in report.problems], **facts}  # fmt: skip
    try:
        write_journal(settings.backup_dir, entry)
    except OSError as error:
        report.problem(f"the journal could not be written: {error.strerror}")


def progress_text(name: str, size: int, seconds: float, last: Archive | None) -> str:
    """Write the progress line of a terminal: bytes, rate and time, against the last archive of the kind."""
    share = f", {100 * size / last.size_bytes:.0f} % of the last one" if last and last.size_bytes else ""
    return f"\r\x1b[K{name}: {human_size(size)}, {human_size(size / seconds)}/s, {seconds:.0f} s{share}"


def shrink_of(last: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say how an archive shrank against the one before: a table gone, rows, tables or files fewer than half. '' if not."""
    def own(facts: Mapping[str, Any]) -> dict[str, int]:  # without what restore --table made, to be dropped again
        return {name: entry["rows"] for name, entry in facts.get("tables", {}).items() if not re.match(r"restored_\d{8}t\d{6}z\.", name)}
    def counts(facts: Mapping[str, Any]) -> dict[str, int | None]:
        tables, copies = facts.get("objects", {}).get("tables"), len(facts.get("tables", {})) - len(own(facts))
        return {"files": facts.get("file_count"), "rows": sum(own(facts).values()) if "tables" in facts else None, "tables": tables and tables - copies}

    before, after = counts(last), counts(now)
    shrunk = [f"{old} {what} before, {after[what]} now ({100 - 100 * after[what] // old} % fewer)"
              for what, old in before.items() if old and after[what] is not None and after[what] * 2 < old]  # fmt: skip
    gone = sorted(own(last).keys() - own(now).keys()) if "tables" in now else []
    return "; ".join(shrunk + [f"tables are gone: {names_shown(gone)}"] * bool(gone))


def store(job: Job, source: Source) -> Archive:
    """Make one archive and, last, its sidecar. Raise BackupError; nothing is left then.

    The space it needs is guessed: the last one's and a fifth; for the first dump a third of its database, as measured.
    """
    suffix = source.suffix + ("" if source.suffix.endswith(".gz") else compressor(job.settings)[1])
    suffix += f".{job.settings.encrypt_to.method}" if job.settings.encrypt_to else ""
    path = job.settings.backup_dir / DIRECTORIES[source.kind] / f"{STEMS[source.kind]}_{job.id}{suffix}"
    started, digest, last = time.monotonic(), hashlib.sha256(), job.previous.get(source.kind)
    needed = int(last.size_bytes * 1.2) if last else job.server.facts["size_bytes"] // 3 if source.kind == "database" else MIB
    require_space(path.parent, needed + MIB, f"the {source.kind} backup")
    terminal, shown = sys.stderr.isatty(), started
    try:
        with published(path) as stream:
            def write(chunk: bytes) -> None:
                nonlocal shown
                digest.update(chunk)
                try:
                    stream.write(chunk)
                except OSError as error:  # not to be taken for a source file that cannot be read
                    raise disk_failure(error, path.parent, needed) from error
                if terminal and time.monotonic() - shown > 0.2:
                    shown = time.monotonic()
                    print(progress_text(source.kind, stream.tell(), shown - started, last), end="", file=sys.stderr, flush=True)

            facts = source.dump(job, write)
            print("\r\x1b[K" if terminal else "", end="", file=sys.stderr)
            shrunk = shrink_of(last.facts, facts) if last else ""
            if shrunk:
                facts["shrunk"] = shrunk
                job.report.problem(f"{source.kind} shrank: {shrunk}. The backup is kept, and every older set, until: status --accept {job.id}")
            size = stream.tell()
            if last and digest.hexdigest() == last.sha256:
                share_bytes(path, last.path, last.sha256)
        sidecar = {
            "version": SIDECAR_VERSION, "id": job.id, "kind": source.kind, "file": path.name, "size_bytes": size,
            "sha256": digest.hexdigest(), "created_at": utc_now().isoformat(timespec="seconds"),
            "duration_seconds": round(time.monotonic() - started, 3), "kinds": list(job.kinds), "host": os.uname().nodename,
            "tool_version": VERSION, "encryption": encryption_facts(job.settings.encrypt_to, path.name), **facts,
        }  # fmt: skip
        data = sidecar_bytes(sidecar, job.settings.signing_key)
        if len(data) > SIDECAR_LIMIT and sidecar.pop("tables", None):
            job.report.problem(f"no fingerprint, so no restore of {path.name} can be proven: for so many tables it is larger than a sidecar may be")
            data = sidecar_bytes(sidecar, job.settings.signing_key)
        if len(data) > SIDECAR_LIMIT:
            raise BackupError(f"the sidecar of {path.name} would be larger than the 8 MiB that are read: too many tables, links or unreadable files")
        with published(path.with_name(f"{path.name}.json")) as stream:
            stream.write(data)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename and path.parent not in Path(os.fsdecode(error.filename)).parents:
            raise BackupError(f"cannot read {error.filename}: {error.strerror}: let this user read it") from error
        if isinstance(error, OSError):
            raise disk_failure(error, path.parent, needed) from error
        raise
    return read_archive(f"{path}.json", job.settings.signing_key)


def backup_kind(job: Job, source: Source) -> None:
    """Make one kind's archive, trying again where a lock or a standby's recovery was in the way; failures go to the report."""
    for tries_left in reversed(range(DUMP_TRIES)):
        try:
            archive = store(job, source)
            job.report.made.append(archive)
            log.info("%s stored: %s, %s in %.1f s", source.kind, archive.path.name, human_size(archive.size_bytes), archive.duration_seconds)
            return
        except BackupError as error:
            if not tries_left or not re.search(PASSING_DUMP_FAILURE, str(error)):
                job.report.problem(f"{source.kind} was not backed up: {error}")
                return
            log.warning("%s; trying again", error)


def tidy_up(job: Job, orphans: Sequence[Path]) -> None:
    """After a good archive, point `latest.dump.*` at it (for people; no code follows it) and remove what has no sidecar.

    An archive without a sidecar was left by a run that died; it goes once a newer one of its kind stands.
    """
    for archive in job.report.made:
        directory = archive.path.parent
        if archive.kind == "database":
            link, partial = directory / f"latest{''.join(archive.path.suffixes)}", directory / ".latest.partial"
            links = {directory / f"latest.dump{packed}{sealed}" for packed in (".zst", ".gz") for sealed in ("", ".age", ".gpg")}
            try:
                for old in links - {link} | {partial}:
                    if os.path.lexists(old):
                        old.unlink()
                partial.symlink_to(archive.path.name)
                adopt(partial, directory)
                partial.rename(link)
            except OSError as error:  # a file system without links
                log.warning("the link %s could not be made: %s", link, error.strerror)
        for orphan in orphans:
            if orphan.name.startswith(STEMS[archive.kind]):
                log.info("removing %s: a run died before its sidecar, so it is no backup", orphan)
                orphan.unlink(missing_ok=True)


def cmd_backup(settings: Settings, args: argparse.Namespace) -> int:
    """Make one backup set."""
    kinds = tuple(kind for kind in KINDS if kind in (args.only or settings.kinds))
    backup_dir, report = settings.backup_dir, args.report
    check_backup_dir(backup_dir)
    try_seal(settings)
    with locked(backup_dir, "backup", settings.lock_wait_seconds) as lock, workspace(settings.work_dir or backup_dir, backup_dir) as work:
        sweep_partials(backup_dir)
        try:
            sweep_restores(settings)
        except BackupError as error:  # no reason to leave the database without a backup
            report.problem(str(error))
        report.id = new_set_id(backup_dir)
        known = catalog(settings)
        job = Job(settings, report, report.id, work, None, (lock,), newest_archives(known.sets), kinds)
        possible = kinds
        if {"database", "roles"} & set(kinds):
            try:
                job = dataclasses.replace(job, server=find_server(settings.connection, settings, work))
            except UsageError:  # a mistake in the settings stops everything, as any other
                raise
            except BackupError as error:
                possible = tuple(kind for kind in kinds if kind not in ("database", "roles"))
                report.problem(f"{' and '.join(k for k in kinds if k not in possible)} not backed up: {error}", PARTLY if possible else FAILED)
        for kind in possible:
            backup_kind(job, SOURCES[kind])
        tidy_up(job, known.orphans)
        if possible and not report.made:
            report.problem("nothing was backed up", FAILED)
        record(settings, report, kinds=list(kinds), made=[archive.path.name for archive in report.made])
    if not args.quiet:
        for a in report.made:
            say(f"{a.kind:<9} {a.path.name:<44} {human_size(a.size_bytes):>10} {a.duration_seconds:>7.1f} s")
        state = {DONE: "complete", PARTLY: "PARTLY DONE"}.get(report.exit_code, "FAILED")
        total = human_size(sum(a.size_bytes for a in report.made))
        say(f"{'total':<9} {'set ' + report.id + ' ' + state:<44} {total:>10} {time.monotonic() - report.started:>7.1f} s")
    log.info("backup %s ended with exit code %d", report.id, report.exit_code)
    return report.exit_code


def list_rows(backup_set: BackupSet, kinds: Sequence[str], now: datetime.datetime) -> Iterator[str]:
    """Yield the table's lines of one set."""
    age = human_age((now - backup_set.moment).total_seconds())
    rows, drill = [], backup_set.drill
    for kind, archive in backup_set.archives.items():
        proof = f"verified {local_time(datetime.datetime.fromisoformat(archive.verified))}" if archive.verified else "stored"
        if drill:
            proof = f"drilled {local_time(datetime.datetime.fromisoformat(drill['time']))} ({drill['seconds']:.0f} s)"
        proof += f", SHRANK: {printable(archive.shrunk)}" if archive.shrunk else ""
        rows += [(kind, human_size(archive.size_bytes), f"BAD: {printable(archive.problem)}" if archive.problem else proof)] * (kind in kinds)
    rows += [(kind, "-", "MISSING") for kind in backup_set.kinds if kind in kinds and kind not in backup_set.archives]
    rows += [("?", "-", f"UNREADABLE {printable(os.path.basename(path))}: {printable(why)}") for path, why in backup_set.unreadable.items()]
    head = f"{backup_set.id}  {local_time(backup_set.moment)}"
    for kind, size, proof in sorted(rows, key=lambda row: KINDS.index(row[0]) if row[0] in KINDS else 9):
        yield f"{head:<34}  {kind:<9} {size:>9}  {age:>8}  {proof}"
        head = age = ""


def set_as_json(backup_set: BackupSet) -> dict[str, Any]:
    """Give a set as `list --json` shows it; the keys are stable."""
    archives = [{"kind": a.kind, "file": a.file, "size_bytes": a.size_bytes, "sha256": a.sha256, "created_at": a.facts["created_at"],
                 "duration_seconds": a.duration_seconds, "problem": a.problem, "shrunk": a.shrunk,
                 "verified_at": a.verified or None}
                for a in backup_set.archives.values()]  # fmt: skip
    return {"id": backup_set.id, "started_at": backup_set.moment.isoformat(), "kinds": list(backup_set.kinds),
            "missing": backup_set.lacks(backup_set.kinds), "complete": not backup_set.lacks(backup_set.kinds) and not backup_set.unreadable,
            "archives": archives, "unreadable": dict(backup_set.unreadable),
            "drilled_at": backup_set.drill.get("time"), "drill_seconds": backup_set.drill.get("seconds")}  # fmt: skip


def remotes_of(settings: Settings) -> tuple[str, ...]:
    """Give the remotes. Raise UsageError where there are none."""
    if not settings.offsite_remotes:
        raise UsageError("there is no off-site copy here: set OFFSITE_REMOTES=remote:path in .env.backup")
    return settings.offsite_remotes


def list_offsite(settings: Settings, args: argparse.Namespace) -> int:
    """Show what stands on each remote; one that cannot be read is named, and the others are shown."""
    shown: dict[str, Any] = {}
    for name in remotes_of(settings):
        try:
            with remote_catalog(settings, open_remote(settings, name)) as (known, _):
                sets = [s for s in known.sets if not args.kind or args.kind in s.archives]
                shown[name] = [set_as_json(s) for s in sets]
                lines = [line for s in sets for line in list_rows(s, (args.kind,) if args.kind else KINDS, utc_now())]
        except BackupError as error:
            args.report.problem(f"{name}: {error}", error.exit_code)
            continue
        for entry in (archive for backup_set in shown[name] for archive in backup_set["archives"]):
            entry["file"] = f"{name}/{'/'.join(entry['file'].split('/')[-2:])}"
        if not args.json:
            say("\n".join([name, f"{'SET':<16}  {'LOCAL TIME':<16}  {'KIND':<9} {'SIZE':>9}  {'AGE':>8}  PROOF", *lines]))
    if args.json:
        say(json.dumps({"version": 1, "remotes": shown}, indent=1))
    return args.report.exit_code


def cmd_list(settings: Settings, args: argparse.Namespace) -> int:
    """Show the backup sets, newest first."""
    if args.offsite:
        return list_offsite(settings, args)
    sets, orphans, strays = catalog(settings)
    kinds = (args.kind,) if args.kind else KINDS
    if args.json:
        chosen = [s for s in sets if not args.kind or args.kind in s.archives]
        say(json.dumps({"version": 1, "sets": [set_as_json(s) for s in chosen], "orphans": list(map(str, orphans)), "strays": strays}, indent=1))
        return DONE
    lines = [line for backup_set in sets for line in list_rows(backup_set, kinds, utc_now())]
    say("\n".join([f"{'SET':<16}  {'LOCAL TIME':<16}  {'KIND':<9} {'SIZE':>9}  {'AGE':>8}  PROOF", *lines]))
    for path, why in [*((str(path), "an archive without its sidecar: no backup") for path in orphans), *strays.items()]:
        log.warning("%s: %s", printable(path), printable(why))
    if not sets:
        log.info("no backups in %s yet: make one with backup_system.py backup", settings.backup_dir)
    return DONE


def check_stored(archive: Archive) -> None:
    """Compare the stored bytes with the sidecar, if there is one. Raise DamageError naming the file and what is wrong."""
    if archive.forged:
        raise DamageError(f"{archive.path.name}: {archive.forged}")
    try:
        size = archive.path.lstat().st_size
        if not archive.sha256:
            return
        if size != archive.size_bytes:
            raise DamageError(f"{archive.path.name}: {size} bytes instead of {archive.size_bytes}")
        with archive.path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise DamageError(f"{archive.path.name} is lost: the sidecar is there, the archive is gone") from None
    except OSError as error:
        raise DamageError(f"{archive.path.name} cannot be read: {error.strerror}") from None
    if found != archive.sha256:
        raise DamageError(f"{archive.path.name}: its SHA-256 is {found[:16]}..., the sidecar says {archive.sha256[:16]}...")


def named_file(settings: Settings, text: str) -> Path:
    """Find the file that an argument names; latest, latest.sql.gz ... is the newest database archive of that directory.

    A link called latest is never followed: the sidecars decide, and where there are none, the ids in the names.
    """
    path = Path(text)
    if not path.name.startswith("latest") or (path.exists() and not path.is_symlink()):
        return path
    directory = path.parent if "/" in text else settings.backup_dir / "database"
    names = file_names(directory)
    dumps = sorted((name for name in names if ARCHIVE_NAME.fullmatch(name) and name.startswith(STEMS["database"])), reverse=True)
    for name in [name for name in dumps if f"{name}.json" in names] or dumps:
        log.warning("%s means %s", text, directory / name)
        return directory / name
    raise UsageError(f"there is no database backup in {directory}")


def archive_of_file(path: Path, kinds: Sequence[str], settings: Settings, work: Path | None) -> Archive:
    """Make the Archive of any file: by its sidecar, else by its content, with no checksum. Raise UsageError if it is none.

    With SIGNING_KEY, a file that is named as one of ours needs its sidecar: else a forger would just take it away.
    """
    try:
        return read_archive(f"{path}.json", settings.signing_key)
    except (FileNotFoundError, ValueError) as error:
        why = "has no sidecar" if isinstance(error, FileNotFoundError) else f"has a sidecar that cannot be trusted ({error})"
        log.warning("%s %s: its bytes cannot be compared with a checksum", path.name, why)
    if not path.exists():
        raise UsageError(f"there is no file {path}")
    if settings.signing_key and ARCHIVE_NAME.fullmatch(path.name):
        raise DamageError(f"{path.name} has no signed sidecar, and SIGNING_KEY is set: under another name it is a foreign file")
    found = Archive("", "", str(path), path.stat().st_size, "", 0.0, ())
    with unsealed(found, settings, work) as opened:
        content = content_of(opened.path, settings)
    kind = {"custom": "database", "sql": "database", "roles": "roles"}.get(content, "")
    if content == "tar":
        named = [kind for kind, stem in STEMS.items() if path.name.startswith(f"{stem}_")]
        kind = next(iter(kinds or named), "")
        if kind not in ("qr_codes", "files"):
            raise UsageError(f"{path.name} is a tar archive of unknown kind: say --only qr_codes or --only files")
    return dataclasses.replace(found, kind=kind)


def archives_to_verify(settings: Settings, args: argparse.Namespace, report: Report, work: Path | None) -> list[Archive]:
    """List what `verify` was asked to look at; a set's unreadable sidecars are damage."""
    target = args.target or "latest"
    if "/" in target or Path(target).is_file():
        return [archive_of_file(named_file(settings, target), ("files",), settings, work)]
    sets, _, strays = catalog(settings)
    chosen = sets if args.all else sets[:1] if target == "latest" and sets else [find_set(sets, target, ())]
    for path, why in [*(strays.items() if args.all else ()), *(item for s in chosen for item in s.unreadable.items())]:
        report.problem(f"{path}: the sidecar cannot be read: {why}", DAMAGE)
    return [archive for backup_set in chosen for archive in backup_set.archives.values()]


def verify_archive(archive: Archive, settings: Settings, work: Path | None, opened: contextlib.ExitStack) -> tuple[Archive, str]:
    """Check an archive on both levels; give it as it can be read, unsealed until `opened` ends, and say what was done.

    Raise DamageError, NoKey where it is sealed and cannot be opened here, PartlyDone where a program is missing.
    """
    check_stored(archive)
    source = SOURCES[archive.kind]
    try:
        plain = opened.enter_context(unsealed(archive, settings, work))
        script = not archive.sha256 and archive.kind == "database" and content_of(plain.path, settings) == "sql"
        detail = (SOURCES["roles"] if script else source).inspect(plain.path, settings)
    except FileNotFoundError:
        raise DamageError(f"{archive.path.name} is lost: it went while it was read") from None
    return plain, ("checksum, " if archive.sha256 else "no checksum; ") + ("" if plain is archive else "unsealed, ") + detail


def verify_remote(settings: Settings, name: str, args: argparse.Namespace, note: dict[str, Any]) -> None:
    """Compare what stands on a remote with what was pushed, and read a set there to its end; nothing is stored."""
    remote, report, target = open_remote(settings, name), args.report, args.target or "latest"
    with remote_catalog(settings, remote) as (known, there):
        note["gone"] = vanished(settings, name, there)
        for path in note["gone"]:
            report.problem(f"{name}: {path} was pushed, and is gone there", DAMAGE)
        for path, why in [*known.strays.items(), *(item for s in known.sets for item in s.unreadable.items())]:
            report.problem(f"{name}: {os.path.basename(path)}: the sidecar cannot be read: {why}", DAMAGE)
        chosen = known.sets if args.all or not known.sets else known.sets[:1]
        if target != "latest":
            chosen = [secrets.choice(known.sets) if target == "random" and known.sets else find_set(known.sets, target, ())]
        if not chosen:
            report.problem(f"{name}: there is no backup set")
        for archive in (archive for backup_set in known.sets for archive in backup_set.archives.values()):
            word, text = "OK", "checksum"
            try:
                if remote_path(archive) not in there or there[remote_path(archive)]["Size"] != archive.size_bytes:
                    raise DamageError(f"{remote_path(archive)} is gone there, or not as long as it was")
                if all(archive.id != backup_set.id for backup_set in chosen):
                    continue  # to read it would cost a download
                download(remote, remote_path(archive), archive.size_bytes, archive.sha256)
            except DamageError as error:
                word, text = "DAMAGED", str(error)
                report.problem(f"{name}: {text}", DAMAGE)
            note["archives"][archive.path.name] = "" if word == "OK" else text
            if word != "OK" or not args.quiet:
                say(f"{word:<8} {archive.path.name:<44} {name}: {printable(text)}")


def verify_offsite(settings: Settings, args: argparse.Namespace) -> int:
    """Check the off-site copies; the journal remembers what was found."""
    notes: dict[str, dict[str, Any]] = {name: {"archives": {}} for name in remotes_of(settings)}
    for name, note in notes.items():
        try:
            verify_remote(settings, name, args, note)
        except BackupError as error:
            args.report.problem(f"{name}: {error}", error.exit_code)
    if os.access(settings.backup_dir / MARKER, os.W_OK):  # elsewhere, and where a disk is not mounted, nothing is written
        record(settings, args.report, offsite=notes)
    return args.report.exit_code


def cmd_verify(settings: Settings, args: argparse.Namespace) -> int:
    """Check stored archives: size and SHA-256, then a full read by the program that will restore them."""
    if args.offsite:
        return verify_offsite(settings, args)
    report = args.report
    marks: dict[str, str] = {}
    work = settings.work_dir or (settings.backup_dir if os.access(settings.backup_dir, os.W_OK) else None)
    for archive in archives_to_verify(settings, args, report, work):
        name = archive.path.name
        try:
            with contextlib.ExitStack() as opened:
                word, text = "OK", verify_archive(archive, settings, work, opened)[1]
            marks[name] = ""
        except (PartlyDone, NoKey) as error:
            word, text = "PARTLY", str(error)
            if isinstance(error, NoKey):
                text = f"only the stored bytes were checked: it {text.removeprefix(name).strip()}"
            report.problem(f"{name}: {text}")
        except DamageError as error:
            if archive.sha256 and not Path(f"{archive.path}.json").exists():
                continue  # a cleanup at work beside us removed it
            word, text = "DAMAGED", str(error)
            marks[name] = text
            report.problem(text, DAMAGE)
        if word != "OK" or not args.quiet:
            say(f"{word:<8} {name:<44} {printable(text)}")
    if marks and archive.path.resolve().parent.parent == settings.backup_dir.resolve() and os.access(settings.backup_dir, os.W_OK):
        record(settings, report, archives=marks)
    return report.exit_code


def find_kept(settings: Settings, work: Path) -> tuple[list[Kept], Server | None, str]:
    """List what restores have put aside, with the server that holds databases of it, or why that was not asked."""
    connection, kept = settings.restore_database_url or settings.connection, kept_paths(settings)
    if connection == Connection():
        return kept, None, ""
    try:
        server = find_admin_server(connection, settings, work, patient=False)
        return kept + kept_databases(server), server, ""
    except BackupError as error:
        return kept, None, f"databases kept aside were not looked at: {error}"


def remove_kept(settings: Settings, dry_run: bool, work: Path) -> None:
    """Remove what restores put aside longer than KEEP_BEFORE_DAYS ago; what cannot be looked at or dropped is named."""
    limit = (utc_now() - datetime.timedelta(days=settings.keep_before_days)).strftime(ID_FORMAT)
    kept, server, complaint = find_kept(settings, work)
    if complaint:
        log.warning("%s", complaint)
    databases: set[str] = set()
    if server:
        databases = {name for (name,) in ask(server, "SELECT datname FROM pg_database")}
    for item in kept:
        alone = item.live not in databases if item.kind == "database" else not status_of(Path(item.live))
        if item.id >= limit or alone:  # where nothing is live, this is the last there is
            continue
        log.info("%s %s", "would remove" if dry_run else "removing", item)
        try:
            if dry_run:
                continue
            if item.kind == "database":
                drop_database(server, item.place)
            elif item.kind == "qr_codes":
                shutil.rmtree(item.place)
            else:
                os.unlink(item.place)
        except OSError as error:
            log.warning("%s could not be removed: %s", item, error.strerror)


def cleanup_offsite(settings: Settings, args: argparse.Namespace) -> None:
    """Apply the same retention to each remote. The journal is written first, or what we delete would be missed later."""
    for name in settings.offsite_remotes:
        try:
            remote = open_remote(settings, name)
            with remote_catalog(settings, remote) as (known, _):
                verdicts, refusal = plan_cleanup(known.sets, settings, utc_now())
                if not args.quiet:
                    say("\n".join([name, *(f"{'keep' if v.keep else 'DELETE':<7} {v.set.id}  {v.reason}" for v in verdicts)]))
                if refusal:
                    args.report.problem(f"nothing was deleted on {name}: {refusal}")
                for backup_set in [v.set for v in verdicts if not v.keep and not args.dry_run]:
                    log.info("deleting %s on %s", backup_set.id, name)
                    paths = [remote_path(archive) for archive in backup_set.archives.values()]
                    write_journal(settings.backup_dir, {"command": "cleanup", "id": backup_set.id, "offsite": {name: {"deleted": paths}}})
                    for ending in (".json", ""):  # the sidecars first, as here
                        rclone(remote, "delete", *(f"--include=/{path}{ending}" for path in paths), remote.name)
        except BackupError as error:
            args.report.problem(f"cleanup on {name} failed: {error}")


def cmd_cleanup(settings: Settings, args: argparse.Namespace) -> int:
    """Show what retention keeps and deletes, with a reason per set, then delete."""
    report = args.report
    check_backup_dir(settings.backup_dir)
    lock = contextlib.nullcontext() if args.dry_run else locked(settings.backup_dir, "cleanup", settings.lock_wait_seconds)
    with lock, workspace(None) as work:
        verdicts, refusal = plan_cleanup(catalog(settings).sets, settings, utc_now())
        delete = [verdict.set for verdict in verdicts if not verdict.keep]
        if not args.quiet:
            say("\n".join(f"{'keep' if verdict.keep else 'DELETE':<7} {verdict.set.id}  {verdict.reason}" for verdict in verdicts))
        freed = sum(archive.size_bytes for backup_set in delete for archive in backup_set.archives.values())
        log.info("cleanup: %d sets stay, %d go (up to %s)", len(verdicts) - len(delete), len(delete), human_size(freed))
        if refusal:
            report.problem(f"nothing was deleted: {refusal}")
        if not args.dry_run:
            for backup_set in delete:
                log.info("deleting %s", backup_set.id)
                for archive in backup_set.archives.values():  # sidecar first: a kill in between leaves none without archive
                    archive.path.with_name(f"{archive.path.name}.json").unlink(missing_ok=True)
                    sync_directory(archive.path.parent)
                    archive.path.unlink(missing_ok=True)
            record(settings, report, deleted=[backup_set.id for backup_set in delete])
        if not refusal:
            remove_kept(settings, args.dry_run, work)
    if settings.offsite_cleanup:
        cleanup_offsite(settings, args)
    return report.exit_code


def cmd_push(settings: Settings, args: argparse.Namespace) -> int:
    """Bring every good set that a remote lacks there."""
    report = args.report
    remotes_of(settings)
    check_backup_dir(settings.backup_dir, make=False)  # an unmounted disk must not look like nothing to push
    notes = push_all(settings, report, args.again)
    if all(note["failed"] for note in notes.values()):
        report.problem("nothing was pushed", FAILED)
    record(settings, report, offsite=notes)
    if not args.quiet:
        say("\n".join(f"{'FAILED' if note['failed'] else 'OK':<8} {name}: {len(note['pushed'])} archives new there, newest complete set "
                      f"{note['newest'] or 'none'}" for name, note in notes.items()))  # fmt: skip
    return report.exit_code


def pull_archive(remote: Remote, archive: Archive, settings: Settings) -> None:
    """Bring an archive here and, last, its sidecar. A good one stays as it is; a damaged one is not replaced."""
    path = settings.backup_dir / remote_path(archive)
    sidecar = path.with_name(f"{path.name}.json")
    with contextlib.suppress(FileNotFoundError, ValueError, DamageError):
        check_stored(read_archive(str(sidecar), settings.signing_key))
        log.info("%s is here already, and good", path.name)
        return
    try:
        if path.exists():  # from a run that died before the sidecar, perhaps
            check_stored(dataclasses.replace(archive, file=str(path)))
        else:
            require_space(path.parent, archive.size_bytes + MIB, f"{path.name}")
            with published(path) as stream:
                download(remote, remote_path(archive), archive.size_bytes, archive.sha256, stream.write)
        with published(sidecar) as stream:
            stream.write(archive.sidecar)
    except DamageError as error:
        if path.exists():
            raise DamageError(f"{path} is here and not what is off-site: move it and its .json file aside, then pull again") from error
        raise
    except OSError as error:
        raise disk_failure(error, path.parent, archive.size_bytes) from error


def pull_set(settings: Settings, report: Report, remote: Remote, chosen: BackupSet) -> bool:
    """Bring a set here and say whether all of it came."""
    whole = bool(chosen.archives) and not chosen.unreadable
    for archive in chosen.archives.values():
        try:
            pull_archive(remote, archive, settings)
            report.made.append(archive)
        except BackupError as error:
            report.problem(f"{remote.name}: {error}", error.exit_code)
            whole = False
    return whole


def cmd_pull(settings: Settings, args: argparse.Namespace) -> int:
    """Bring a set here from off-site, where it is newest; what one remote cannot give, the next one may."""
    report, backup_dir, names = args.report, settings.backup_dir, remotes_of(settings)
    check_backup_dir(backup_dir)
    found: list[tuple[Remote, BackupSet]] = []
    with locked(backup_dir, "pull", settings.lock_wait_seconds), contextlib.ExitStack() as stack:
        sweep_partials(backup_dir)
        for name in names:
            try:
                remote = open_remote(settings, name)
                known, _ = stack.enter_context(remote_catalog(settings, remote))
                found.append((remote, find_set(known.sets, args.target, settings.kinds)))
            except BackupError as error:
                report.problem(f"{name}: {error}", error.exit_code)
        found.sort(key=lambda pair: pair[1].id, reverse=True)
        for remote, chosen in found:
            report.id = chosen.id
            log.info("pulling %s from %s", chosen.id, remote.name)
            if pull_set(settings, report, remote, chosen):
                report.problems = [(PARTLY, text) for code, text in report.problems if code != USAGE]  # this one gave all of it
                say(f"{chosen.id} is here, from {remote.name}. Next: backup_system.py verify {chosen.id}")
                break
        record(settings, report, archives={archive.path.name: "" for archive in report.made})
    return report.exit_code


def choose_archives(settings: Settings, args: argparse.Namespace, work: Path) -> list[Archive]:
    """Work out which archives a restore means, in the order in which to prepare them. Raise UsageError or DamageError."""
    if args.restore_file:
        path = named_file(settings, args.restore_file)
        chosen = [archive_of_file(path, args.only, settings, work)]
        if args.only and chosen[0].kind not in args.only:
            raise UsageError(f"{path.name} holds {chosen[0].kind}, not {' or '.join(args.only)}")
    else:
        wanted = [kind for kind in KINDS if kind in (args.only or settings.kinds)]
        backup_set = find_set(catalog(settings).sets, args.backup, wanted)
        absent = [kind for kind in wanted if kind not in backup_set.archives]
        if absent:
            has = " ".join(f"--only {kind}" for kind in backup_set.archives)
            raise UsageError(f"set {backup_set.id} has no {', '.join(absent)}. Restore what it has ({has}), or choose another: backup_system.py list")
        chosen = [backup_set.archives[kind] for kind in wanted]
    for archive in chosen:
        check_stored(archive)
    return sorted(chosen, key=lambda archive: ("roles", "database", "qr_codes", "files").index(archive.kind))


def restore_targets(settings: Settings, args: argparse.Namespace, kinds: Sequence[str]) -> dict[str, str]:
    """Say where each kind goes. Raise UsageError where that is not clear."""
    if args.directory and (len(kinds) != 1 or kinds[0] not in ("qr_codes", "files")):
        raise UsageError("--directory takes the members of one archive: add --only qr_codes or --only files")
    if args.database and "database" not in kinds:
        raise UsageError("--database is given, but no database is restored")
    url = settings.restore_database_url or Connection()
    database = args.database or settings.connection.dbname or url.dbname or os.environ.get("PGDATABASE", "")
    if "database" in kinds and not database:
        raise UsageError("into which database? Say --database NAME, or set DB_NAME in .env.backup")
    if any(c in database for c in "\n\r\0") or len(database.encode()) > 63:
        raise UsageError("a database name has at most 63 bytes and no line break")
    directory = str(Path(args.directory).absolute()) if args.directory else ""
    return {"database": database, "roles": "", "qr_codes": directory or str(settings.qr_codes_path), "files": directory or str(settings.app_dir)}


def what_is_replaced(settings: Settings, archive: Archive, target: str, server: Server | None) -> str:
    """Describe live data that a restore would replace; '' where there is none."""
    if archive.kind == "database":
        row = database_row(server, target)
        if not row:
            return ""
        with contextlib.suppress(BackupError):
            filled = f"SELECT 1 WHERE EXISTS (SELECT {OWN_TABLES}) OR EXISTS (SELECT FROM pg_largeobject_metadata)"
            if not ask(server, filled, target):
                return ""
        what = f"{human_size(row['size_bytes'])}, {row['connections']} connections will be cut"
        return f"database {printable(target)} at {server.connection.host or 'this machine'} ({what})"
    if archive.kind == "qr_codes" and Path(target).is_dir() and os.listdir(target):
        return f"directory {target} ({len(os.listdir(target))} entries)"
    present = [name for name in archive.facts.get("names", settings.config_files) if archive.kind == "files" and (Path(target) / name).exists()]
    return f"configuration files in {target}: {names_shown(present)}" if present else ""


def confirm(replaced: Mapping[Any, str], word: str, args: argparse.Namespace) -> None:
    """Ask before live data is replaced: its name is typed on a terminal, `--yes` answers elsewhere. Raise UsageError."""
    for text in replaced.values():
        log.warning("this replaces %s; what is there now is kept aside", text)
    if args.yes or not replaced:
        return
    if not sys.stdin.isatty():
        raise UsageError("live data would be replaced: say --yes if that is meant (nothing was changed)")
    print(f"Type {printable(word)} to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != word:
        raise UsageError("not confirmed; nothing was changed")


def undo_restore(settings: Settings, args: argparse.Namespace, job: Job) -> list[str]:
    """Swap back what the newest restore put aside, of the kinds asked for; done twice, it is as before."""
    kept = [item for item in kept_paths(settings) if not args.only or item.kind in args.only]
    if settings.connection.dbname and (not args.only or "database" in args.only):
        database = args.database or settings.connection.dbname
        kept += [item for item in kept_databases(job.server) if item.live == database and not item.differs]
    newest = max((item.id for item in kept), default="")
    chosen = sorted((item for item in kept if item.id == newest), key=lambda item: item.kind != "database")  # it alone may be refused
    if not chosen:
        raise UsageError("no restore has put anything aside (or cleanup has removed it after KEEP_BEFORE_DAYS): there is nothing to undo")
    confirm({item.place: f"{item.kind} {printable(item.live)} with what was there before the restore {newest}" for item in chosen}, "undo", args)
    while newest == job.report.id:  # one that was killed within this second has taken the name
        time.sleep(0.05)
        job.report.id = utc_now().strftime(ID_FORMAT)
    job = dataclasses.replace(job, id=job.report.id)
    for item in chosen:
        log.info("put back %s %s: %s", item.kind, printable(item.live), put_back(job, item))
    return [item.place for item in chosen]


def restore_tables(settings: Settings, args: argparse.Namespace, job: Job, archive: Archive, target: str) -> list[str]:
    """Bring single tables of a backup into the live database, beside its own: `restored_<id>.TABLE`. Nothing is replaced."""
    live = database_row(job.server, target)
    if not live:
        raise UsageError(f"there is no database {printable(target)} to bring tables into: restore it whole, without --table")
    schema = f"restored_{(archive.id or job.id).lower()}"
    with contextlib.ExitStack() as scratch_stack, contextlib.ExitStack() as made, explained(job.server.connection):
        scratch = Database().build(job, archive, live, scratch_stack)
        if scratch.differences and not job.accept_differences:
            raise DamageError(f"the backup does not restore as it was: --accept-differences goes on\n{differences_text(scratch.differences)}")
        names = [copy_table(job, scratch.name, target, schema, table, made) for table in args.table]
        made.pop_all()
        scratch.in_use.close()
    log.info("brought back %s: take from there what is missing, then DROP SCHEMA %s CASCADE", ", ".join(names), schema)
    return names


def restore_archives(settings: Settings, args: argparse.Namespace, job: Job, archives: Sequence[Archive], targets: Mapping[str, str],
                     undo: contextlib.ExitStack) -> list[str]:  # fmt: skip
    """Build every archive beside what is live, then swap all of them in; what was there is kept."""
    replaced = {a: text for a in archives if (text := what_is_replaced(settings, a, targets[a.kind], job.server))}
    first = next(iter(replaced), None)
    ages = {a: f"{text} with {a.path.name}" + (f", {human_age((utc_now() - parse_id(a.id)).total_seconds())} old" if a.id else "")
            for a, text in replaced.items()}  # fmt: skip
    confirm(ages, (targets["database"] if first.kind == "database" else first.kind) if first else "", args)
    swaps = []
    for archive in archives:
        log.info("preparing %s from %s", archive.kind, archive.path.name)
        swap = SOURCES[archive.kind].restore(job, archive, targets[archive.kind], undo)
        if archive.kind == "roles":  # at once, for the database may need them
            log.info("restored roles: %s", swap())
        else:
            swaps.append((archive, swap))
    for archive, swap in swaps:
        log.info("restored %s %s: %s", archive.kind, targets[archive.kind], swap())
    return [archive.path.name for archive in archives]


def cmd_restore(settings: Settings, args: argparse.Namespace) -> int:
    """Restore archives, or single tables, or undo the last restore; what was there before is kept."""
    if args.undo and (args.table or args.directory):
        raise UsageError("--undo takes back all that a restore replaced, or --only a KIND of it: leave out --table and --directory")
    if args.table and (args.directory or set(args.only) - {"database"}):
        raise UsageError("--table brings single tables of a database back: leave --undo, --directory and other kinds out")
    report = args.report
    report.id = utc_now().strftime(ID_FORMAT)
    backup_dir = settings.backup_dir
    with contextlib.ExitStack() as undo:
        lock: tuple[int, ...] = ()
        if os.path.exists(backup_dir / MARKER) and os.access(backup_dir, os.W_OK):  # on a new machine it works without
            lock = (undo.enter_context(locked(backup_dir, "restore", settings.lock_wait_seconds)),)
            sweep_restores(settings)
        work = undo.enter_context(workspace(settings.work_dir or (backup_dir if lock else None), backup_dir if lock else None))
        args.only = ["database"] if args.table else args.only
        chosen = [] if args.undo else choose_archives(settings, args, work)
        archives = [undo.enter_context(unsealed(archive, settings, work)) for archive in chosen]
        kinds = [archive.kind for archive in archives]
        targets = {} if args.undo else restore_targets(settings, args, kinds)
        server = None
        if {"database", "roles"} & set(args.only or settings.kinds if args.undo else kinds) and (archives or settings.connection.dbname):
            server = find_admin_server(settings.restore_database_url or settings.connection, settings, work)
        job = Job(settings, report, report.id, work, server, lock, accept_differences=args.accept_differences)
        if args.undo:
            done = undo_restore(settings, args, job)
        elif args.table:
            done = restore_tables(settings, args, job, archives[0], targets["database"])
        else:
            done = restore_archives(settings, args, job, archives, targets, undo)
        while utc_now().strftime(ID_FORMAT) == report.id:  # the next restore must find a name of its own for what it keeps
            time.sleep(0.05)
        if lock:
            record(settings, report, **{"undone" if args.undo else "restored": done}, targets=targets)
    return report.exit_code


PNG = b"\x89PNG\r\n\x1a\n"
RECOVERY_TARGET_SECONDS = 15 * 60


def check_pictures(path: Path, wanted: Sequence[str], report: Report) -> str:
    """Look whether every .png of a tar archive starts like one, and whether every path that the database names is in it.

    A path counts as found if it ends with a member's name: applications store it with and without the directory.
    """
    there, broken = set(), []
    with BoundedGzip(path, "rb") as stream:
        for tar, member in tar_members(stream, path.name):
            if member.isreg():
                there.add(os.path.normpath(member.name))
                if member.name.endswith(".png") and tar.extractfile(member).read(len(PNG)) != PNG:
                    broken.append(member.name)
    if broken:
        report.problem(f"{path.name}: no PNG inside: {names_shown(broken)}", DAMAGE)
    found, missing = set(), []
    for text in wanted:
        parts = text.strip("/").split("/")
        tails = {"/".join(parts[start:]) for start in range(len(parts))} & there
        found |= tails
        missing += [text] * (not tails)
    if missing:
        report.problem(f"{path.name} lacks {len(missing)} files that the database names: {names_shown(missing)}")
    orphans = sorted(there - found) if wanted else []
    if orphans:
        log.warning("%d files in %s belong to nobody in the database: %s", len(orphans), path.name, names_shown(orphans))
    return f"{len(there)} files, {len(wanted)} named by the database, {len(missing)} missing, {len(orphans)} orphaned, {len(broken)} no PNG"


def drill_database(job: Job, archive: Archive, undo: contextlib.ExitStack) -> tuple[str, list[str]]:
    """Restore a database into a scratch one and compare; give what was proven and the paths of QR codes that it names."""
    report, query = job.report, job.settings.qr_codes_query
    scratch = Database().build(job, archive, None, undo, drill=True)
    if scratch.differences:
        report.problem(f"{archive.path.name} does not restore as it was backed up: {len(scratch.differences)} differences", DAMAGE)
        for line in differences_text(scratch.differences).split("\n"):
            log.error("%s", line)
    if not scratch.found:
        report.problem(f"{archive.path.name} was restored, but not proven: no fingerprint")
    paths: list[str] = []
    if query:
        try:
            rows = ask(job.server, f"SET default_transaction_read_only = on; {query}", scratch.name, 0)
            paths = [row[0] for row in rows if row and row[0]]  # NULL: []
        except BackupError as error:
            report.problem(f"QR_CODES_QUERY failed, so the pictures were not compared (empty, it is switched off): {error}")
    return proof_text(scratch.found) if scratch.found else "not proven", paths


def drill_set(job: Job, backup_set: BackupSet, tell: Callable[[str], None]) -> tuple[dict[str, str], dict[str, float], dict[str, str]]:
    """Verify and restore every archive of a set into places of its own, and remove them; a line per step goes to `tell`.

    Give the results and the seconds by step, and by file name what is wrong with it ('' if nothing).
    """
    results, seconds, marks = {}, {}, {}
    paths: list[str] = []
    plain: dict[str, Archive] = {}  # as they can be read
    def step(name: str, work: Callable[[], str]) -> None:
        began = time.monotonic()
        results[name] = work()
        seconds[name] = round(time.monotonic() - began, 2)
        tell(f"{name:<16} {seconds[name]:>8.1f} s  {printable(results[name])}")
    def verify(archive: Archive) -> str:
        marks[archive.path.name] = ""
        try:
            plain[archive.kind], text = verify_archive(archive, job.settings, job.work, undo)
            return text
        except DamageError as error:
            marks[archive.path.name] = str(error)
            job.report.problem(str(error), DAMAGE)
            return str(error)
    def database() -> str:
        text, found = drill_database(job, plain["database"], undo)
        paths.extend(found)
        return text
    def files(kind: str) -> str:
        place = job.work / kind
        place.mkdir()
        count = unpack_tar(plain[kind].path, place, place)
        shutil.rmtree(place)
        return f"{count} files unpacked"

    with contextlib.ExitStack() as undo:
        for kind, archive in backup_set.archives.items():
            step(f"verify {kind}", lambda archive=archive: verify(archive))
        good = {kind for kind, archive in backup_set.archives.items() if not marks[archive.path.name]}
        if "database" in good:
            step("database", database)
        for kind in ("qr_codes", "files"):
            if kind in good:
                step(kind, lambda kind=kind: files(kind))
        if "qr_codes" in good:
            step("pictures", lambda: check_pictures(plain["qr_codes"].path, paths, job.report))
    return results, seconds, marks


def cmd_drill(settings: Settings, args: argparse.Namespace) -> int:
    """Prove a set by restoring it beside everything that is live, compare it, time it, and remove it again."""
    report = args.report
    backup_dir = settings.backup_dir
    check_backup_dir(backup_dir)
    with locked(backup_dir, "drill", settings.lock_wait_seconds) as lock, workspace(settings.work_dir or backup_dir, backup_dir) as work:
        sweep_restores(settings)
        sets = catalog(settings).sets
        last = next((entry for entry in reversed(list(read_journal(backup_dir))) if entry.get("command") == "drill"), {})
        young = last and utc_now() - datetime.datetime.fromisoformat(last["time"]) < datetime.timedelta(days=args.if_older)
        if young and last.get("identical") is True and any(s.id == last.get("id") for s in sets):
            log.info("no drill is due: %s was drilled within %d days", last["id"], args.if_older)
            return DONE
        complete = [s for s in sets if not s.lacks(settings.kinds)]
        chosen = secrets.choice(complete) if args.backup == "random" and complete else find_set(sets, args.backup, settings.kinds)
        report.id = chosen.id
        raw = max((a.facts.get("raw_bytes") or a.size_bytes for a in chosen.archives.values()), default=0)  # one at a time
        log.info("drill of %s: it needs up to %s in %s and as much again on the database server", chosen.id, human_size(raw), work.parent)
        server = find_admin_server(settings.drill_database_url or settings.connection, settings, work) if "database" in chosen.archives else None
        job = Job(settings, report, utc_now().strftime(ID_FORMAT), work, server, (lock,))
        if not server:
            report.problem(f"{chosen.id} holds no database, so there are no rows to compare")
        tell = log.debug if args.quiet else say
        results, seconds, marks = drill_set(job, chosen, tell)
        recovery = sum(spent for step, spent in seconds.items() if step in ("database", "qr_codes", "files"))
        proven = results.get("database", "not proven")
        identical = report.exit_code != DAMAGE and proven != "not proven"
        record(settings, report, set=chosen.id, identical=identical, steps=seconds, recovery_seconds=round(recovery, 1), proof=proven, archives=marks)
    verdict = "identical" if identical else "DIFFERENT" if report.exit_code == DAMAGE else "NOT PROVEN"
    tell(f"{'recovery':<16} {recovery:>8.1f} s  of the {RECOVERY_TARGET_SECONDS:.0f} s that it may take")
    tell(f"| {local_time(utc_now())} | {chosen.id} | {verdict} | {proven} | {recovery:.1f} s |")
    return report.exit_code


def unhealthy_because(settings: Settings, known: Catalog, journal: Sequence[Mapping[str, Any]], max_age_hours: int) -> list[str]:
    """List why the backups are not healthy; nothing where they are."""
    reasons = []
    newest = newest_complete(known.sets, settings)
    age = (utc_now() - newest.moment).total_seconds() if newest else 0
    if not newest:
        reasons.append("there is no complete set: backup_system.py backup")
    elif age < 0:
        reasons.append(f"{newest.id} is dated in the future: correct the clock")
    elif age > max_age_hours * 3600:
        reasons.append(f"the newest complete set is {human_age(age)} old, more than {max_age_hours} h: look at cron or the timer, and at the log")
    reasons += [f"{a.path.name}: {a.problem}" for s in known.sets for a in s.archives.values() if a.problem]
    reasons += [f"{a.path.name} shrank ({a.shrunk}): is that right? Then: status --accept {a.id}" for s in known.sets for a in s.archives.values() if a.shrunk]
    reasons += [f"{path}: {why}" for path, why in [*known.strays.items(), *(item for s in known.sets for item in s.unreadable.items())]]
    for command in ("backup", "drill"):
        last = next((entry for entry in reversed(journal) if entry.get("command") == command), {})
        told = [str(problem) for problem in last["problems"]] if isinstance(last.get("problems"), list) else []
        problems = [text for text in told if " shrank: " not in text]  # that is told above, until it is accepted
        if last.get("exit_code") and (problems or not told):
            first = (problems or ["see the log"])[0].splitlines()[0]
            reasons.append(f"the last {command} ({last['time']}) ended with exit code {last['exit_code']}: {first}")
    return reasons


def newest_facts(settings: Settings, sets: Sequence[BackupSet]) -> dict[str, dict[str, Any]]:
    """Give for each kind configured here the figures of its newest good archive, and whether any shrank and was not accepted."""
    newest, shrunk = newest_archives(sets), {kind for s in sets for kind, archive in s.archives.items() if archive.shrunk}
    found: dict[str, dict[str, Any]] = {kind: {"shrunk": kind in shrunk} for kind in settings.kinds}
    for kind in newest.keys() & found.keys():
        archive, tables = newest[kind], newest[kind].facts.get("tables")
        found[kind] |= {"id": archive.id, "time": parse_id(archive.id).isoformat(), "size_bytes": archive.size_bytes,
                        "duration_seconds": archive.duration_seconds, "files": archive.facts.get("file_count"),
                        "rows": None if tables is None else sum(entry["rows"] for entry in tables.values())}  # fmt: skip
    return found


def last_runs(journal: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give the time and the exit code of each command's last run."""
    return {entry["command"]: {"time": entry["time"], "exit_code": entry["exit_code"]} for entry in journal
            if isinstance(entry.get("command"), str) and isinstance(entry.get("exit_code"), int)}  # fmt: skip


def bytes_of_its_own(archive: Archive) -> float:
    """Give an archive's share of the disk: unchanged ones have one file in common."""
    with contextlib.suppress(OSError):
        return archive.size_bytes / os.stat(archive.file).st_nlink
    return 0.0


def status_facts(settings: Settings, max_age_hours: int, ask_server: bool = True, known: Catalog | None = None) -> dict[str, Any]:
    """Work out how the backups stand: the facts of `status --json`. Times are UTC, durations seconds, sizes bytes."""
    known, journal, now = known or catalog(settings), list(read_journal(settings.backup_dir)), utc_now()
    sets = known.sets
    offsite = offsite_state(settings, sets, max_age_hours)
    reasons = unhealthy_because(settings, known, journal, max_age_hours) + [state["complaint"] for state in offsite if state["complaint"]]
    newest = newest_complete(sets, settings)
    drill = next((entry for entry in reversed(journal) if entry.get("command") == "drill" and "recovery_seconds" in entry), None)
    recent = [s for s in sets if 0 <= (now - s.moment).total_seconds() < 30 * 86400]
    size = sum(bytes_of_its_own(archive) for s in recent for archive in s.archives.values())
    per_day = size / max(1, (now - recent[-1].moment).days + 1) if recent else 0
    free = shutil.disk_usage(settings.backup_dir).free
    tiers = {"daily": "within", "weekly": "newest of week", "monthly": "newest of month"}
    verdicts = plan_cleanup(sets, settings, now).verdicts
    with workspace(None) as work:
        kept, _, complaint = find_kept(settings, work) if ask_server else (kept_paths(settings), None, "")
    return {
        "version": 1, "healthy": not reasons, "reasons": reasons, "sets": len(sets),
        "newest_complete": {"id": newest.id, "age_seconds": round((now - newest.moment).total_seconds())} if newest else None,
        "last_verify": max((a.verified for s in sets for a in s.archives.values()), default="") or None,
        "last_drill": {key: drill.get(key) for key in ("time", "id", "identical", "recovery_seconds", "steps", "proof")} if drill else None,
        "recovery_target_seconds": RECOVERY_TARGET_SECONDS, "free_bytes": free, "bytes_per_day": round(per_day),
        "days_until_full": int(free / per_day) if per_day else None,
        "tiers": {tier: sum(v.reason.startswith(begin) for v in verdicts) for tier, begin in tiers.items()},
        "kept": [item._asdict() for item in kept], "kept_complaint": complaint,
        "newest": newest_facts(settings, sets), "runs": last_runs(journal), "offsite": offsite,
        "damaged": len(known.strays) + sum(len(s.unreadable) + sum(bool(a.problem) for a in s.archives.values()) for s in sets),
    }  # fmt: skip


def status_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Write the status for people, the verdict first."""
    yield "HEALTHY" if facts["healthy"] else "NOT HEALTHY"
    yield from (f"  because {printable(reason)}" for reason in facts["reasons"])
    newest, drill, kept = facts["newest_complete"], facts["last_drill"], facts["kept"]
    yield f"newest complete set  {newest['id']}, {human_age(newest['age_seconds'])} old" if newest else "newest complete set  none"
    verify = facts["last_verify"]
    yield f"last verify          {local_time(datetime.datetime.fromisoformat(verify)) if verify else 'never: backup_system.py verify'}"
    if drill:
        result = f"{'identical' if drill['identical'] else 'NOT IDENTICAL'} ({drill['proof']})"
        yield f"last drill           {local_time(datetime.datetime.fromisoformat(drill['time']))}, {drill['id']}: {result}"
        yield f"recovery time        {drill['recovery_seconds']} s measured, {facts['recovery_target_seconds']} s allowed"
    else:
        yield "last drill           never: backup_system.py drill"
    for state in facts["offsite"]:
        copied = f"{state['newest']}, {human_age(state['age_seconds'])} old" if state["newest"] else "nothing yet"
        behind = state["behind_seconds"]
        yield f"off-site             {state['remote']}: {copied}" + (f", {human_age(behind)} behind" if behind else "")
    full = f"; at {human_size(facts['bytes_per_day'])} a day it is full in {facts['days_until_full']} days" if facts["bytes_per_day"] else ""
    yield f"free space           {human_size(facts['free_bytes'])}{full}"
    yield f"sets                 {facts['sets']}: " + ", ".join(f"{count} {tier}" for tier, count in facts["tiers"].items())
    yield from (f"kept aside           {Kept(**item)}" for item in kept)
    if facts["kept_complaint"]:
        yield f"kept aside           {facts['kept_complaint']}"


def publish_page(settings: Settings, path: Path, max_age_hours: int, report: Report) -> dict[str, Any]:
    """Write the status page and give its facts; where the backups cannot even be looked at, that is what it says."""
    known, journal, facts = Catalog([], [], {}), [], {}
    try:
        known, journal = catalog(settings), list(read_journal(settings.backup_dir))
        facts = status_facts(settings, max_age_hours, known=known)
    except (BackupError, OSError) as error:
        facts = {"healthy": False, "reasons": [str(error)]}
    if report.command == "backup" and report.exit_code and facts["healthy"]:  # where not even the journal could be written
        facts |= {"healthy": False, "reasons": [f"the last backup failed: {message}" for _, message in report.problems]}
    facts["reasons"] = [starred(reason, settings.secret_values) for reason in facts["reasons"]]
    now, told = utc_now(), {**facts, "host": os.uname().nodename}
    try:
        write_for_all(path, status_page(told, known.sets, plan_cleanup(known.sets, settings, now), journal, settings, now, max_age_hours))
        log.debug("status page written: %s", path)
    except OSError as error:
        report.problem(f"the status page {path} could not be written: {error.strerror}: make its directory, writable for this user")
    return facts


def cmd_status(settings: Settings, args: argparse.Namespace) -> int:
    """Say first whether the backups are healthy, then how they stand."""
    if args.accept:
        sets = catalog(settings).sets
        accepted = find_set(sets, args.accept, ()).id  # never the word latest, which is greater than every id
        write_journal(settings.backup_dir, {"command": "accept", "id": accepted})
        log.info("accepted: the sets up to %s are as large as they should be", accepted)
    facts = publish_page(settings, args.html.absolute(), args.max_age, args.report) if args.html else status_facts(settings, args.max_age)
    if "sets" not in facts:
        raise BackupError(facts["reasons"][0])
    say(json.dumps(facts, indent=1) if args.json else "\n".join(status_lines(facts)))
    return DONE if facts["healthy"] else FAILED


Finding = tuple[str, str, str]  # OK, WARN or FAIL; what was looked at; what was found and what to do


def check_files(settings: Settings) -> Iterator[Finding]:
    """Look at what is to be backed up from the disk."""
    root, user = settings.qr_codes_path, pwd.getpwuid(os.geteuid()).pw_name
    if "qr_codes" in settings.kinds and os.access(root, os.R_OK | os.X_OK) and root.is_dir():
        yield "OK", "QR codes", f"{root}: {len(os.listdir(root))} entries"
    elif "qr_codes" in settings.kinds:
        yield "FAIL", "QR codes", f"{root} is not there or not readable: correct QR_CODES_DIR, or empty it to switch it off"
    for name in settings.config_files:
        path, level, text = settings.app_dir / name, "OK", ""
        if os.path.exists(settings.app_dir) and not os.access(settings.app_dir, os.X_OK):
            level, text = "FAIL", f" is out of reach for {user}: setfacl -R -m u:{user}:rX {shlex.quote(str(settings.app_dir))}"
        elif not os.path.exists(path):
            level, text = "WARN", " is not there: correct APP_DIR or CONFIG_FILES"
        elif not os.access(path, os.R_OK):
            level, text = "FAIL", f" is not readable for {user}"
        elif name == ".env" and path.stat().st_mode & 0o007:
            level, text = "WARN", f" can be read by everybody: chmod o= {shlex.quote(str(path))}"
        yield level, "config file", f"{path}{text}"


def check_database(settings: Settings) -> Iterator[Finding]:
    """Look at programs, connection and rights."""
    for name, otherwise in (("zstd", "WARN"), ("gzip", "FAIL")):
        program = settings.which(name)
        yield "OK" if program else otherwise, "program", program or f"{name} is not installed: apt install {name}"
    try:
        with workspace(None) as work:
            server = find_server(settings.connection, settings, work, patient=False)
            kept = kept_databases(server)
    except BackupError as error:
        yield "FAIL", "database", str(error)
        return
    facts, user = server.facts, server.facts["user"]
    yield "OK", "database", f"{server.connection}: PostgreSQL {facts['server_version']}, {human_size(facts['size_bytes'])}, {facts['tables']} tables"
    for name in ("pg_dump", "pg_dumpall", "pg_restore"):
        try:
            yield "OK", "program", str(postgres_program(name, facts["major"], settings, server.connection))
        except BackupError as error:
            yield "FAIL", "program", str(error)
    if facts["unreadable_tables"]:
        yield "FAIL", "rights", f"{user} may not read {names_shown(facts['unreadable_tables'])}: GRANT pg_read_all_data TO {quote_name(user)}"
    elif facts["row_security"] and not (facts["superuser"] or facts["bypass_rls"]):
        yield "FAIL", "rights", f"row security hides rows of {names_shown(facts['row_security'])}: ALTER ROLE {quote_name(user)} BYPASSRLS"
    else:
        yield "OK", "rights", f"{user} may read every table"
    for item in kept:
        yield "OK", "kept aside", f"{item}; cleanup removes it after KEEP_BEFORE_DAYS"
    if facts["superuser"]:
        yield "WARN", "rights", f"{user} is a superuser: a role with pg_read_all_data is enough for backups"


def check_sealing(settings: Settings) -> Iterator[Finding]:
    """Seal a byte and open it again; where the key is elsewhere, as it should be, look whether anybody has drilled lately."""
    if not settings.encrypt_to:
        return
    method, keys = settings.encrypt_to
    try:
        try_seal(settings)
        yield "OK", "sealing", f"with {method} to {names_shown(keys)}"
    except BackupError as error:
        yield "FAIL", "sealing", str(error)
        return
    try:
        pipeline([["echo"], *seal_stage(settings), open_stage(method, settings)], env=settings.env, limit=60)
        yield "OK", "unsealing", "the key is on this machine: it can restore and drill, and so can whoever breaks in"
        return
    except UsageError as error:
        yield "FAIL", "unsealing", str(error)
        return
    except BackupError as error:
        why = seal_words(error) if isinstance(error, ProgramError) else str(error)
    drilled = max((entry["time"] for entry in read_journal(settings.backup_dir)
                   if entry.get("command") == "drill" and entry.get("identical") is True), default="")  # fmt: skip
    age = utc_now() - datetime.datetime.fromisoformat(drilled) if drilled else None
    recent = age is not None and age.days < DRILL_ELSEWHERE_DAYS
    last = f"the last good drill in the journal was {human_age(age.total_seconds())} ago" if age else "the journal knows of no good drill"
    advice = "" if recent else ". Try where the key is whether it still opens a backup: drill there, and append the last line of its journal to this one"
    yield "OK" if recent else "WARN", "unsealing", f"this machine cannot open what it seals ({why}); {last}{advice}"


def check_places(settings: Settings) -> Iterator[Finding]:
    """Look at BACKUP_DIR, its modes, space and lock, at LOG_DIR, and at the newest complete set's age."""
    backup_dir, log_dir = settings.backup_dir, settings.log_dir
    writable = os.access(log_dir, os.W_OK)
    yield "OK" if writable else "WARN", "LOG_DIR", f"{log_dir}" + ("" if writable else " cannot be written: messages go to stderr only")
    if settings.status_page:
        place = settings.status_page.parent
        writable = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
        yield "OK" if writable else "FAIL", "STATUS_PAGE", f"{settings.status_page}" + ("" if writable else f": this user cannot write in {place}")
    try:
        check_backup_dir(backup_dir, make=False)
    except BackupError as error:
        yield "FAIL", "BACKUP_DIR", str(error)
        return
    sets, free = catalog(settings).sets, shutil.disk_usage(backup_dir).free
    needed = sum(archive.size_bytes for archive in newest_archives(sets).values())
    room = "" if free > needed * 3 else f": room for fewer than three more backups of {human_size(needed)}"
    yield "WARN" if room else "OK", "BACKUP_DIR", f"{backup_dir}, {human_size(free)} free{room}"
    public = [str(path) for path in (backup_dir, *backup_dir.glob("*/*")) if not path.is_symlink() and path.lstat().st_mode & 0o007]
    if public:
        yield "WARN", "modes", f"everybody may look at {names_shown(public)}: chmod -R o= {shlex.quote(str(backup_dir))}"
    metrics_dir = settings.metrics_file and settings.metrics_file.parent
    if metrics_dir and not os.access(metrics_dir, os.W_OK | os.X_OK):
        yield "WARN", "METRICS_FILE", f"{metrics_dir} cannot be written: make it, and setfacl -m u:{pwd.getpwuid(os.geteuid()).pw_name}:rwx it"
    for item in kept_paths(settings):
        yield "OK", "kept aside", f"{item}; cleanup removes it after KEEP_BEFORE_DAYS"
    lock = backup_dir / ".lock"  # read, not tried: a backup that starts now must find it free
    holder = printable(lock.read_text("utf-8", "replace").strip()) if lock.exists() else ""
    yield "OK", "lock", f"held by {holder} (or it was killed: then the lock is free)" if holder else "free"
    bad = [f"{a.path.name} ({a.problem})" for s in sets for a in s.archives.values() if a.problem]
    if bad:
        yield "FAIL", "damage", f"{names_shown(bad)}: see list, and keep the other sets"
    newest = newest_complete(sets, settings)
    age = (utc_now() - newest.moment).total_seconds() if newest else 0
    if not newest:
        yield "WARN", "newest set", "there is no complete backup yet: backup_system.py backup"
    elif 0 <= age < MAX_AGE_HOURS * 3600:
        yield "OK", "newest set", f"{newest.id}, {human_age(age)} old"
    else:
        yield "FAIL", "newest set", f"{newest.id}, {human_age(age)} old: backups have stopped or the clock is wrong; look at cron and at the log"


def check_alerts(settings: Settings, send: bool) -> Iterator[Finding]:
    """Name the channels for alerts, or send a test by each."""
    channels = configured_channels(settings)
    test = Alert(f"ArrivApp backup: a test alert from {os.uname().nodename}", "If you can read this, alerts work.", "log", str(uuid.uuid4()))
    failed = deliver(channels, settings, test) if send else {}
    for channel in channels:
        result = f"a test by {channel.name} was sent" if send else f"by {channel.name} ({channel.setting})"
        yield ("FAIL", "alerts", f"{channel.name}: {failed[channel]}") if channel in failed else ("OK", "alerts", result)
    if not channels:
        yield "WARN", "alerts", "none are configured: nobody would notice a failed night, or silence (README, Alerts)"


def check_offsite(settings: Settings) -> Iterator[Finding]:
    """Look whether each remote can be reached, and holds something."""
    for name in settings.offsite_remotes:
        try:
            remote = open_remote(settings, name, seconds=30)
            version = re.search(r"v(\d+)\.(\d+)", rclone(remote, "version"))
            if version and tuple(map(int, version.groups())) < (1, 63):
                yield "WARN", "off-site", f"{remote.program} is older than 1.63: an upload by SFTP that is cut off leaves a file that blocks the next"
            archives = sum(not path.endswith(".json") for path in remote_files(remote))
            yield "OK" if archives else "WARN", "off-site", f"{name}: {archives} archives" if archives else f"{name} is empty: backup_system.py push"
        except BackupError as error:
            yield "FAIL", "off-site", f"{name}: {error}"


def cmd_check(settings: Settings, args: argparse.Namespace) -> int:
    """Look at every precondition and say what to do; or only prove the alerts."""
    findings = [("OK" if settings.env_file else "WARN", "settings", str(settings.env_file or "no .env.backup: only defaults and environment"))]
    if not args.send_test_alert:
        findings += [*check_files(settings), *check_database(settings), *check_sealing(settings), *check_places(settings), *check_offsite(settings)]
    findings += check_alerts(settings, args.send_test_alert)
    for level, what, text in findings:
        if level != "OK" or not args.quiet:
            say(f"{level:<5} {what:<12} {printable(text)}")
    return FAILED if any(level == "FAIL" for level, _, _ in findings) else DONE


def cmd_demo(settings: Settings, args: argparse.Namespace) -> int:
    """Show the whole cycle on a throw-away school: back up, verify, lose everything, restore, compare."""
    program = HERE / ".demo" / "school.py"
    if not program.exists():
        raise UsageError(f"the demo needs the directory .demo of the checkout beside {__file__}")
    command = [sys.executable, "-u", program, "story", *(["--keep"] if args.keep else [])]
    log.info("%s", pipeline([command], env=settings.env, sink=lambda chunk: say(chunk.decode(), end="")).strip())
    return DONE


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line. Global options work before and after the subcommand (SUPPRESS, or the first is lost)."""
    options: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--env-file", type=Path, metavar="FILE", help="settings file (default: .env.backup beside this script)")
    common.add_argument("--backup-dir", metavar="DIR", help="where backups are (default: BACKUP_DIR)")
    common.add_argument("-v", "--verbose", action="store_true", help="show every command that is run")
    common.add_argument("-q", "--quiet", action="store_true", help="say only what is wrong")
    parser = argparse.ArgumentParser(
        prog="backup_system.py", description="Back up, verify and restore an ArrivApp.", parents=[common], **options,
        epilog="exit codes: 0 done, 1 failed, 2 usage or settings, 3 partly done, 4 damage, 5 another run holds the lock, 128+n signal",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    def command(name: str, function: Callable[..., int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common], **options)
        sub.set_defaults(function=function)
        return sub

    backup = command("backup", cmd_backup, "make one backup set of everything")
    backup.add_argument("--only", action="append", choices=KINDS, default=[], metavar="KIND", help="only this kind; may be repeated")
    listing = command("list", cmd_list, "list the backup sets, newest first")
    listing.add_argument("kind", nargs="?", choices=KINDS, metavar="KIND", help="only archives of this kind")
    listing.add_argument("--json", action="store_true", help="for machines; the keys are stable")
    listing.add_argument("--offsite", action="store_true", help="what stands on the remotes instead")
    verify = command("verify", cmd_verify, "check stored archives by checksum and by a full read")
    which = verify.add_mutually_exclusive_group()
    which.add_argument("target", nargs="?", metavar="ID|FILE", help="a set's id, latest (the default), or an archive")
    which.add_argument("--all", action="store_true", help="every archive")
    verify.add_argument("--offsite", action="store_true", help="on the remotes: what was pushed is there; a set (or random) is read to its end")
    restore = command("restore", cmd_restore, "restore archives; what was there before is kept")
    source = restore.add_mutually_exclusive_group(required=True)
    source.add_argument("--restore-file", metavar="FILE", help="an archive of ours, a pg_dump archive or an SQL script; latest... means the newest")
    source.add_argument("--backup", metavar="ID", help="a set's id, or latest")
    source.add_argument("--undo", action="store_true", help="swap back what the last restore put aside; again swaps forth")
    restore.add_argument("--only", action="append", choices=KINDS, default=[], metavar="KIND", help="only this kind; may be repeated")
    restore.add_argument("--database", metavar="NAME", help="into this database (default: the configured one)")
    restore.add_argument("--directory", metavar="DIR", help="unpack the one archive here instead of in its own place")
    restore.add_argument("--table", action="append", default=[], metavar="TABLE", help="only this table, beside the live ones, as restored_<id>.TABLE")
    restore.add_argument("--accept-differences", action="store_true", help="go on although the restored rows are not those of the fingerprint")
    restore.add_argument("--yes", action="store_true", help="replace live data without asking")
    cleanup = command("cleanup", cmd_cleanup, "delete old sets by retention")
    cleanup.add_argument("--dry-run", action="store_true", help="only show what would be deleted, and why")
    drill = command("drill", cmd_drill, "prove a set: restore it into a scratch database, compare, time it, drop it")
    drill.add_argument("--backup", default="latest", metavar="ID", help="a set's id, latest (the default) or random")
    drill.add_argument("--if-older", type=int, default=0, metavar="DAYS", help="only if the last good drill is older")
    status = command("status", cmd_status, "say whether the backups are healthy, then how they stand")
    status.add_argument("--json", action="store_true", help="for machines; the keys are stable")
    status.add_argument("--html", type=Path, metavar="FILE", help="also write the status page there")
    status.add_argument("--max-age", type=int, default=MAX_AGE_HOURS, metavar="HOURS",
                        help="unhealthy when the newest complete set is older (default: %(default)s)")  # fmt: skip
    status.add_argument("--accept", metavar="ID", help="accept that sets up to this one shrank, so that cleanup goes on")
    push = command("push", cmd_push, "copy every good set that a remote lacks there")
    push.add_argument("--again", action="store_true", help="also what was pushed before and is gone there")
    pull = command("pull", cmd_pull, "bring a set here from a remote")
    pull.add_argument("target", nargs="?", default="latest", metavar="ID", help="a set's id, or latest (the default)")
    check = command("check", cmd_check, "look whether a backup can work here, and say what to do")
    check.add_argument("--send-test-alert", action="store_true", help="instead, send a test by every channel for alerts that is configured")
    demo = command("demo", cmd_demo, "show the whole cycle on a throw-away PostgreSQL with sample data")
    demo.add_argument("--keep", action="store_true", help="leave it for a look around")
    return parser


class LogFile(logging.handlers.RotatingFileHandler):
    """LOG_DIR/backup.log: never through a link, owned by the directory's owner, and a failure to write is remembered."""
    failed = False

    def _open(self) -> Any:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        adopt(descriptor, Path(self.baseFilename).parent)
        return open(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:
        """Remember that a line was lost instead of printing a traceback."""
        self.failed = True


def open_log_file(settings: Settings, args: argparse.Namespace) -> LogFile | None:
    """Open the log file; where it cannot be written, stderr is all there is, with a warning."""
    try:
        if not settings.log_dir.exists() and args.command != "check":
            make_directory(settings.log_dir)
        handler = LogFile(settings.log_dir / "backup.log", maxBytes=10 * MIB, backupCount=5)
    except OSError as error:
        if args.command not in ("list", "verify", "check"):
            log.warning("no log file: %s cannot be written (%s); set LOG_DIR", settings.log_dir, error.strerror)
        return None
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(process)d %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.setLevel(settings.log_level)
    return handler


def set_up_log(handlers: Iterable[logging.Handler], secret_values: Sequence[str] = ()) -> None:
    """Send messages to these handlers: on one line each, control characters escaped and secrets starred out."""
    def clean(entry: logging.LogRecord) -> bool:
        entry.msg, entry.args = starred(printable(entry.getMessage()), secret_values), ()
        return True

    log.handlers.clear()
    log.setLevel(logging.DEBUG)
    for handler in handlers:
        handler.filters.clear()
        handler.addFilter(clean)
        log.addHandler(handler)


def tell_prometheus(settings: Settings, path: Path, report: Report) -> None:
    """Write METRICS_FILE, after a run that failed too: what the journal could not be told of it, or could not keep, is added."""
    try:
        facts = status_facts(settings, MAX_AGE_HOURS, ask_server=False)
    except (BackupError, OSError):  # BACKUP_DIR is gone; the run has said so
        facts = {"healthy": False, "runs": {}}
    if report.exit_code:
        facts["runs"][report.command] = {"time": utc_now().isoformat(), "exit_code": report.exit_code}
    try:
        write_for_all(path, metrics_text(facts))
    except OSError as error:
        report.problem(f"METRICS_FILE {path} could not be written: {error.strerror}; what was made is good. Look at that directory")


def follow_up(settings: Settings, report: Report) -> None:
    """Tell the outside world how a run ended. Nothing here can fail what was made: it adds at most a problem to the report."""
    stopped = any(code > 128 for code, _ in report.problems)
    if settings.offsite_remotes and report.command == "backup" and report.made and not stopped:
        pushing = Report("push", report.id)
        record(settings, pushing, offsite=push_all(settings, pushing))
        report.problems += pushing.problems
    if settings.status_page:
        try:
            publish_page(settings, settings.status_page, MAX_AGE_HOURS, report)
        except Exception as error:  # a mistake of ours in a page is no failed backup
            report.problem(f"the status page could not be made: {error!r}")
    alert_people(settings, report)
    if settings.metrics_file:  # the last step: it tells of the others too
        tell_prometheus(settings, settings.metrics_file, report)


def run_command(args: argparse.Namespace, stderr: logging.Handler) -> int:
    """Load the settings and run a subcommand."""
    flags = {"BACKUP_DIR": str(Path(args.backup_dir).absolute())} if args.backup_dir else {}
    settings = load_settings(flags, args.env_file) if args.command != "demo" else Settings()
    log_file = open_log_file(settings, args) if args.command != "demo" else None
    set_up_log([stderr, log_file] if log_file else [stderr], settings.secret_values)
    log.debug("start: %s", shlex.join(sys.argv))
    report = args.report = Report(args.command)
    told = args.command in ("backup", "cleanup", "restore", "drill", "verify", "push") and not getattr(args, "dry_run", False)
    report.whole = args.command == "backup" and not args.only
    try:
        announce(settings, report)
        code = args.function(settings, args)
    except BaseException as error:  # whatever ends a run leaves a record
        ended = error.exit_code if isinstance(error, BackupError) else 128 + error.number if isinstance(error, Stopped) else FAILED
        ended = 128 + signal.SIGPIPE if isinstance(error, BrokenPipeError) else ended
        report.problems.append((ended, str(error) or repr(error)))
        if told and args.command != "verify" and os.path.exists(settings.backup_dir / MARKER) and not seen_at_terminal(ended):
            entry = {"command": args.command, "run": report.run, "exit_code": ended, "problems": [starred(report.problems[-1][1], settings.secret_values)]}
            with contextlib.suppress(OSError):
                write_journal(settings.backup_dir, entry)
        if told:
            follow_up(settings, report)
        raise
    if told:
        follow_up(settings, report)
    if log_file and log_file.failed:
        report.problem("the log file could not be written; what was made is good")
    return code or report.exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit code. The only place that turns errors into messages and codes."""
    os.umask(0o077)
    gc.disable()  # its walks took a quarter of the time of `list` with 10,000 sets; a run is short and makes few cycles
    args = argparse.Namespace(**{"env_file": None, "backup_dir": "", "verbose": False, "quiet": False} | vars(build_parser().parse_args(argv)))
    stderr = logging.StreamHandler()
    stderr.setLevel(logging.WARNING if args.quiet else logging.DEBUG if args.verbose else logging.INFO)
    set_up_log([stderr])
    def stop(number: int, frame: Any) -> None:
        raise Stopped(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, stop)
    try:
        code = run_command(args, stderr)
        sys.stdout.flush()
        return code
    except BackupError as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        return error.exit_code
    except Stopped as stopped:
        log.error("%s; what was begun is removed, what was complete stays", stopped)
        return 128 + stopped.number
    except BrokenPipeError:  # list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except OSError as error:
        log.error("%s: %s", error.filename or "system", error.strerror or error)
        return FAILED


if __name__ == "__main__":
    raise SystemExit(main())
