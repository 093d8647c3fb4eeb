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

Exit codes: 0 done, 1 failed, 2 usage or settings, 3 partly done, 4 damage, 5 another run holds the lock, 128+n signal.

The file reads downwards: a definition uses only names that stand above it. To see what a command does, start at its
`cmd_...` in section 11; to see what an archive holds, at the sources in section 8.
"""

from __future__ import annotations

import argparse
import calendar
import contextlib
import csv
import dataclasses
import datetime
import difflib
import errno
import fcntl
import functools
import gc
import glob
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
# How the names of archives begin
STEMS = {"database": "arrivapp_db", "roles": "arrivapp_roles", "qr_codes": "qr_codes", "files": "config"}
DIRECTORIES = {"database": "database", "roles": "database", "qr_codes": "qr_codes", "files": "files"}
MIB = 1 << 20
ID_FORMAT = "%Y%m%dT%H%M%SZ"  # of a backup set: the UTC second of its start
MAX_AGE_HOURS = 30  # of the newest complete set: a night and a morning

DONE, FAILED, USAGE, PARTLY, DAMAGE, LOCKED = range(6)
GRAVITY = (DONE, LOCKED, PARTLY, USAGE, FAILED, DAMAGE, *range(129, 256))  # the gravest last, 128 + n: signal n

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
        ended = f"failed with exit code {returncode}"
        if returncode < 0:
            ended = f"was killed by {signal.Signals(-returncode).name}"
            ended += " (out of memory?)" if returncode == -signal.SIGKILL else ""
        last = self.stderr.rpartition("\n")[2].strip()
        super().__init__(f"{program} {ended}" + (f": {last}" if last else ""))


class Stopped(BaseException):
    """A signal asks the run to end. Not an Exception, so that no handler for failures swallows it."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(f"stopped by {signal.Signals(number).name}")


@dataclass
class Report:
    """What a run did: the one mutable object. Its exit code is computed, never assigned."""

    command: str
    id: str = ""
    made: list[Any] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    run: str = field(default_factory=lambda: str(uuid.uuid4()))  # this run's name, in the journal and for the ping
    whole: bool = False  # a backup of every kind, which the dead-man ping waits for

    def problem(self, message: str, code: int = PARTLY) -> None:
        """Record and log something that makes the exit code `code`."""
        log.error("%s", message)
        self.problems.append((code, message))

    @property
    def exit_code(self) -> int:
        """Give the gravest code."""
        return max((code for code, _ in self.problems), key=GRAVITY.index, default=DONE)


def user_name() -> str:
    """Name the user that we are; the number where it has no name, as in many a container."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


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
def parse_time(text: str) -> datetime.datetime:
    """Read a set's id, the UTC second 20250111T020000Z, or a time of the journal. Raise ValueError where it is none."""
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

    @property
    def variables(self) -> dict[str, str]:
        """Give the environment variables by which libpq is told."""
        return {"PGHOST": self.host, "PGPORT": self.port, "PGUSER": self.user, "PGDATABASE": self.dbname}

    def __str__(self) -> str:
        """Name it for a message, with what libpq will fill in."""
        shown = [text or os.environ.get(name) or "default" for name, text in self.variables.items()]
        return "host {}, port {}, user {}, database {}".format(*map(printable, shown))


def matching(pattern: str, complaint: str, made: Callable[[str], Any] = str) -> Callable[[str], Any]:
    """Make the parser of a setting: its whole text must match `pattern`, and `made` gives the value."""
    def parse(text: str) -> Any:
        if not re.fullmatch(pattern, text):
            raise ValueError(complaint)
        return made(text)

    return parse


def each(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Make the parser of a list with commas between, each part of which `parse` reads."""
    def parse_parts(text: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(parse(part.strip()) for part in text.split(",")))

    return parse_parts


PORT = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"  # 1 to 65535
NOT_CLIMBING = r"(?!(?:.*/)?\.\.(?:/|$))"  # no part of the path that follows is ..
CONTROL = re.compile(r"[\0-\x1f\x7f]")

parse_path = matching("/.*", "must be an absolute path", Path)  # cron and systemd start us in another directory
parse_port = matching(PORT, "must be a whole number from 1 to 65535", int)
parse_number = matching("[0-9]{1,9}", "must be a whole number from 0 to 999999999", int)
parse_days = matching("[0-9]{1,5}", "must be a whole number from 0 to 99999", int)  # so that every date has a year
parse_level = matching("(?i)DEBUG|INFO|WARNING|ERROR", "must be DEBUG, INFO, WARNING or ERROR", str.upper)
parse_yes_no = matching("yes|no", "must be yes or no", lambda text: text == "yes")
RELATIVE = "must be paths inside APP_DIR, relative to it"
parse_names = each(matching(f"(?!/){NOT_CLIMBING}.+", RELATIVE, os.path.normpath))
parse_prom_file = matching(r"/.*[^/]\.prom", "must be an absolute path that ends in .prom, for node_exporter", Path)
# The address of a webhook or a ping: who knows it can write there.
parse_web_url = matching(
    rf'(?a)https?://(?:[\w.-]+|\[[\w:.]+\])(?::{PORT})?(?:[/?][!-"$-~]*)?',
    "must be https://HOST/... or http://HOST/..., with no user, space or # in it",
)
# sendmail also takes the bare name of a user of this machine.
parse_addresses = each(matching(r"(?a)(?!-)[\w.+'%=/~&-]+(?:@[\w.-]+)?", "must be e-mail addresses, with commas"))
# rclone's remote:path. No connection strings: they would show secrets in argv.
parse_remote = matching(rf":?\w[\w.+@ -]*:{NOT_CLIMBING}[^:]+", "must be remote:path, or several with commas between")


def parse_command(text: str) -> list[str]:
    """Read a command as a shell would split it. Raise ValueError where a quote has no end."""
    try:
        return shlex.split(text)
    except ValueError:
        raise ValueError("has a quote or a backslash without its end") from None


DATABASE_URL = re.compile(
    r"postgres(?:ql)?(?:\+\w+)?://(?:(?P<user>[^:/?#]*)(?::(?P<password>[^/?#]*))?@)?"
    rf"(?P<host>\[[^\]/?#@]*\]|[^][:/?#@,]*)(?::(?P<port>{PORT})?)?(?:/(?P<dbname>[^?#@]*))?(?:\?(?P<query>[^#@]*))?"
)
# libpq's parameters that a URL's query may carry, by the environment variable that says the same
# (https://www.postgresql.org/docs/15/libpq-envars.html).
URL_OPTIONS = {
    "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
    "ssl": "PGSSLMODE",  # asyncpg's word
    "sslcrl": "PGSSLCRL", "gssencmode": "PGGSSENCMODE", "channel_binding": "PGCHANNELBINDING", "options": "PGOPTIONS",
    "connect_timeout": "PGCONNECT_TIMEOUT", "application_name": "PGAPPNAME",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}  # fmt: skip


def parse_database_url(url: str) -> Connection:
    """Read postgresql://user:password@host:port/database?sslmode=... . Raise ValueError, never showing the password."""
    found = DATABASE_URL.fullmatch(url)
    if not found:
        raise ValueError("must be postgresql://USER:PASSWORD@HOST:PORT/NAME (write % @ / ? # as %25 %40 %2F %3F %23)")
    texts = found.groupdict("")
    query = dict(urllib.parse.parse_qsl(texts.pop("query"), keep_blank_values=True))
    parts = {name: urllib.parse.unquote(text) for name, text in texts.items()}
    parts["host"] = parts["host"].strip("[]")
    parts |= {name: query.pop(name) for name in ("host", "port") if name in query}
    unknown = sorted(query.keys() - URL_OPTIONS.keys())
    if unknown:
        raise ValueError(f"has a parameter that is not known: {', '.join(unknown)}")
    if CONTROL.search("".join([*parts.values(), *query.values()])):
        raise ValueError("holds a line break or control character, which no password file takes")
    return Connection(**parts, options=tuple((URL_OPTIONS[name], value) for name, value in query.items()))


class Recipients(NamedTuple):
    """To whom backups are sealed. Public keys alone: the server cannot read its own old backups."""

    method: str  # age or gpg; also the suffix of sealed archives
    keys: tuple[str, ...]


RECIPIENT_FORM = "must be age:age1... (never the secret key) or gpg:FINGERPRINT (all 40 digits), or several with commas"
FINGERPRINT = "(?:[0-9A-Fa-f] *){40}|(?:[0-9A-Fa-f] *){64}"  # 64 digits: a key of version 5
RECIPIENTS = {
    "age": each(matching("age1[0-9a-z]{8,}|ssh-(?:ed25519|rsa) [A-Za-z0-9+/=]{32,}", RECIPIENT_FORM)),
    "gpg": each(matching(FINGERPRINT, RECIPIENT_FORM, lambda text: text.replace(" ", "").upper())),
}


def parse_encrypt_to(text: str) -> Recipients:
    """Read age:RECIPIENT,... or gpg:FINGERPRINT,... ; a fingerprint may have spaces, as gpg shows it."""
    method, _, keys = text.partition(":")
    if method not in RECIPIENTS:
        raise ValueError(RECIPIENT_FORM)
    return Recipients(method, RECIPIENTS[method](keys))


def setting(parse: Callable[[str], Any], default: Any, *, secret: bool = False, off: Any = None) -> Any:
    """Declare a setting; its name is the field's in capitals. `off`: what an empty value means, if anything."""
    return field(default=default, repr=not secret, metadata={"parse": parse, "secret": secret, "off": off})


@dataclass(frozen=True)
class Settings:
    """Every setting, parsed. One line declares one; `.env.backup.example` explains each."""

    app_dir: Path = setting(parse_path, HERE)
    backup_dir: Path = setting(parse_path, DEFAULT_BACKUP_DIR)
    log_dir: Path = setting(parse_path, Path("/var/log/arrivapp"))
    log_level: str = setting(parse_level, "INFO")
    work_dir: Path | None = setting(parse_path, None)
    qr_codes_dir: str = setting(str, "qr_codes", off="")
    config_files: tuple[str, ...] = setting(
        parse_names, ("app/core/config.py", ".env", "requirements.txt", "docker-compose.yml"), off=()
    )
    db_host: str = setting(str, "")
    db_port: int = setting(parse_port, 0)
    db_name: str = setting(str, "")
    db_user: str = setting(str, "")
    db_password: str = setting(str, "", secret=True)
    database_url: Connection | None = setting(parse_database_url, None, secret=True)
    restore_database_url: Connection | None = setting(parse_database_url, None, secret=True)
    drill_database_url: Connection | None = setting(parse_database_url, None, secret=True)
    qr_codes_query: str = setting(str, "SELECT qr_code_path FROM students WHERE qr_code_path <> ''", off="")
    pg_bin_dir: Path | None = setting(parse_path, None)
    role_passwords: bool = setting(parse_yes_no, False)
    daily_retention: int = setting(parse_days, 7)
    weekly_retention: int = setting(parse_days, 30)
    monthly_retention: int = setting(parse_days, 365)
    min_keep: int = setting(parse_number, 3)
    keep_before_days: int = setting(parse_days, 7)
    lock_wait_seconds: int = setting(parse_number, 0)
    table_lock_seconds: int = setting(parse_number, 60)
    stall_seconds: int = setting(parse_number, 600)
    fingerprint_seconds: int = setting(parse_number, 60)
    restore_seconds: int = setting(parse_number, 0)
    metrics_file: Path | None = setting(parse_prom_file, None)
    status_page: Path | None = setting(parse_path, None)
    alert_on: str = setting(matching("failure|always", "must be failure or always"), "failure")
    alert_webhook_url: str = setting(parse_web_url, "", secret=True)
    alert_email_to: tuple[str, ...] = setting(parse_addresses, ())
    alert_email_from: tuple[str, ...] = setting(parse_addresses, ())
    smtp_host: str = setting(str, "")
    smtp_port: int = setting(parse_port, 0)
    smtp_tls: str = setting(matching("starttls|tls|no", "must be starttls, tls or no"), "starttls")
    smtp_user: str = setting(str, "")
    smtp_password: str = setting(str, "", secret=True)
    healthcheck_url: str = setting(parse_web_url, "", secret=True)
    notify_command: Sequence[str] = setting(parse_command, ())  # no shell ever runs it
    encrypt_to: Recipients | None = setting(parse_encrypt_to, None)
    decrypt_identity_file: Path | None = setting(parse_path, None)
    signing_key: str = setting(matching(".{32,}", "must have at least 32 characters"), "", secret=True)
    offsite_remotes: tuple[str, ...] = setting(each(lambda text: parse_remote(text).rstrip("/")), ())
    offsite_keep_days: int = setting(parse_days, 35)
    offsite_seconds: int = setting(parse_number, 14400)
    offsite_cleanup: bool = setting(parse_yes_no, False)
    # Not settings: what was worked out while loading.
    connection: Connection = Connection()
    env_file: Path | None = None
    flags: Mapping[str, str] = field(default_factory=dict)  # those of the command line
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
        """Give the environment for the programs we start: cron's PATH made usable, English, none of our secrets."""
        secret = {f.name.upper() for f in dataclasses.fields(self) if f.metadata.get("secret")}
        env = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in secret}
        env |= self.passed_on
        places = f"{env.get('PATH', '')}:/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin:/usr/sbin:/sbin".split(":")
        env["PATH"] = ":".join(dict.fromkeys(filter(None, places)))
        if not env.get("HOME") or not os.access(env["HOME"], os.X_OK):  # runuser keeps root's
            home = os.path.expanduser(f"~{user_name()}")
            env["HOME"] = home if home.startswith("/") else "/"
        return env | {"LC_ALL": "C", "LANGUAGE": "C", "PG_COLOR": "never"}

    def which(self, program: str) -> str | None:
        """Find a program on that PATH."""
        return shutil.which(program, path=self.env["PATH"])


FIELDS = {f.name.upper(): f for f in dataclasses.fields(Settings) if f.metadata}
SECRETS = tuple(name for name, f in FIELDS.items() if f.metadata["secret"])
SECRET_FILES = {f"{name}_FILE": name for name in SECRETS}
CONNECTION_NAMES = {"DB_NAME": "dbname"} | {f"DB_{key.upper()}": key for key in ("host", "port", "user", "password")}
PASSED_ON = re.compile("PG(?!_)|RCLONE_|AWS_|GNUPGHOME")  # the names that are for other programs begin so


def parse_env_lines(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield (name, value, complaint) for each statement of a .env file; nothing is expanded.

    By python-dotenv's parser and not by `dotenv_values`, which drops a line with an unclosed quote and only logs it.
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
        statement = binding.original.string
        first = binding.original.line + len(statement) - len(statement.lstrip("\n"))
        complaint = f"line {first} cannot be read (is a quote unclosed?)" if binding.error else ""
        if binding.key and binding.value is None:
            complaint = f"line {first}: {binding.key} has no '='"
        if binding.key or complaint:
            yield binding.key or "", binding.value or "", complaint


def check_private(path: Path) -> str:
    """Say what is wrong with the owner or mode of a file that holds secrets; '' where nothing is.

    It must be ours, root's or the script owner's (who is trusted already); root alone may hand it to a group.
    """
    facts = path.stat()
    if facts.st_uid not in (os.geteuid(), 0, Path(__file__).stat().st_uid):
        place = shlex.quote(str(path))  # root leaves it readable to the group of the user that it takes it from
        advice = f"chown root {place} && chmod 640 {place}" if os.geteuid() == 0 else f"chown {user_name()} {place}"
        return f"{path} belongs to another user: {advice}"
    allowed = 0o640 if facts.st_uid == 0 else 0o600
    if stat.S_IMODE(facts.st_mode) & 0o077 & ~allowed:
        return f"{path} can be read or changed by others: chmod 600 {shlex.quote(str(path))}"
    return ""


def read_private(path: Path, called: str, problems: list[str]) -> str:
    """Read a file that holds secrets; what is wrong with it goes to `problems`."""
    try:
        text, complaint = path.read_text(encoding="utf-8"), check_private(path)
    except (OSError, UnicodeError) as error:
        text, complaint = "", f"{path} cannot be read: {error}"
    if complaint:
        problems.append(f"{called} {complaint}")
    return text


def read_env_file(path: Path, problems: list[str]) -> dict[str, str]:
    """Read our settings file; every mistake goes to `problems`, by name."""
    values: dict[str, str] = {}
    for name, value, complaint in parse_env_lines(read_private(path, "the settings file", problems)):
        values[name] = value
        if not complaint and name not in FIELDS and name not in SECRET_FILES and not PASSED_ON.match(name):
            near = difflib.get_close_matches(name, FIELDS, n=1)
            complaint = f"unknown setting {printable(name)}" + (f" (did you mean {near[0]}?)" if near else "")
        if complaint:
            problems.append(f"{path}: {complaint}")
    return values


def parse_layer(layer: Mapping[str, str], origin: str, problems: list[str]) -> dict[str, Any]:
    """Parse one source of settings, with its files of secrets. An empty value counts only where it means 'off'."""
    parsed: dict[str, Any] = {}
    for given, text in layer.items():
        name = SECRET_FILES.get(given, given)
        if name not in FIELDS:
            continue
        if text and name != given:
            path, said = Path(text), len(problems)
            text = read_private(path, f"{origin}: {given}:", problems).rstrip("\r\n")
            if not text and len(problems) == said:
                problems.append(f"{origin}: {given}: {path} is empty: write the secret into it, or take {given} out")
            if layer.get(name):
                problems.append(f"{origin}: both {name} and {given} are set: keep one")
        meta = FIELDS[name].metadata
        if CONTROL.search(text):
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


def merge_connection(layers: Iterable[Mapping[str, Any]]) -> Connection:
    """Work out the connection from parsed layers, weakest first; within one layer DB_* beats DATABASE_URL.

    A URL replaces whatever is weaker, whole; and its password and options go only with its own host and user: one
    server's password is never sent to another.
    """
    result, from_url = Connection(), False
    for layer in layers:
        if "DATABASE_URL" in layer:
            result, from_url = layer["DATABASE_URL"], True
        parts = {key: str(layer[name]) for name, key in CONNECTION_NAMES.items() if name in layer}
        moved = any(parts.get(key, getattr(result, key)) != getattr(result, key) for key in ("host", "user"))
        if from_url and moved:
            result, from_url = dataclasses.replace(result, password="", options=()), False
        result, from_url = dataclasses.replace(result, **parts), from_url and "password" not in parts
    return result


def application_url(path: Path, complaints: list[str]) -> dict[str, Any]:
    """Read DATABASE_URL from the application's own .env, which is not ours: what is wrong there stops nothing."""
    try:
        lines = parse_env_lines(path.read_text("utf-8", "surrogateescape"))
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            complaints.append(f"{path} cannot be read: {error.strerror}")
        return {}
    found = {name: value for name, value, _ in lines if name == "DATABASE_URL"}
    if any("\udc80" <= letter <= "\udcff" for letter in "".join(found.values())):
        complaints.append(f"{path}: DATABASE_URL is not UTF-8")
        return {}
    return parse_layer(found, str(path), complaints)


def why_misplaced(settings: Settings) -> str:
    """Say why QR_CODES_DIR cannot be where it is: a restore replaces it whole. '' where it can."""
    codes, app, backups = (Path(os.path.realpath(path)) for path in
                           (settings.qr_codes_path, settings.app_dir, settings.backup_dir))  # fmt: skip
    what = ""
    if codes in (app, *app.parents):
        what = f"holds APP_DIR {app}"
    elif codes in (backups, *backups.parents) or backups in codes.parents:
        what = f"holds BACKUP_DIR {backups}, or lies in it"
    return f"QR_CODES_DIR={settings.qr_codes_dir} {what}: it must be the pictures' own directory" if what else ""


def load_settings(flags: Mapping[str, str], env_file: Path | None = None) -> Settings:
    """Load flags > environment > our settings file > DATABASE_URL of the application's .env.

    Raise UsageError that lists every mistake by name. A settings file that was named must exist; the one beside the
    script may be absent.
    """
    problems: list[str] = []
    path = env_file or HERE / ".env.backup"
    from_file = read_env_file(path, problems) if env_file or os.path.lexists(path) else {}
    sources = [(str(path), from_file), ("environment", os.environ), ("command line", flags)]
    layers = [parse_layer(layer, origin, problems) for origin, layer in sources]
    merged = layers[0] | layers[1] | layers[2]
    passed_over: list[str] = []
    layers.insert(0, application_url(merged.get("APP_DIR", HERE) / ".env", passed_over))
    if problems:
        raise UsageError("\n".join(problems))
    connection = merge_connection(layers)
    for complaint in passed_over if connection == Connection() else ():
        log.warning("%s (so it names no database here)", complaint)
    passed_on = {name: value for name, value in {**from_file, **os.environ}.items() if PASSED_ON.match(name)}
    secret_values = {value for name, value in passed_on.items() if re.search("PASSWORD|SECRET|TOKEN|KEY|_PASS$", name)}
    given = [layer[name] for layer in layers for name in SECRETS if name in layer]
    secret_values |= {value.password if isinstance(value, Connection) else value for value in given}
    settings = Settings(
        **{name.lower(): value for name, value in merged.items()},
        connection=connection,
        env_file=path if from_file else None,
        flags=flags,
        passed_on=passed_on,
        secret_values=tuple(sorted((value for value in secret_values if len(value) > 3), key=len, reverse=True)),
    )
    if settings.qr_codes_dir and (misplaced := why_misplaced(settings)):
        raise UsageError(misplaced)
    return settings


# ==== 3. Programs =====================================================================================================

LAST_WORDS = 16384  # bytes of stderr kept per program
LONG_LINE = re.compile(rb"([^\n]{2000})[^\n]+")  # as when pg_dump shows the query that failed, with every table in it
GRACE_SECONDS = 10  # between SIGTERM and SIGKILL


_held_signals: list[int] | None = None  # those that came while a program was started; None: they stop us at once


def stop_on_signal(number: int, frame: Any) -> None:
    """Raise Stopped for a signal, but not between the start of a program and its entry among those to be stopped."""
    if _held_signals is None:
        raise Stopped(number)
    _held_signals.append(number)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let the signals that stop us wait for the end of the block. Only the main thread is ever interrupted by them."""
    global _held_signals
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _held_signals = []
    try:
        yield
    finally:
        held, _held_signals = _held_signals, None
        if held:
            raise Stopped(held[0])


def _start(command: Sequence[str | Path], started: list[subprocess.Popen[bytes]], **popen: Any) -> None:
    """Start one program and note it in `started`. It has a process group of its own: ^C reaches it only through us."""
    argv = [str(part) for part in command]
    log.debug("run: %s", shlex.join(argv))
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if setpriv and Path(setpriv).resolve().name == "setpriv":  # busybox's knows no --pdeathsig
        argv = [setpriv, "--pdeathsig", "TERM", "--", *argv]  # so that it ends with us when we are killed with -9
    try:
        with signals_held():
            started.append(subprocess.Popen(argv, process_group=0, **popen))
    except FileNotFoundError:
        raise BackupError(f"the program {command[0]} is not there: install it, or correct PATH") from None


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


def _last_words(stderr: bytes) -> str:
    """Give the end of what a program said, of a long line only the beginning."""
    return LONG_LINE.sub(rb"\1...", stderr)[-LAST_WORDS:].decode("utf-8", "replace")


def _pump(routes: Mapping[int, Callable[[bytes], object]], stall: float, limit: float, name: str) -> None:
    """Hand on what all descriptors give. Raise BackupError after `stall` silent seconds or `limit` in all; 0: never."""
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
                moved = time.monotonic()
            now = time.monotonic()
            if stall and now - moved > stall:
                raise BackupError(f"{name} moved no byte for {stall:.0f} s (STALL_SECONDS) and was stopped: "
                                  "does the server or a disk hang?")  # fmt: skip
            if limit and now - started > limit:
                raise BackupError(f"{name} took longer than {limit:.0f} s and was stopped")


def _blame(error: ProgramError) -> int:
    """Rank a failed member of a pipeline: the cause comes before the broken pipes around it."""
    if error.returncode == -signal.SIGPIPE or "Broken pipe" in error.stderr:
        return 2
    return 0 if error.returncode < 0 else 1


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
    names = [Path(command[0]).name for command in commands]
    outputs = [subprocess.PIPE] * (len(commands) - 1) + [subprocess.PIPE if sink else stdout]
    words = [bytearray() for _ in commands]
    upstream: Any = stdin
    try:
        for command, name, output in zip(commands, names, outputs):
            kept = () if name == "gpg" else keep_fds  # its agent is a daemon that would keep them for ever
            _start(command, processes, stdin=upstream, stdout=output, stderr=subprocess.PIPE, env=env, pass_fds=kept)
            if len(processes) > 1:
                upstream.close()  # or the one before would never see that its reader died
            upstream = processes[-1].stdout
        routes: dict[int, Callable[[bytes], object]] = {p.stderr.fileno(): w.extend for p, w in zip(processes, words)}
        if sink:
            routes[upstream.fileno()] = sink
        _pump(routes, stall, limit, names[0])
        for process in processes:
            process.wait()
    finally:
        _stop(processes)
        for stream in (s for p in processes for s in (p.stdout, p.stderr) if s):
            stream.close()
    said = [_last_words(word) for word in words]
    ended = zip(names, processes, said)
    failed = [ProgramError(name, process.returncode, text) for name, process, text in ended if process.returncode]
    if failed:
        raise min(failed, key=_blame)
    return "".join(said)


def run(command: Sequence[str | Path], *, env: Mapping[str, str], limit: float = 60, **options: Any) -> str:
    """Run one program and give its stdout. Raise ProgramError if it fails, BackupError after `limit` seconds."""
    output = bytearray()
    pipeline([command], env=env, sink=output.extend, limit=limit, **options)
    return output.decode("utf-8", "replace")


PSQL_FLAGS = ("-X", "-q", "-w", "-v", "ON_ERROR_STOP=1")  # always: without the last, half a file would exit 0


class Psql:
    """A psql that is fed through its stdin: one process and one login for many queries. Made by `session`."""

    def __init__(self, process: subprocess.Popen[bytes], words: BinaryIO) -> None:
        self._process, self._words = process, words
        self._token = secrets.token_hex(16)

    def failure(self) -> ProgramError:
        """Give what psql said of a failure, the reason last."""
        self._words.seek(0)
        said = re.sub(r"^psql:<stdin>:\d+: ", "", _last_words(self._words.read()), flags=re.MULTILINE)
        errors = re.findall(r"^(?:ERROR|FATAL|psql: error).*", said, re.MULTILINE)
        return ProgramError("psql", self._process.poll() or 3, "\n".join([said, *errors[-1:]]))

    def send(self, sql: str) -> None:
        """Start a query; `receive` waits for it, and tells of a psql that has ended."""
        text = f"{sql.rstrip().rstrip(';')}\n;\n\\echo {self._token}\n"
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(text.encode("utf-8", "surrogateescape"))
            self._process.stdin.flush()

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
                self._process.wait(GRACE_SECONDS)
                raise self.failure()
            output += chunk
        text = output[: -len(end)].decode("utf-8", "surrogateescape")
        return list(csv.reader(io.StringIO(text, newline="")))

    def rows(self, sql: str, seconds: float = 60) -> list[list[str]]:
        """Run a query and give its rows. `seconds` 0 waits for ever."""
        self.send(sql)
        return self.receive(seconds)


@contextlib.contextmanager
def session(psql: Path, env: Mapping[str, str]) -> Iterator[Psql]:
    """Open a psql fed through its stdin."""
    command = [psql, *PSQL_FLAGS, "-t", "--csv"]
    env = {**env, "PGCLIENTENCODING": "UTF8"}
    csv.field_size_limit(1 << 30)  # a database's facts are one field
    with tempfile.TemporaryFile() as words:  # not a pipe: a script's notices would fill it and hang both sides
        started: list[subprocess.Popen[bytes]] = []
        try:
            _start(command, started, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, env=env)
            yield Psql(started[0], words)
        finally:
            for process in started:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=0.5)  # a psql whose input ended ends by itself
                _stop([process])
                process.stdout.close()


def quote_name(name: str) -> str:
    """Quote an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Quote an SQL string, whatever standard_conforming_strings says."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f" E'{escaped}'" if "\\" in text else f"'{escaped}'"


POSTGRES_PLACES = (
    "usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/libpq/bin", "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/libpq/bin", "usr/local/opt/postgresql@*/bin", "Applications/Postgres.app/Contents/Versions/*/bin",
)  # fmt: skip


def postgres_programs(name: str, settings: Settings) -> list[Path]:
    """List the PostgreSQL programs of a name, most wanted first: PG_BIN_DIR alone, else PATH and the usual places."""
    places = [Path(place) for place in settings.env["PATH"].split(":")]
    places += [found for pattern in POSTGRES_PLACES for found in sorted(Path("/").glob(pattern), reverse=True)]
    programs = [place / name for place in ([settings.pg_bin_dir] if settings.pg_bin_dir else dict.fromkeys(places))]
    # Debian's /usr/bin/pg_dump is a Perl wrapper that chooses a version by its own rules.
    return [path for path in programs if shutil.which(path) and path.resolve().name != "pg_wrapper"]


@functools.lru_cache(maxsize=None)
def program_version(path: Path) -> tuple[int, int]:
    """Ask a PostgreSQL program for its (major, minor) version; (0, 0) where it gives none."""
    try:
        found = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", run([path, "--version"], env=os.environ, limit=20))
    except (BackupError, OSError):
        return (0, 0)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def install_advice(major: int) -> str:
    """Name the command that installs the client programs of a major."""
    if sys.platform == "darwin":
        return f"brew install postgresql@{major}"
    return f"apt install postgresql-client-{major} (from apt.postgresql.org where the distribution lacks it)"


def postgres_program(name: str, major: int, settings: Settings, connection: Connection) -> Path:
    """Choose a program of the server's major: an older pg_dump refuses, a newer pg_restore emits unknown settings."""
    majors = {path: program_version(path)[0] for path in postgres_programs(name, settings)}
    for path, found in majors.items():
        if found == major:
            return path
    have = ", ".join(f"{path} ({found or 'gives no version'})" for path, found in majors.items()) or "none"
    where = f" in PG_BIN_DIR={settings.pg_bin_dir}" if settings.pg_bin_dir else ""
    server = f"the server is PostgreSQL {major} ({connection}) and needs {name} {major}"
    raise BackupError(f"{server}; found{where}: {have}. Install it: {install_advice(major)}")


def postgres_environment(connection: Connection, env: Mapping[str, str], work: Path) -> dict[str, str]:
    """Give the environment by which libpq reaches a connection; the password goes to a private file in `work`.

    Names travel here and never in argv, where a database called `-x` is an option and `a=b` a connection string.
    """
    ours = {name: text for name, text in connection.variables.items() if text}
    env = {"PGCONNECT_TIMEOUT": "10", "PGAPPNAME": "arrivapp-backup", **env, **ours, **dict(connection.options)}
    env.pop("PGCLIENTENCODING", None)  # it would recode the dump
    if ours:
        env.pop("PGSERVICE", None)  # a service file would beat the variables
    if connection.host:
        env.pop("PGHOSTADDR", None)
    if connection.password:
        env.pop("PGPASSWORD", None)
        passfile = work / f"pgpass-{secrets.token_hex(4)}"
        escaped = connection.password.replace("\\", "\\\\").replace(":", "\\:")
        with open(os.open(passfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(f"*:*:*:*:{escaped}\n".encode())
        return env | {"PGPASSFILE": str(passfile)}
    passfile = Path(env.get("PGPASSFILE") or Path(env["HOME"], ".pgpass"))
    if not env.get("PGPASSWORD") and os.access(passfile, os.R_OK) and passfile.stat().st_mode & 0o077:
        private = shlex.join(["chmod", "600", str(passfile)])
        raise BackupError(f"libpq ignores {passfile}, because others can read it: {private}")
    return env


# What a PostgreSQL program says -> the next step. First match wins.
NOT_READY = "starting up|shutting down|recovery mode"
UNREACHABLE = "Connection refused|to server.*No such file or directory|could not translate host name|timeout expired"
ADVICE = {
    "password authentication failed|no password": "check DB_USER and DB_PASSWORD, or DATABASE_URL, in .env.backup",
    'database ".*" does not exist': "check DB_NAME; `psql -l` lists the databases there",
    'role ".*" does not exist': "check DB_USER, or restore the roles first: restore --backup ID --only roles",
    r'unsupported version|unrecognized configuration parameter "\w+"':
        "a newer PostgreSQL made it: restore on that major or newer",
    "no pg_hba.conf entry": "the server does not let this user in from here: add a line to its pg_hba.conf",
    UNREACHABLE: "is PostgreSQL running there? Check DB_HOST and DB_PORT with pg_isready, the network and the firewall",
    NOT_READY: "the server is not ready yet: try again in a minute",
    "row-level security": "the backup role needs BYPASSRLS: ALTER ROLE ... BYPASSRLS",
    "shared memory|max_locks_per_transaction": "raise max_locks_per_transaction on the server (to 256) and restart it",
    "permission denied to create database":
        "the role needs CREATEDB, or set RESTORE_DATABASE_URL (for a drill DRILL_DATABASE_URL) to one that has it",
    "Peer authentication failed": "run this as the system user of that name, or set DB_HOST=localhost and a password",
    "root certificate|does not match host name|certificate verify failed":
        "correct sslmode and sslrootcert in the URL, or PGSSLMODE and PGSSLROOTCERT",
    "permission denied for large object": "only their owner or a superuser can dump large objects: let one back up",
    'permission denied for database "(postgres|template1)': "GRANT CONNECT ON DATABASE postgres TO it",
    "read-only transaction": "this role or server only reads: set RESTORE_ or DRILL_DATABASE_URL to another",
    "process is being terminated|terminate (superuser )?process|SUPERUSER attribute may terminate":
        "close the sessions of other roles in that database, or set RESTORE_DATABASE_URL to a superuser",
    "permission denied|must be (?:an? )?(?:owner|superuser|member|able to SET ROLE)":
        "for a backup, GRANT pg_read_all_data TO it; else set RESTORE_ or DRILL_DATABASE_URL to an administrator",
    'default_tablespace|tablespace ".*" does not exist':
        "CREATE TABLESPACE it on this server first, or restore by hand with pg_restore",
    'type ".*" does not exist': "the database lacks a type of the backup: create it, or restore all by --database NAME",
    "is being accessed by other users":
        "see SELECT * FROM pg_prepared_xacts (COMMIT PREPARED or ROLLBACK PREPARED ends one) and pg_stat_activity",
    "No space left": "the server's disk is full: free space there",
}  # fmt: skip
TRANSIENT = f"{NOT_READY}|too many clients|Connection refused|Temporary failure in name|the database system is not"
RETRIES = (1.0, 2.0, 4.0)  # seconds between tries to reach a server that may be restarting


def postgres_failure(error: ProgramError, connection: Connection) -> BackupError:
    """Turn a program's failure into one line: program, reason, where, next step."""
    lines = re.findall(r"^.*(?:FATAL|ERROR|error:|failed|closed the connection).*", error.stderr, re.MULTILINE)
    last = dict.fromkeys(re.sub(r"^\s*(?:\w+: (?:error|detail): )?", "", line) for line in lines[-2:])
    reason = "; ".join(last) if last and error.returncode > 0 else str(error).partition(" ")[2]
    known = (text for pattern, text in ADVICE.items() if re.search(pattern, error.stderr))
    advice = next(known, "look it up in BACKUP_README.md, Troubleshooting")
    return BackupError(f"{error.program}: {printable(reason)} ({connection}). Next: {advice}")


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
    """Flush a file to the medium. A failure is never retried: the kernel may have dropped the dirty pages already."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # macOS's fsync leaves data in the drive's cache (fsync(2) there)
    except (AttributeError, OSError) as error:  # another system, or a file system that does not have it
        unknown = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL)
        if isinstance(error, OSError) and error.errno not in unknown:
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
    """Write a file (0600) whose name appears only when its bytes are durable; on any exception nothing is left."""
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
    """Make a path that is being published a further name of `other`, if the bytes of that still have this hash.

    No more than SHARED_BY names have one file, for what harms it harms all. Where links cannot be made, the copy stays.
    """
    partial = path.with_name(f".{path.name}.partial")
    link = path.with_name(f".{path.name}.link.partial")
    try:
        with contextlib.suppress(OSError), open(os.open(other, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
            few = os.fstat(stream.fileno()).st_nlink < SHARED_BY
            if few and hashlib.file_digest(stream, "sha256").hexdigest() == sha256:
                os.link(other, link, follow_symlinks=False)
                os.rename(link, partial)
    finally:
        link.unlink(missing_ok=True)


def require_space(path: Path, needed: int, purpose: str, inodes: int = 10) -> None:
    """Raise BackupError with both figures where a file system cannot hold `needed` bytes and a few files more."""
    facts, free = os.statvfs(path), shutil.disk_usage(path).free
    if free < needed:
        raise BackupError(f"not enough space in {path} for {purpose}: about {human_size(needed)} needed, "
                          f"{human_size(free)} free: free some")  # fmt: skip
    if facts.f_files and facts.f_favail < inodes:
        raise BackupError(f"not enough inodes in {path} for {purpose}: {inodes} needed, {facts.f_favail} free")


def disk_failure(error: OSError, path: Path, needed: int) -> BackupError:
    """Turn a failed write into one line that names the limit that was hit."""
    limits = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up",
              errno.EROFS: "the file system is read-only", errno.EIO: "the disk reports an input/output error",
              errno.EFBIG: "the limit for a file's size is reached (ulimit -f)"}  # fmt: skip
    reason = limits.get(error.errno or 0, error.strerror or str(error))
    sizes = f"{human_size(shutil.disk_usage(path).free)} free, about {human_size(needed)} needed"
    return BackupError(f"cannot write in {path}: {reason} ({sizes}); it was not kept")


def check_backup_dir(directory: Path, make: bool = True) -> None:
    """Make sure that backups may be written here. Raise BackupError with the commands that put it right.

    Only the default directory is ever made: without the marker, a mount that is gone would be a full root disk.
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
        read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
        why = "its file system is read-only" if read_only else "this user may not write there"
        raise BackupError(f"BACKUP_DIR {directory} cannot be written: {why}")
    if not (directory / MARKER).exists():
        raise BackupError(f"BACKUP_DIR {directory} has no marker file {MARKER}. If a disk should be mounted there, "
                          f"mount it; if this is the place: {advice}")  # fmt: skip
    for name in sorted(set(DIRECTORIES.values())):
        if make and not (directory / name).is_dir():
            make_directory(directory / name)


@contextlib.contextmanager
def locked(directory: Path, command: str, wait_seconds: int = 0) -> Iterator[int]:
    """Hold the lock of a BACKUP_DIR and give its descriptor, which the programs inherit; else raise LockedError.

    The kernel drops it with its last holder, so it cannot be stale; what the file says is for people.
    """
    path = directory / ".lock"
    deadline = time.monotonic() + max(1, wait_seconds)  # a second: the holder may be about to write its name
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b", buffering=0) as stream:
        adopt(stream.fileno(), directory)
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = printable(stream.read(200).decode("utf-8", "replace").strip())
                    raise LockedError(f"another run holds the lock {path}: {holder}. "
                                      "Wait for it, or set LOCK_WAIT_SECONDS") from None  # fmt: skip
                time.sleep(0.2)
        try:
            stream.truncate(0)
            with contextlib.suppress(OSError):  # on a full disk the name is missing, the lock holds all the same
                stream.write(f"pid {os.getpid()}, {command}, since {local_time(utc_now())}\n".encode())
            yield stream.fileno()
        finally:
            stream.truncate(0)


@contextlib.contextmanager
def workspace(base: Path | None, owner: Path | None = None) -> Iterator[Path]:
    """Give a private directory (0700) in `base`, else in /tmp, for passwords and unpacked dumps; removed at the end.

    Who holds the lock of the BACKUP_DIR `owner` first removes what its dead runs left in `base`. What was made there or
    in /tmp without a lock, as verify does for what it unseals, is a leftover after a day.
    """
    if base and not base.is_dir():
        raise BackupError(f"WORK_DIR {base} is not there: make it, or correct WORK_DIR")
    unowned = ".work-opened-"
    prefix = f".work-{hashlib.sha256(os.fsencode(owner.resolve())).hexdigest()[:8]}-" if owner else unowned
    places = {base, Path(tempfile.gettempdir())} if base and owner else ()
    for leftover in (found for place in places for found in place.glob(".work-*")):
        with contextlib.suppress(FileNotFoundError):
            facts = leftover.lstat()
            old = time.time() - facts.st_mtime > 86400 and (leftover.parent == base or facts.st_uid == os.geteuid())
            lost = leftover.name.startswith(unowned) or leftover.parent == owner  # the latter: BACKUP_DIR was moved
            if leftover.name.startswith(prefix) or (lost and old):
                log.info("removing %s, left by a run that died", leftover)
                shutil.rmtree(leftover, ignore_errors=True)
                if os.path.lexists(leftover):
                    log.warning("%s could not be removed, and may hold an unpacked dump: remove it as root", leftover)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=base, ignore_cleanup_errors=True) as work:
        yield Path(work)


class TarStream(gzip.GzipFile):
    """What tarfile reads from; it remembers the last read, for tarfile takes a damaged header for the archive's end."""

    last = b""

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes, which must be given; a long name's header is read whole: not one of over 16 MiB."""
        if size is None or not 0 <= size <= 16 * MIB:
            raise DamageError(f"{self.name}: a tar header claims {size} bytes: refused")
        self.last = super().read(size)
        return self.last


def why_refused(member: tarfile.TarInfo, seen: Mapping[str, bool]) -> str:
    """Say why a tar member may not be unpacked; '' if it may. `seen`: is a name before it a directory."""
    parts, plain = member.name.split("/"), os.path.normpath(member.name)
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or member.issparse():
        return "is neither a file nor a directory"
    climbing = member.name.startswith("/") or ".." in parts or "\0" in member.name
    if climbing or member.name.rstrip("/") not in (plain, f"./{plain}"):
        return "has an unsafe name"
    possible = member.size >= 0 and abs(member.mtime) < 1 << 40 and {member.uid >> 32, member.gid >> 32} == {0}
    if not possible or max(len(os.fsencode(part)) for part in parts) > 255:
        return "has a name, size, time or owner that no file has"
    if any(seen.get(str(parent)) is False for parent in Path(plain).parents):
        return "lies below a file"
    again = plain in seen and not (seen[plain] and member.isdir())
    if again or len(seen) >= MAX_MEMBERS or len(parts) > MAX_DEPTH:
        return "is a duplicate, too deep or one too many"
    return ""


def tar_members(path: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield the members of a .tar.gz and read it to its very end, with memory that does not grow. Raise DamageError.

    (tarfile's own `data` filter has been bypassed four times, and it stops before the gzip checksum: reading all
    members missed 498 of 500 bit flips, measured.)
    """
    seen: dict[str, bool] = {}
    try:
        with TarStream(path, "rb") as stream:
            with tarfile.open(fileobj=stream, mode="r:", errors="surrogateescape", encoding="utf-8") as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()
                    refused = why_refused(member, seen)
                    if refused:
                        shown = printable(member.name[:200])
                        raise DamageError(f"{path.name}: member {shown!r} {refused}: refused, nothing was unpacked")
                    plain = Path(os.path.normpath(member.name))
                    seen |= {str(parent): True for parent in list(plain.parents)[:-1]} | {str(plain): member.isdir()}
                    yield tar, member
            if stream.last != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"the header at byte {tar.offset} is not one")
            while rest := stream.read(MIB):
                if rest.strip(b"\0"):
                    raise tarfile.ReadError("something stands behind its end")
        if not seen:
            raise tarfile.ReadError("it is empty")
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError) as error:
        raise DamageError(f"{path.name} is damaged: {error}") from None


def check_tar(path: Path) -> tuple[int, int]:
    """Read a .tar.gz to its very end; give its files and their bytes."""
    files = size = 0
    for _, member in tar_members(path):
        files += member.isreg()
        size += member.size
    return files, size


def status_of(path: Path) -> os.stat_result | None:
    """Give a path's own status, None where there is nothing."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def set_owner_and_mode(descriptor: int, member: tarfile.TarInfo, live: Path) -> None:
    """Give a restored file or directory the owner and mode of what it is to replace, else those of the tar header.

    By its descriptor: who may write in the directory above could put a link in the place of its name.
    """
    uid, gid, mode = member.uid, member.gid, member.mode
    replaced = status_of(live)
    if replaced and not stat.S_ISLNK(replaced.st_mode):  # a link's mode says nothing
        uid, gid, mode = replaced.st_uid, replaced.st_gid, replaced.st_mode
    else:
        with contextlib.suppress(KeyError):  # a new server may number its users differently; the name counts
            uid = pwd.getpwnam(member.uname).pw_uid
        with contextlib.suppress(KeyError):
            gid = grp.getgrnam(member.gname).gr_gid
    if os.geteuid() == 0:
        os.chown(descriptor, uid, gid)
    both = member.isdir() and replaced and stat.S_ISDIR(replaced.st_mode)
    os.chmod(descriptor, mode & (0o2777 if both else 0o777))  # new files take a setgid directory's group
    for name in ("access", "default") if replaced and sys.platform == "linux" else ():  # else its mask is the group's
        with contextlib.suppress(OSError):
            acl = os.getxattr(live, f"system.posix_acl_{name}", follow_symlinks=False)
            os.setxattr(descriptor, f"system.posix_acl_{name}", acl)


def unpack_tar(path: Path, into: Path, live: Path) -> int:
    """Unpack a .tar.gz into the fresh directory `into`, with owners and modes of their like in `live`; count the files.

    The whole archive is checked before the first byte is written; nothing is followed or overwritten.
    """
    files, size = check_tar(path)
    require_space(into, size, f"the content of {path.name}", inodes=files + 10)
    directories: list[tarfile.TarInfo] = []
    for tar, member in tar_members(path):
        target = into / member.name
        (target if member.isdir() else target.parent).mkdir(mode=0o755, parents=True, exist_ok=True)
        if member.isdir():
            directories.append(member)
            continue
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as out:
            shutil.copyfileobj(tar.extractfile(member), out, MIB)
            set_owner_and_mode(out.fileno(), member, live / member.name)
        os.utime(target, (member.mtime, member.mtime), follow_symlinks=False)
    if all(os.path.normpath(member.name) != "." for member in directories):  # a tar that was made by hand
        directories.insert(0, tarfile.TarInfo("."))
        directories[0].type, directories[0].mode = tarfile.DIRTYPE, 0o755
    for member in reversed(directories):  # last, because a directory may be read-only
        descriptor = os.open(into / member.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            set_owner_and_mode(descriptor, member, live / member.name)
        finally:
            os.close(descriptor)
    os.sync()
    return files


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


def read_swap(note: Path) -> tuple[Path, Path, Path]:
    """Read the note of a directory swap: what is new, the live name, and where what was live is kept.

    Raise ValueError unless they stand side by side under the names that a restore gives. Else root would rename and
    remove what whoever may write in BACKUP_DIR likes.
    """
    swap = json.loads(note.read_text("utf-8"))
    new, live, before = (Path(swap[key]) for key in ("new", "live", "before"))
    name, when = re.escape(live.name), r"\d{8}T\d{6}Z"
    kept, fresh = rf"{name}\.before-{when}", rf"\.{name}\.restoring-{when}"
    named = re.fullmatch(kept, before.name) and re.fullmatch(f"{kept}|{fresh}", new.name)
    if not named or not live.is_absolute() or {new.parent, before.parent} != {live.parent}:
        raise ValueError("not a swap of ours")
    return new, live, before


def finish_swap(note: Path) -> None:
    """Finish a directory swap that was cut off between its two renames; clear away one that never began."""
    if not note.exists():
        return
    try:
        new, live, before = read_swap(note)
        cut_off = not status_of(live) and status_of(before)
        ready = new if status_of(new) else before
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        advice = "run a backup once as root, or look whether a directory *.before-* must be renamed back, and remove it"
        raise BackupError(f"{note} cannot be read, or its places cannot be seen ({error}): {advice}") from None
    if cut_off:
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
    for path in (settings.app_dir / name for name in settings.config_files):
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.before-????????T??????Z.partial"):
            leftover.unlink(missing_ok=True)


# ==== 5. Archives and the catalog =====================================================================================

ABSENT = types.EllipsisType  # `...` stands for a field that is not there
SIDECAR_FIELDS: Mapping[str, tuple[type, ...]] = {
    "version": (int,), "id": (str,), "kind": (str,), "file": (str,), "size_bytes": (int,), "sha256": (str,),
    "created_at": (str,), "duration_seconds": (int, float), "kinds": (list,), "host": (str,), "tool_version": (str,),
    "raw_bytes": (int, ABSENT), "file_count": (int, ABSENT), "names": (list, ABSENT),
    "encryption": (dict, types.NoneType, ABSENT),
    **dict.fromkeys("extensions properties objects locale tables sequences symlinks skipped".split(), (dict, ABSENT)),
    **dict.fromkeys("partial shrunk database server_version encoding source_dir signature".split(), (str, ABSENT)),
}  # fmt: skip
SIDECAR_LIMIT = 8 * MIB  # 12,000 tables with a sequence each take 1 MiB
ARCHIVE_NAME = re.compile(r"(arrivapp_db|arrivapp_roles|qr_codes|config)_(\d{8}T\d{6}Z)"
                          r"\.(?:dump|sql|tar)\.(?:zst|gz)(?:\.(?:age|gpg))?", re.ASCII)  # fmt: skip


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
    drill: Mapping[str, Any] = field(default_factory=dict)  # the journal's last, if it found it identical

    @property
    def moment(self) -> datetime.datetime:
        """Give the start of the run."""
        return parse_time(self.id)

    @functools.cached_property
    def good(self) -> frozenset[str]:
        """Give the kinds of which it holds a good archive."""
        return frozenset(kind for kind, archive in self.archives.items() if not archive.problem)

    @property
    def shrunk(self) -> bool:
        """Tell whether any of its archives shrank, which nobody has accepted yet."""
        return any(archive.shrunk for archive in self.archives.values())

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
    sidecar = STRICT_JSON.decode(data.decode())
    if type(sidecar) is not dict:
        raise ValueError("not a JSON object")
    for key, types_ in SIDECAR_FIELDS.items():
        if type(sidecar.get(key, ...)) not in types_:
            raise ValueError(f"{key} is missing or of the wrong type")
    numbers = (sidecar["size_bytes"], sidecar["duration_seconds"], sidecar.get("raw_bytes", 0),
               sidecar.get("objects", {}).get("tables", 0))  # fmt: skip
    texts = (*sidecar["kinds"], *sidecar.get("names", ()), *sidecar.get("symlinks", {}).values())
    possible = {*map(type, numbers)} <= {int, float} and 0 <= min(numbers) and max(numbers) < 1 << 63
    if not possible or {*map(type, texts)} - {str}:
        raise ValueError("a name or a number is impossible")
    for entry in sidecar.get("tables", {}).values():
        fits = type(entry) is dict and type(entry.get("rows")) is int
        if not fits or type(entry.get("hash")) not in (str, types.NoneType):
            raise ValueError("a fingerprint is impossible")
    if not 1 <= sidecar["version"] <= SIDECAR_VERSION:
        raise ValueError(f"version {sidecar['version']} is not known here (a newer tool wrote it?)")
    named = ARCHIVE_NAME.fullmatch(sidecar["file"])
    if not named or named.groups() != (STEMS.get(sidecar["kind"]), sidecar["id"]) or f"{named[0]}.json" != name:
        raise ValueError("file, id, kind and the sidecar's own name do not belong together")
    parse_time(sidecar["id"])
    if not re.fullmatch("[0-9a-f]{64}", sidecar["sha256"]):
        raise ValueError("sha256 is impossible")
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


def read_archive(path: str, key: str, damage: str = "", verified: str = "", accepted: str = "") -> Archive:
    """Read the sidecar at `path`; look whether the stored file is there and as long as it was, and the signature right.

    The journal adds what verify found, and up to which id a shrink was accepted. Raise ValueError saying what is wrong
    with the sidecar, FileNotFoundError if it has vanished.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            data = os.read(descriptor, min(SIDECAR_LIMIT, os.fstat(descriptor).st_size) + 1)
        finally:
            os.close(descriptor)
        sidecar = parse_sidecar(data, path.rpartition("/")[2])
        forged = why_forged(sidecar, key)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(error.strerror) from None
    file, problem = path.removesuffix(".json"), forged or sidecar.get("partial", "")
    shrunk = sidecar.get("shrunk", "") if sidecar["id"] > accepted else ""
    try:
        size = os.lstat(file).st_size
        if size != sidecar["size_bytes"]:
            problem = f"{size} bytes instead of {sidecar['size_bytes']}"
    except FileNotFoundError:
        problem = "lost: the archive is gone"
    return Archive(sidecar["kind"], sidecar["id"], file, sidecar["size_bytes"], sidecar["sha256"],
                   float(sidecar["duration_seconds"]), tuple(sidecar["kinds"]), data, problem or damage,
                   shrunk, verified, forged)  # fmt: skip


def write_journal(backup_dir: Path, entry: Mapping[str, Any]) -> None:
    """Append one line to the journal."""
    line = json.dumps({"time": utc_now().isoformat(timespec="seconds"), **entry}) + "\n"
    descriptor = os.open(backup_dir / "journal.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "ab") as stream:  # buffered: that goes on after the short write of a disk that fills
        adopt(descriptor, backup_dir)
        size = os.fstat(descriptor).st_size
        torn = os.pread(descriptor, 1, max(0, size - 1)) not in (b"", b"\n")  # a run died in its line
        stream.write(b"\n" * torn + line.encode())
        stream.flush()
        os.fsync(descriptor)


def read_journal(backup_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield the journal's entries, oldest first; a line that cannot be read is passed over."""
    with contextlib.suppress(OSError), (backup_dir / "journal.jsonl").open("rb") as stream:
        for line in stream:
            with contextlib.suppress(ValueError, RecursionError):
                entry = json.loads(line)
                moment = parse_time(str(entry.get("time"))) if isinstance(entry, dict) else None
                if moment and moment.tzinfo and 1970 < moment.year < 9999:
                    yield entry


def id_moment(value: object) -> datetime.datetime | None:
    """Read what should be a set's id, in the journal or in a file's name; None where it is none."""
    with contextlib.suppress(ValueError):
        return parse_time(value) if isinstance(value, str) and re.fullmatch(r"[12]\d{7}T\d{6}Z", value) else None
    return None


def journal_marks(backup_dir: Path) -> tuple[dict[str, tuple[str, str]], dict[str, dict[str, Any]], str]:
    """Read each file's last verdict (problem, time if good), each set's last drill, the last id accepted as shrunk."""
    marks, drills, accepted, now = {}, {}, "", utc_now().strftime(ID_FORMAT)
    for entry in read_journal(backup_dir):
        if entry.get("command") in ("verify", "drill", "pull") and isinstance(entry.get("archives"), dict):
            found = entry["archives"].items()
            marks |= {name: (str(problem), "" if problem else entry["time"]) for name, problem in found}
        seconds = entry.get("seconds")
        if entry.get("command") == "drill" and isinstance(seconds, (int, float)) and 0 <= seconds < 1e9:
            drills[str(entry.get("id"))] = entry
        if entry.get("command") == "accept" and str(entry.get("id")) <= now:  # not what a clock ahead has dated
            accepted = max(accepted, str(entry.get("id")))
    return marks, drills, accepted


def file_names(directory: Path) -> set[str]:
    """Give the names in a directory; none where it is absent. Raise BackupError where it cannot be read."""
    try:
        return set(os.listdir(directory))
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise BackupError(f"cannot read {directory}: {error.strerror}") from None


def catalog(settings: Settings) -> Catalog:
    """Read everything that stands in a BACKUP_DIR, by the sidecars alone; names are never guessed from."""
    backup_dir = settings.backup_dir
    if not backup_dir.is_dir():
        raise BackupError(f"BACKUP_DIR {backup_dir} is not there: is its disk mounted?")
    file_names(backup_dir)  # an unreadable BACKUP_DIR is an error, an empty one is not
    marks, drills, accepted = journal_marks(backup_dir)
    sets: dict[str, dict[str, Archive]] = {}
    unreadable: dict[str, dict[str, str]] = {}
    orphans, strays = [], {}
    for directory in (backup_dir / name for name in sorted(set(DIRECTORIES.values()))):
        names = file_names(directory)
        stored = {name.removesuffix(".json") for name in names if name.endswith(".json")}
        orphans += [directory / name for name in sorted(names - stored) if ARCHIVE_NAME.fullmatch(name)]
        for name in sorted(stored):
            path = f"{directory}/{name}.json"
            try:
                archive = read_archive(path, settings.signing_key, *marks.get(name, ("", "")), accepted)
                sets.setdefault(archive.id, {})[archive.kind] = archive
            except FileNotFoundError:
                pass  # a cleanup is at work beside us
            except ValueError as error:
                named = ARCHIVE_NAME.fullmatch(name)
                told = unreadable.setdefault(named[2], {}) if named and id_moment(named[2]) else strays
                told[path] = str(error)
    found = []
    for set_id in sorted({*sets, *unreadable}, reverse=True):
        archives, drill = sets.get(set_id, {}), drills.get(set_id, {})
        proof = drill if drill.get("identical") is True else {}
        wanted = {kind for archive in archives.values() for kind in (archive.kind, *archive.kinds)}
        kinds = tuple(kind for kind in KINDS if kind in wanted)
        found.append(BackupSet(set_id, archives, kinds, unreadable.get(set_id, {}), proof))
    return Catalog(found, orphans, strays)


def find_set(sets: Sequence[BackupSet], wanted: str, kinds: Sequence[str]) -> BackupSet:
    """Find a set by id, or the newest that holds every kind asked for (`latest`). Raise UsageError if there is none."""
    for candidate in sets:
        if candidate.id == wanted or (wanted == "latest" and not candidate.lacks(kinds)):
            return candidate
    what = f"set (or file) {printable(wanted)}"
    if wanted == "latest":
        what = f"set that holds all of: {', '.join(kinds)}" if kinds else "set here yet (is its disk mounted?)"
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
        if not any(set_id in name for folder in DIRECTORIES.values() for name in file_names(backup_dir / folder)):
            return set_id
        time.sleep(0.1)


def sweep_partials(backup_dir: Path) -> None:
    """Remove the partial files of runs that died; the lock is ours, so nobody is writing them."""
    ours = re.compile(rf"\.(latest|{ARCHIVE_NAME.pattern}(\.json|\.link)?)\.partial", re.ASCII)
    for folder in set(DIRECTORIES.values()):
        for path in (backup_dir / folder).glob(".*.partial"):
            if ours.fullmatch(path.name):
                log.info("removing %s, left by a run that died", path)
                path.unlink(missing_ok=True)


# ==== 6. Sealing ======================================================================================================

# What a sealed file begins with: age's header; OpenPGP's packets with a session key (RFC 9580, 5.1, 5.3); or in armor.
SEALED = {
    "age": rb"age-encryption\.org/v1\n|-----BEGIN AGE ENCRYPTED FILE-----",
    "gpg": rb"(?s)-----BEGIN PGP MESSAGE-----|[\x84\xc1].[\x03\x06]|[\x85\xc1]..[\x03\x06]|[\x8c\xc3].[\x04-\x06]",
}
# Nothing of the user's gpg.conf, whose encrypt-to would let others read; no question; and no web of trust: the
# fingerprint is given.
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
    return next((method for method, pattern in SEALED.items() if re.match(pattern, head)), "")


def seal_stage(settings: Settings) -> list[list[str | Path]]:
    """Give the last stage of a pipeline, which seals; none without ENCRYPT_TO."""
    if not settings.encrypt_to:
        return []
    method, keys = settings.encrypt_to
    program = settings.which(method)
    if not program:
        raise BackupError(f"ENCRYPT_TO is set, but {method} is not installed: apt install {SEAL_PACKAGES[method]}")
    options = (*GPG_OPTIONS, "--encrypt") if method == "gpg" else ()
    return [[program, *options, *(word for key in keys for word in ("-r", key))]]


def open_stage(method: str, settings: Settings) -> list[str | Path]:
    """Give the command that opens a seal. Raise NoKey where it cannot work, UsageError if others can read the key."""
    program, identity = settings.which(method), settings.decrypt_identity_file
    if not program:
        raise NoKey(f"{method} is not installed: apt install {SEAL_PACKAGES[method]}")
    if method == "gpg":
        return [program, *GPG_OPTIONS, "--decrypt"]
    if not identity or not os.access(identity, os.R_OK):
        raise NoKey("no key here: set DECRYPT_IDENTITY_FILE to the file with the age identity")
    complaint = check_private(identity)
    if complaint:
        raise UsageError(f"DECRYPT_IDENTITY_FILE {complaint}")
    return [program, "-d", "-i", identity]


def seal_words(error: ProgramError) -> str:
    """Give the line in which age or gpg says what is wrong; it is not their last."""
    lines = [line for line in error.stderr.splitlines() if re.search("error:|failed|skipped|manipulated", line)]
    return printable(lines[0].removeprefix("age: error: ")) if lines and error.returncode > 0 else str(error)


def try_seal(settings: Settings) -> None:
    """Seal one byte, so that a key or program that cannot seal stops a run before it dumps. Raise BackupError."""
    stage, sealed = seal_stage(settings), bytearray()
    if not stage:
        return
    method, keys = settings.encrypt_to
    try:
        pipeline([["echo"], *stage], env=settings.env, sink=sealed.extend, limit=60)
    except ProgramError as error:
        raise BackupError(f"nothing can be sealed to ENCRYPT_TO={method}:{','.join(keys)}, so no backup is made: "
                          f"{seal_words(error)}. Next: import or renew the key, or correct ENCRYPT_TO "
                          "(empty: backups that everybody can read)") from None  # fmt: skip
    if not re.match(SEALED[method], sealed):
        raise BackupError(f"{stage[0][0]} gave nothing that looks sealed, so no backup is made: is it really {method}?")


def beside(work: Callable[[], Any]) -> Callable[..., Any]:
    """Do work in a thread; the function given back waits for its result, and so many seconds at most (TimeoutError)."""
    ended: list[tuple[Any, Exception | None]] = []
    def run_work() -> None:
        try:
            ended.append((work(), None))
        except Exception as error:
            ended.append((None, error))
    def result(patience: float | None = None) -> Any:
        thread.join(patience)
        value, failure = ended[0] if ended else (None, TimeoutError())
        if failure:
            raise failure
        return value

    thread = threading.Thread(target=run_work, daemon=True)
    thread.start()
    return result


def write_sealed(settings: Settings, produce: Callable[[Callable[[bytes], object]], None],
                 write: Callable[[bytes], object]) -> None:  # fmt: skip
    """Let `produce` put out the bytes of an archive, in a thread of its own where they reach `write` sealed."""
    stage = seal_stage(settings)
    if not stage:
        produce(write)
        return
    source, drain = os.pipe()
    plain = open(drain, "wb")
    def put(chunk: bytes) -> None:
        try:
            plain.write(chunk)
        except BrokenPipeError:  # an OSError would be taken for a source file that cannot be read
            raise BackupError("the seal has ended before the archive") from None
    def fill() -> None:
        with plain:
            produce(put)

    with open(source, "rb") as stream:  # which is closed then: so the thread ends, whatever happens to the seal
        filled = beside(fill)
        pipeline(stage, env=settings.env, stdin=stream, sink=write, stall=settings.stall_seconds)
    filled()


def encryption_facts(recipients: Recipients | None, file: str) -> dict[str, Any] | None:
    """Say for the sidecar how a file is sealed, and how it opens with plain programs; None for one that is not."""
    if not recipients:
        return None
    packed = Path(file).with_suffix("")
    opened = f"age -d -i KEY_FILE {file}" if recipients.method == "age" else f"gpg -d {file}"
    unpack = f"{'zstd' if packed.suffix == '.zst' else 'gzip'} -d > {packed.stem}"
    return {"method": recipients.method, "recipients": list(recipients.keys), "open": f"{opened} | {unpack}"}


def unseal(path: Path, method: str, settings: Settings, plain: Path) -> None:
    """Open a sealed file into a private one. Raise NoKey or DamageError: what was written then is not to be used."""
    try:
        command = open_stage(method, settings)
        with path.open("rb") as stream, open(os.open(plain, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            pipeline([command], env=settings.env, stdin=stream, sink=out.write, stall=settings.stall_seconds)
        return
    except NoKey as error:
        why = str(error)
    except ProgramError as error:
        if error.returncode < 0:
            raise BackupError(f"{path.name} could not be opened: {error}. Try again") from None
        if not re.search(NO_KEY, seal_words(error)):
            raise DamageError(f"{path.name} is damaged: {seal_words(error)}") from None
        hint = "gpg --import brings it" if method == "gpg" else "is DECRYPT_IDENTITY_FILE the right one?"
        why = f"the key is missing ({seal_words(error)}): {hint}"
    raise NoKey(f"{path.name} is sealed with {method} and cannot be opened here: {why}")


@contextlib.contextmanager
def unsealed(archive: Archive, settings: Settings, base: Path | None) -> Iterator[Archive]:
    """Give an archive as it can be read: itself, or, while the block runs, its opened copy in a workspace in `base`."""
    path, method = archive.path, sealed_with(archive.path)
    if not method:
        yield archive
        return
    with workspace(base) as work:
        require_space(work, path.stat().st_size + MIB, f"the opened copy of {path.name}")
        plain = work / re.sub(r"\.(age|gpg|pgp|asc)$", "", path.name)
        unseal(path, method, settings, plain)
        yield dataclasses.replace(archive, file=str(plain))


# ==== 7. Proof ========================================================================================================

# What a role or a database may have set against long sessions, which ours are; and no conversion where the server knows
# of no encoding, for there anything may be in a name.
BEGIN_SESSION = """SELECT set_config(name, '0', false) FROM pg_settings
    WHERE name IN ('statement_timeout', 'idle_session_timeout', 'transaction_timeout')
  UNION ALL SELECT set_config('client_encoding', 'SQL_ASCII', false)
    WHERE current_setting('server_encoding') = 'SQL_ASCII'"""
OWN_TABLES = """FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname !~ '^pg_|^information_schema$' AND NOT EXISTS (
    SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')"""
# Text that depends on nothing but the value, for what is no native type is hashed by it; and, as pg_dump does since
# CVE-2024-7348: a table that its owner replaces by a view must not run his functions as us.
BEGIN_SNAPSHOT = """BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL search_path = '';
  SET LOCAL lc_monetary = 'C'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL timezone = 'UTC';
  SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex';
  SET LOCAL xmlbinary = 'base64'; SET LOCAL standard_conforming_strings = on; SET LOCAL quote_all_identifiers = off;
  SET LOCAL row_security = off; SET LOCAL statement_timeout = 0; SET LOCAL jit = off;
  SELECT set_config(name, 'view', true) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'"""
# The types whose own hash is the same on every server and differs for values that differ. Not the others: enums (and
# regclass) hash by OID, which differs after a restore; 1.0 and 1.000, 0 and -0, 1 mon and 30 days, {1,2} and {{1,2}}
# hash alike; json, xml, money, tsvector, point have no hash. Their text is what format('%L') gives: a cast to text may
# be somebody's function.
NATIVE_TYPES = "int2,int4,int8,text,varchar,name,bool,bytea,uuid,date,time,timestamp,timestamptz,inet,cidr,macaddr"
COUNT_LARGES = "SELECT 'large objects', count(*), NULL FROM pg_largeobject_metadata"
# Read to its end, a hole in a large object is zeros, and restored as such: pages of zeros do not count, its end does.
HASH_LARGES = """SELECT 'large objects', (SELECT count(*) FROM pg_largeobject_metadata),
  (SELECT concat(sum(bytes), ' bytes, ', sum(hash)) FROM (
    SELECT max(pageno * (current_setting('block_size')::int8 / 4) + octet_length(data)) bytes,
      sum(hash_record_extended(ROW(loid::int8, pageno, page), 0)) FILTER (WHERE page <> '') hash
    FROM (SELECT *, rtrim(data, '\\x00') page FROM pg_largeobject) p GROUP BY loid) o)"""
# Name, size, and two queries for name, rows and hash, the first of which only counts. A table is read by itself (ONLY):
# partitions one by one, inheritance parents without their children. Where a level is partitioned by hash the tree is
# read as one: pg_dump may restore its rows into other partitions. Columns go by name, for a child that was made before
# its parent got a column has another order after a restore. A standby cannot read unlogged tables, nor dump their rows.
TABLES_TO_READ = f"""WITH own AS (
    SELECT c.*, format('%I.%I', nspname, relname) AS name, relpersistence = 'u' AND pg_is_in_recovery() AS empty,
      (relispartition OR relkind = 'p') AND EXISTS (SELECT FROM pg_partition_tree(pg_partition_root(c.oid)) l
        JOIN pg_partitioned_table p ON p.partrelid = l.relid WHERE partstrat = 'h') AS mixed
    {OWN_TABLES}),
  places AS (
    SELECT name,
      CASE WHEN empty THEN '(SELECT WHERE false)' WHEN relkind = 'r' THEN 'ONLY ' || name ELSE name END AS place,
      CASE relkind WHEN 'r' THEN pg_table_size(own.oid)
        ELSE (SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(own.oid)) END AS size,
      (SELECT string_agg(format(CASE WHEN atttypid = ANY (native) AND coalesce(collisdeterministic, true) THEN 't.%I'
          ELSE 'format(''%%L'', t.%I) COLLATE pg_catalog."C"' END, attname), ', ' ORDER BY attname)
        FROM pg_attribute LEFT JOIN pg_collation l ON l.oid = attcollation
        WHERE attrelid = own.oid AND attnum > 0 AND NOT attisdropped AND NOT empty) AS columns
    FROM own, (SELECT '{{{NATIVE_TYPES}}}'::regtype[]::oid[] native) types
    WHERE CASE relkind WHEN 'r' THEN NOT mixed WHEN 'p' THEN mixed AND NOT relispartition ELSE false END)
  SELECT name, coalesce(size, 0), format('SELECT %L, count(*), NULL FROM %s t', name, place), format(
      'SELECT %L, count(*), coalesce(sum(hash_record_extended(ROW(%s), 0)), 0)::text FROM %s t', name, columns, place)
  FROM places
  UNION ALL SELECT 'large objects', pg_table_size('pg_largeobject'), $q${COUNT_LARGES}$q$,
    CASE WHEN has_table_privilege('pg_largeobject', 'SELECT') THEN $q${HASH_LARGES}$q$ ELSE $q${COUNT_LARGES}$q$ END
  WHERE EXISTS (SELECT FROM pg_largeobject_metadata) ORDER BY 2"""
# Sequences are no part of a snapshot; NOT NULL constraints stand in pg_constraint only since 18.
OBJECT_FACTS = f"""WITH own AS (SELECT c.* {OWN_TABLES}) SELECT json_build_object(
  'sequences', (
    SELECT coalesce(json_object_agg(name, last_value * sign(increment_by::numeric)), '{{}}')
    FROM pg_sequences s, format('%I.%I', schemaname, sequencename) name
    WHERE NOT s.cycle AND name::regclass IN (SELECT oid FROM own)),
  'objects', json_build_object(
    'tables', (SELECT count(*) FROM own WHERE relkind IN ('r', 'p')),
    'sequences', (SELECT count(*) FROM own WHERE relkind = 'S'),
    'indexes', (SELECT count(*) FROM own JOIN pg_index ON indexrelid = own.oid WHERE relkind = 'I' OR indisvalid),
    'views', (SELECT count(*) FROM own WHERE relkind IN ('v', 'm')),
    'constraints', (SELECT count(*) FROM pg_constraint k JOIN own ON own.oid = k.conrelid WHERE contype <> 'n'),
    'triggers', (
      SELECT count(*) FROM pg_trigger JOIN own ON own.oid = tgrelid WHERE NOT tgisinternal AND tgparentid = 0),
    'functions', (
      SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
      WHERE nspname !~ '^pg_|^information_schema$' AND NOT EXISTS (
        SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e'))))"""
TOGETHER = 32 * MIB  # tables read by one query: small ones, to spare the round trips


def open_snapshot(psql: Psql, lock_seconds: int) -> tuple[str, dict[str, Any]]:
    """Begin a repeatable-read transaction; give its exported snapshot, for pg_dump, and what is in the catalog then.

    That is `objects` (counts) and `sequences` (name -> last value, negated where it counts down, None if unused; those
    that cycle are left out).
    """
    psql.rows(f"{BEGIN_SNAPSHOT};\nSET LOCAL lock_timeout = {lock_seconds * 1000}")
    [[snapshot]], [[facts]] = psql.rows("SELECT pg_export_snapshot()"), psql.rows(OBJECT_FACTS)
    return snapshot, json.loads(facts)


def read_tables(psql: Psql, seconds: float = 0, known: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Count and hash every table: "schema.table" -> {rows, hash}, as the transaction of `open_snapshot` sees them.

    The hash is the sum of the rows' hashes, as text: their order does not matter (9.2 million rows in 2 s, measured).
    It is None for a table that was only counted: after `seconds` (0: no limit; the small tables come first), or where
    `known`, an earlier result, has none. Large objects count as one table.
    """
    deadline = time.monotonic() + (seconds or 10**6)
    total = 0
    batches: dict[tuple[int, int], list[tuple[str, str, str]]] = {}
    for number, (name, size, counts, hashes) in enumerate(psql.rows(TABLES_TO_READ, 0)):
        total += int(size)
        wanted = counts if known is not None and not known.get(name, {}).get("hash") else hashes
        batches.setdefault((number // 100, total // TOGETHER), []).append((name, counts, wanted))
    result: dict[str, dict[str, Any]] = {}
    for names, counting, hashing in (zip(*batch) for batch in batches.values()):
        rows, left = [], deadline - time.monotonic()
        if left > 0:
            *rows, (state,) = psql.rows(
                f"SAVEPOINT t; SET LOCAL statement_timeout = {int(min(left, 10**6) * 1000)};\n\\set ON_ERROR_STOP 0\n"
                + "\nUNION ALL ".join(hashing)
                + ";\n\\echo :SQLSTATE\n\\set ON_ERROR_STOP 1\nROLLBACK TO t; RELEASE t", 0)  # fmt: skip
            if state not in ("00000", "57014"):  # query_canceled: the time is over
                raise psql.failure()
        for name, count, digest in rows or psql.rows("\nUNION ALL ".join(counting), 0):
            result[name] = {"rows": int(count), "hash": digest or None}
    return result


@contextlib.contextmanager
def fingerprint_beside(psql: Path, env: Mapping[str, str], settings: Settings,
                       failed: Callable[[str], None]) -> Iterator[tuple[list[str], dict[str, Any]]]:  # fmt: skip
    """Read a database's fingerprint while the block runs; `failed` is told why there is none.

    Give the option that lets pg_dump read the same snapshot, and the facts for its sidecar, there when the block ends.
    """
    facts: dict[str, Any] = {}
    option: list[str] = []
    reading, why = None, "no fingerprint, so no restore of it can be proven"
    with contextlib.ExitStack() as stack:  # it ends the session, and that the thread, whatever happens here
        try:
            if settings.fingerprint_seconds:
                reader = stack.enter_context(session(psql, env))
                reader.rows(BEGIN_SESSION)
                snapshot, opened = open_snapshot(reader, settings.table_lock_seconds)
                reader.rows("SET LOCAL max_parallel_workers_per_gather = 0")  # the dump needs the cores more (measured)
                option.append(f"--snapshot={snapshot}")
                reading = beside(functools.partial(read_tables, reader, settings.fingerprint_seconds))
        except BackupError as error:
            failed(f"{why}: {error}")
        yield option, facts
        patience = settings.fingerprint_seconds + settings.stall_seconds if settings.stall_seconds else None
        try:
            if reading:
                facts.update(opened, tables=reading(patience))
        except (BackupError, OSError, ValueError) as error:  # a TimeoutError says nothing
            failed(f"{why}: {str(error) or 'the server did not answer in time'}")


Difference = tuple[str, str, str]  # of a restored database: what it is, what the backup says of it, what was found


def compare_fingerprints(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[Difference]:
    """List how a restored database differs from its backup's fingerprint. A sequence may be ahead, never behind."""
    differences = []
    for name in sorted({*expected["tables"], *found["tables"]}):
        wanted, there = expected["tables"].get(name), found["tables"].get(name)
        before, now = (f"{entry['rows']} rows" if entry else "absent" for entry in (wanted, there))
        if before != now:
            differences.append((name, before, now))
        elif wanted["hash"] and there["hash"] and wanted["hash"] != there["hash"]:
            differences.append((name, f"{before}, hash {wanted['hash']}", f"{now}, hash {there['hash']}"))
    for name, value in sorted(expected.get("sequences", {}).items()):
        there = found["sequences"].get(name)
        if type(value) is int and (there is None or there < value):
            differences.append((f"sequence {name}", str(value), str(there)))
    for name, count in expected.get("objects", {}).items():
        there = found["objects"].get(name, count)
        if there != count:
            differences.append((f"number of {name}", str(count), str(there)))
    return differences


def differences_text(differences: Sequence[Difference]) -> str:
    """Write the table of differences, one line each, the first 20."""
    rows = [("TABLE", "EXPECTED", "FOUND"), *differences[:20]]
    more = [f"and {len(differences) - 20} more"] if len(differences) > 20 else []
    return "\n".join([printable(f"{what:<40} {expected:<44} {found}") for what, expected, found in rows] + more)


def only_counted(tables: Mapping[str, Any]) -> list[str]:
    """List the tables of a fingerprint that have no hash."""
    return [name for name, entry in tables.items() if not entry["hash"]]


NOT_HASHED = "only counted, not hashed: "


def proof_text(facts: Mapping[str, Any]) -> str:
    """Say how much of a database was compared: `11 tables, 70,432 rows`, and what was only counted."""
    tables, counted = facts["tables"], only_counted(facts["tables"])
    text = f"{len(tables)} tables, {sum(entry['rows'] for entry in tables.values()):,} rows"
    return text + (f"; {NOT_HASHED}{names_shown(counted)}" if counted else "")


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
  'cut_off', pg_is_in_recovery() AND current_setting('restore_command') = ''
    AND NOT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL),
  'in_recovery', pg_is_in_recovery(), 'database', current_database(), 'language', current_setting('lc_messages'),
  'idle_limit', (SELECT reset_val FROM pg_settings WHERE name = 'idle_session_timeout'),
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


@contextlib.contextmanager
def open_session(server: Server, dbname: str = "") -> Iterator[Psql]:
    """Open psql on a server, in the database given or the connection's own. It raises ProgramError as psql gave it."""
    with session(server.psql, {**server.env, **({"PGDATABASE": dbname} if dbname else {})}) as psql:
        psql.rows(BEGIN_SESSION)
        yield psql


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
        where = f"in PG_BIN_DIR={settings.pg_bin_dir}" if settings.pg_bin_dir else "installed"
        raise BackupError(f"psql is not {where}, and the backup of {connection} needs it: {install_advice(15)}")
    with session(programs[0], env) as psql, session(programs[0], env) as other:
        one, two = (each.rows("SELECT pg_backend_pid()") for each in (psql, other))
        if one == two:  # our settings would be theirs
            raise BackupError(f"a pooler shares PostgreSQL's sessions between clients ({connection}): give the "
                              "server's own host and port, or one that pools by session")  # fmt: skip
        psql.rows(BEGIN_SESSION)
        facts = json.loads(psql.rows(DATABASE_FACTS)[0][0])
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


def find_admin_server(
    connection: Connection, settings: Settings, work: Path, patient: bool = True, target: str = ""
) -> Server:
    """Reach a server in a database that one may stand in while others, `target` among them, are made and renamed."""
    places = [name for name in ("postgres", "template1") if name != target]
    for place in places:
        try:
            return find_server(dataclasses.replace(connection, dbname=place), settings, work, patient)
        except BackupError as error:  # it may be absent, or closed to us; what libpq says itself is true of both
            if place == places[-1] or re.search(f"{UNREACHABLE}|{TRANSIENT}|pooler|password", str(error)):
                raise


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
    in_tar = head[257:262] == b"ustar" and head.startswith(b"toc.dat\0")
    if in_tar and unpack_stage(path, settings):  # it stops reading before the end, which kills the stage that unpacks
        raise UsageError(f"{path.name}: pg_restore reads a dump in tar format only unpacked: gzip -dk or zstd -d it")
    if in_tar:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 1024))
            if stream.read().strip(b"\0"):  # pg_restore would look for the rest for ever
                raise DamageError(f"{path.name} is damaged: the tar archive breaks off before its end")
    if in_tar or head.startswith(b"PGDMP"):
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
    begun = re.search(rb"(-- PostgreSQL database (?:cluster )?dump)\r?\n", head)
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
    words: list[bytes] = []
    with script.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as text:
        at = 3 if text[:3] == b"\xef\xbb\xbf" else 0  # a byte order mark, which psql passes over
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


# Not autovacuum, which an ordinary owner may not end; RENAME does it itself, and so does DROP, unless WITH (FORCE).
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid IS NOT NULL AND "


def drop_database(server: Server, name: str) -> None:
    """Drop a scratch database if it is there; its subscriptions first, or DROP DATABASE refuses."""
    try:
        with open_session(server) as psql:
            if not psql.rows(f"SELECT 1 FROM pg_database WHERE datname = {quote_text(name)}"):
                return
            with contextlib.suppress(BackupError), open_session(server, name) as inside:
                for (statements,) in inside.rows(DROP_SUBSCRIPTIONS):
                    inside.rows(statements)
            psql.rows(f"{END_SESSIONS} datname = {quote_text(name)}")
            psql.rows(f"DROP DATABASE IF EXISTS {quote_name(name)}", 0)
    except BackupError as error:
        log.warning("%s could not be dropped and takes room on the server: %s", name, error)


def drop_scratch_databases(server: Server) -> None:
    """Drop the scratch databases of runs that died; one that a session uses, not autovacuum, is somebody's work."""
    for (name,) in ask(server, f"""SELECT datname FROM pg_database d WHERE datname ~ {quote_text(SCRATCH)}
      AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid AND a.usesysid IS NOT NULL)"""):
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


def is_empty(server: Server, name: str) -> bool:
    """Tell whether a database holds nothing yet; not where this cannot be seen."""
    filled = f"SELECT 1 WHERE EXISTS (SELECT {OWN_TABLES}) OR EXISTS (SELECT FROM pg_largeobject_metadata)"
    with contextlib.suppress(BackupError):
        return not ask(server, filled, name)
    return False


CREATE_DATABASE = re.compile(rb'\nCREATE DATABASE (?:"(?:[^"]|"")*"|\w+) WITH TEMPLATE = template0 ([^;]*);\n')


def pg_restore(job: Job, path: Path, options: Sequence[str], *more: Sequence[str | Path], **pipe: Any) -> None:
    """Run pg_restore on an archive: on the file itself, or on the stream that unpacks it."""
    command, packed = [job.program("pg_restore"), *options], unpack_stage(path, job.settings)
    env = job.server.env
    if job.server.facts["idle_limit"] != "0":  # one of its jobs may wait long for another; a pooler takes no options
        env = {**env, "PGOPTIONS": f"{env.get('PGOPTIONS', '')} -c idle_session_timeout=0".strip()}
    if packed:
        unpacked(path, job.settings, command, *more, env=env, **pipe)
    else:
        pipeline([[*command, path], *more], env=env, **pipe)


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
    options = re.sub(r'TABLESPACE = (?:"(?:[^"]|"")*"|\S+)', "", found[1].decode()) if found else ""
    if live and live["properties"]["tablespace"] != "pg_default":  # to name that one needs a right that owners lack
        options += f" TABLESPACE {quote_name(live['properties']['tablespace'])}"
    return options


# Settings whose value is a list of names: each is quoted by itself (as pg_dump's variable_is_guc_list_quote()).
LIST_SETTINGS = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")


def property_statements(name: str, properties: Mapping[str, Any]) -> Iterator[str]:
    """Yield the statements that give a database the owner, rights, limits, comment and settings of another.

    Those of the comment and the settings come last: a superuser may have made them, and an owner may not.
    """
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
        options += ["-j", str(min(os.cpu_count() or 1, 8))]  # each of them is a connection
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
    command = [psql, *PSQL_FLAGS, "-o", "/dev/null", "-d", scratch]
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
    made_on = re.match("[0-9]{1,3}", archive.facts.get("server_version", ""))
    if made_on and int(made_on[0]) > job.server.facts["major"]:
        told += f" It was made on PostgreSQL {made_on[0]}: restore it on that major or a newer one."
    return BackupError(f"{told} {postgres_failure(error, job.server.connection)}")


def own_place(settings: Settings) -> str:
    """Name the BACKUP_DIR and the machine, by which several applications of one server know what is theirs."""
    return f"{os.uname().nodename}:{settings.backup_dir.resolve()}"


def kept_comment(kept: str, target: str, job: Job, comment: str | None, **more: Any) -> str:
    """Write the statement that marks a database as kept aside: all that undo and cleanup need stands with the data."""
    mark = {"name": target, "id": job.id, "time": utc_now().isoformat(timespec="seconds"), "comment": comment,
            "by": own_place(job.settings), **more}  # fmt: skip
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
    # Our guard of the scratch one too; an undo's "scratch" is the kept one, into which somebody may look.
    end_sessions = f"{END_SESSIONS} (datname = {quote_text(scratch)} OR datid = {live['oid'] if live else 0})"
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


def tolerated(statement: str) -> str:
    """Write a statement whose failure does not end the session: the one row is its SQLSTATE, 00000 if it worked."""
    return f"\\set ON_ERROR_STOP 0\n{statement};\n\\echo :SQLSTATE\n\\set ON_ERROR_STOP 1\nSET search_path = ''"


def set_properties(psql: Psql, name: str, properties: Mapping[str, Any]) -> None:
    """Give a restored database its properties; a comment or setting that this role may not make is only named."""
    for statement in property_statements(name, properties):
        if psql.rows(tolerated(statement)) != [["00000"]]:
            if " SET " not in statement and not statement.startswith("COMMENT"):
                raise psql.failure()
            reason = psql.failure().stderr.rpartition("\n")[2]
            shown = statement.replace(quote_name(name), "NAME")  # it will have another one
            log.warning("left out (%s); as a superuser, for the restored database: %s", reason, shown)


# What a view that is refreshed, a default or a trigger may depend on, so before the rows; not what could stop them.
EARLY_SETTING = re.compile(r'ALTER DATABASE "\w+" SET (?!.*(?:_timeout|_read_only|"role"|"search_path"))')


class Scratch(NamedTuple):
    """A restored database beside the live one."""

    name: str
    found: Mapping[str, Any]  # its fingerprint; empty where the backup has none
    differences: list[Difference]


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
        if facts["cut_off"]:
            job.report.problem("the server is a standby that has lost its primary: this backup is of old data")
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

        A drill needs no right but CREATEDB: owners, grants and most of the database's properties are left out.
        """
        path, server = archive.path, job.server
        content = content_of(path, job.settings)
        if content == "custom" and path.is_file() and not archive.sha256:
            try:
                self.inspect(path, job.settings)
            except PartlyDone as error:  # for a verify; here nothing is done
                raise BackupError(str(error)) from None
        drop_scratch_databases(server)
        require_extensions(server, archive.facts.get("extensions") or {})
        scratch = f"arrivapp_scratch_{job.id.lower()}_{secrets.token_hex(3)}"
        backed_up = archive.facts.get("properties") or {}
        properties = live["properties"] if live else backed_up
        if live and backed_up and is_empty(server, live["name"]):  # made for this restore
            properties = backed_up | {"owner": properties["owner"]}
        try:
            options = creation_options(job, archive, content, live)
            undo.callback(drop_database, server, scratch)  # before it is there: a signal may come while it is made
            with open_session(server) as psql:
                psql.rows(f"CREATE DATABASE {scratch} TEMPLATE template0 {options}", 0)
            guard = undo.enter_context(open_session(server, scratch))  # until the swap, so that it is no leftover
            log.info("restoring %s into the scratch database %s", path.name, scratch)
            for statement in property_statements(scratch, properties) if properties else ():
                if EARLY_SETTING.match(statement):
                    guard.rows(tolerated(statement))
            if content == "custom":
                load_dump(job, archive, scratch, *(("--no-owner", "--no-acl", "--no-tablespaces") if drill else ()))
            else:
                load_script(job, path, scratch)
            guard.send(tolerated("ANALYZE"))  # and meanwhile the proof
            found, differences = prove(job, archive, scratch)
            if guard.receive(0) != [["00000"]]:
                log.warning("the planner has no statistics yet, for ANALYZE failed: %s", guard.failure())
            if properties and not drill:
                set_properties(guard, scratch, properties)
        except ProgramError as error:
            raise restore_failure(error, job, archive, scratch, live) from None
        return Scratch(scratch, found, differences)

    def restore(self, job: Job, archive: Archive, target: str, undo: contextlib.ExitStack) -> Callable[[], str]:
        """Build and prove a scratch database with the live one's properties; the swap renames both.

        One that differs from its backup is kept for a look, and DamageError says how it differs.
        """
        live = database_row(job.server, target)
        scratch = self.build(job, archive, live, undo)
        if scratch.differences and not job.accept_differences:
            kept = cut_name(target, f"_differs_{job.id.lower()}")
            mark = kept_comment(scratch.name, target, job, None, differs=True)
            swap_database(job, scratch.name, kept, None, mark)
            raise DamageError("what was restored is not what was backed up: nothing was replaced. "
                              f"Look at it in the database {kept}, choose another backup, or say --accept-differences\n"
                              f"{differences_text(scratch.differences)}")  # fmt: skip
        empty = live and is_empty(job.server, scratch.name) and not is_empty(job.server, target)
        if empty and not job.accept_differences:
            raise DamageError(f"{archive.path.name} holds no table: nothing was replaced. "
                              "If an empty database is what you want: --accept-differences")  # fmt: skip
        return functools.partial(swap_database, job, scratch.name, target, live)


# A statement of a `pg_dumpall --roles-only` script, and the role that it is about: in GRANT a TO b that is b. Strings
# there double their quotes, also in E'...', so it ends at the first semicolon outside quotes.
ROLE_STATEMENT = re.compile(
    r"""^(?:CREATE ROLE|ALTER ROLE|COMMENT ON ROLE|GRANT .*? TO) ("(?:[^"]|"")*"|[^\s;"]+)"""
    r"""(?:[^;'"]|'[^']*'|"[^"]*")*;""", re.MULTILINE
)  # fmt: skip


def role_statements(statements: Iterable[re.Match[str]]) -> dict[str, list[str]]:
    """Sort the statements of a roles script by the role that they make or change."""
    found: dict[str, list[str]] = {}
    for statement in statements:
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
        def take(chunk: bytes) -> None:
            script.extend(chunk)
            if b"\n\\connect " in script[-len(chunk) - 10 :]:
                raise UsageError(f"{archive.path.name} holds whole databases too, which is not taken: "
                                 "restore a pg_dump of each, and the roles from pg_dumpall --roles-only")  # fmt: skip

        read_sql(archive.path, job.settings, take)
        statements = list(ROLE_STATEMENT.finditer(script.decode("utf-8", "replace")))
        stored = role_statements(statements)
        with explained(job.server.connection):
            present = role_statements(ROLE_STATEMENT.finditer(run(self.command(job), env=job.server.env)))
        missing = [role for role in stored if role not in present]
        for role, text in [(role, text) for role in stored for text in stored[role]]:
            if role in present and text not in present[role]:
                shown = re.sub(r"PASSWORD '[^']*'", "PASSWORD '***'", text)
                log.warning(f"role {role} is there and stays as it is; the backup would: {shown}")
        # In the script's order: a membership may hang on another's ADMIN OPTION (PostgreSQL 16).
        wanted = [statement[0] for statement in statements if statement[1] in missing]
        def make() -> str:
            if not missing:
                return "no role was missing"
            ask(job.server, "BEGIN;\n" + "\n".join(wanted) + "\nCOMMIT")
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


# What is named, and exit 3, but no reason to distrust the rest.
NO_LOSS = ("vanished", "a socket, pipe or device", "a symbolic link out of the tree")


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
        directories[:] = sorted(name for name in directories if (place, name) != (str(root), "lost+found"))
        yield from ((os.path.normpath(f"{below}/{name}"), "") for name in sorted([*directories, *files]))
    for error in failures:
        gone = isinstance(error, FileNotFoundError)
        yield os.path.relpath(error.filename, root), NO_LOSS[0] if gone else f"cannot be read: {error.strerror}"


def link_inside(name: str, target: str) -> bool:
    """Tell whether a symbolic link points to a place inside its own tree."""
    reached = os.path.normpath(os.path.join(os.path.dirname(name), target))
    return not os.path.isabs(target) and reached != ".." and not reached.startswith("../")


def add_member(tar: tarfile.TarFile, root: Path, name: str, facts: dict[str, Any], follow: bool) -> None:
    """Store one name of a tree and note in the facts what came of it."""
    path = root / name
    try:
        status = path.stat() if follow or name == "." else path.lstat()
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
        gone = isinstance(error, FileNotFoundError)
        facts["skipped"][name] = NO_LOSS[0] if gone else error.strerror or str(error)
    tar.members.clear()
    tar.inodes.clear()


def write_tar(
    job: Job, kind: str, root: Path, names: Iterable[tuple[str, str]], write: Callable[[bytes], object]
) -> dict[str, Any]:
    """Write a deterministic .tar.gz of (name, complaint) pairs (no wall clock in it) and give its facts.

    What is not stored as it was goes to the report. Where that is more than 1 % of the files, a directory, of which
    nobody knows what it holds, or any configuration file, the archive is marked partial: it is kept, but counts as good
    nowhere.
    """
    unknown = 0
    facts: dict[str, Any] = {"source_dir": str(root), "file_count": 0, "symlinks": {}, "changed": [], "skipped": {}}
    def produce(put: Callable[[bytes], object]) -> None:
        """Write the whole archive."""
        nonlocal unknown
        with (
            gzip.GzipFile("", "wb", 1, types.SimpleNamespace(write=put, flush=lambda: None), mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, dereference=True, encoding="utf-8",
                         errors="surrogateescape") as tar,
        ):  # fmt: skip
            for count, (name, complaint) in enumerate(names):
                if count >= MAX_MEMBERS:
                    raise BackupError(f"{root} holds more than {MAX_MEMBERS} files: move away what is not needed")
                if complaint:
                    facts["skipped"][name] = complaint
                    unknown += complaint not in NO_LOSS
                else:
                    add_member(tar, root, name, facts, follow=kind == "files")
            facts["raw_bytes"] = tar.offset

    write_sealed(job.settings, produce, write)
    skipped = [f"{name} ({reason})" for name, reason in facts["skipped"].items()]
    for listed, text in ((skipped, "not stored"), (facts["changed"], "changed while it was read")):
        if listed:
            job.report.problem(f"{kind}: {text}: {names_shown(listed)}")
    lost = sum(kind == "files" or reason not in NO_LOSS for reason in facts["skipped"].values())
    if unknown or lost > (0 if kind == "files" else facts["file_count"] / 100):
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
    swap = json.dumps({"version": 1, "new": str(new), "live": str(live), "before": str(before)})
    try:
        with published(note) as stream:
            stream.write(swap.encode())
    except OSError as error:
        raise disk_failure(error, note.parent, len(swap)) from error
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
            if name != "." and link_inside(name, link) and link_inside("x", name):
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


def require_replaceable(live: Path, device: int) -> None:
    """Raise BackupError where no file of this device can be renamed to `live`; if that is a link, it is replaced."""
    live = live.parent.resolve() / live.name
    parent = next(place for place in live.parents if place.exists())
    real_directory = live.is_dir() and not live.is_symlink()
    closed = not os.access(parent, os.W_OK | os.X_OK)
    if is_mount_point(live) or real_directory or closed or parent.stat().st_dev != device:
        raise BackupError(f"{live} is a mount point, a directory, on another file system or in a directory where this "
                          "user may not write, and cannot be replaced: restore as root, or with --directory "
                          "into another place and copy from there")  # fmt: skip


def may_be_there(path: Path) -> bool:
    """Tell whether something is at a path, or cannot be seen there because a directory above it is closed to us."""
    try:
        return status_of(path) is not None
    except OSError:
        return True


class ConfigFiles(Directory):
    """The configuration files, named one by one, relative to APP_DIR. Of one that is a link the content is stored."""

    kind = "files"

    def dump(self, job: Job, write: Callable[[bytes], object]) -> dict[str, Any]:
        """Store the listed files and the directories above them."""
        root, listed, last = job.settings.app_dir, sorted(set(job.settings.config_files)), job.previous.get(self.kind)
        present = [name for name in listed if not os.path.isdir(root / name) and may_be_there(root / name)]
        if not present:
            raise BackupError(f"none of CONFIG_FILES is in APP_DIR {root}: correct APP_DIR, "
                              "or set CONFIG_FILES= to back up none")  # fmt: skip
        for name in [name for name in listed if name not in present]:
            if os.path.isdir(root / name):
                job.report.problem(f"files: {printable(name)} is a directory: list its files in CONFIG_FILES", FAILED)
            elif last and name in last.facts.get("names", []):
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
        for leftover in root.glob(".restoring-????????T??????Z") if job.lock else ():
            shutil.rmtree(leftover, ignore_errors=True)  # of a restore that died
        new = root / f".restoring-{job.id}"
        undo.callback(shutil.rmtree, new, ignore_errors=True)
        new.mkdir(mode=0o700)
        unpack_tar(archive.path, new, root)
        for name, _ in tree(new):
            if not (new / name).is_dir():
                require_replaceable(root / name, new.stat().st_dev)
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
    foreign: bool = False  # a database that the tool of another BACKUP_DIR or machine has put aside

    def __str__(self) -> str:
        """Name it for a person."""
        what = "restored, but it differs" if self.differs else f"before the restore {self.id}"
        return f"{self.kind} {printable(self.place)} ({what})"


def kept_databases(server: Server, settings: Settings) -> list[Kept]:
    """List the databases of a server that carry our mark."""
    marked = ask(server, f"""SELECT datname, substr(shobj_description(oid, 'pg_database'), {len(KEPT_MARK) + 1})
      FROM pg_database WHERE starts_with(shobj_description(oid, 'pg_database'), {quote_text(KEPT_MARK)})""")
    found, here = [], own_place(settings)
    for name, text in marked:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a mark that somebody edited is no longer ours
            mark = json.loads(text)
            parse_time(mark["id"])
            differs = bool(mark.get("differs"))
            suffix = f"_{'differs' if differs else 'before'}_{mark['id'].lower()}"
            if name == cut_name(mark["name"], suffix):  # one renamed by hand, to be live again, is no longer ours
                foreign = mark.get("by", here) != here
                found.append(Kept(mark["id"], "database", mark["name"], name, mark["comment"], differs, foreign))
    return found


def kept_paths(settings: Settings) -> list[Kept]:
    """List the QR code directories and configuration files that restores have put aside."""
    places = [("files", settings.app_dir / name) for name in settings.config_files]
    if "qr_codes" in settings.kinds:
        places.insert(0, ("qr_codes", settings.qr_codes_path.resolve()))
    found = []
    for kind, live in places:
        beginning = f"{live.name}.before-"
        try:
            names = file_names(live.parent)
        except BackupError as error:  # closed to us: no reason not to look elsewhere
            log.warning("what restores have kept there cannot be seen: %s", error)
            continue
        for name in names:
            if name.startswith(beginning) and id_moment(name.removeprefix(beginning)):
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


def find_table(server: Server, dbname: str, name: str) -> tuple[str, str]:
    """Find a table that a person names; give its full and its bare name. Raise UsageError without one."""
    found = ask(server, f"""SELECT format('%I.%I', nspname, relname), format('%I', relname)
      FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace, (VALUES ({quote_text(name)})) given (name)
      WHERE relkind IN ('r', 'p', 'm') AND (
        name = format('%I.%I', nspname, relname) OR nspname || '.' || relname IN (name, lower(name))
        OR pg_table_is_visible(c.oid) AND (name = format('%I', relname) OR relname IN (name, lower(name))))
      ORDER BY relname <> name LIMIT 1""", dbname)
    if not found:
        raise UsageError(f"the backup has no table {printable(name)} (say schema.table where it is in no usual schema)")
    return found[0][0], found[0][1]


def copy_tables(job: Job, scratch: str, target: str, schema: str, names: Sequence[str]) -> list[str]:
    """Copy tables of a scratch database into `schema` of the live one: columns and rows, no defaults, keys, triggers.

    They are copied into a schema of that name first, which pg_dump then brings over in one transaction: all or none.
    """
    made: list[str] = []
    for name in names:
        full, bare = find_table(job.server, scratch, name)
        place = f"{schema}.{bare}"
        if place in made or ask(job.server, f"SELECT 1 WHERE to_regclass({quote_text(place)}) IS NOT NULL", target):
            raise UsageError(f"{place} is there already: use it, or DROP TABLE {place}")
        whole = "SET row_security = off"  # else rows would be left out without a word
        copy = f"{whole};\nCREATE SCHEMA IF NOT EXISTS {schema};\nCREATE TABLE {place} AS TABLE {full}"
        ask(job.server, copy, scratch, job.settings.restore_seconds)
        made.append(place)
    dump = [job.program("pg_dump"), "-w", "--no-owner", "--no-acl", f"--table={schema}.*", "-d", scratch]
    load = [job.program("psql"), *PSQL_FLAGS, "-o", "/dev/null", "--single-transaction",
            "-c", f"CREATE SCHEMA IF NOT EXISTS {schema}", "-f", "-"]  # fmt: skip
    pipeline([dump, load], env={**job.server.env, "PGDATABASE": target})
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
        advice = "make one first; on a full disk remove the oldest by hand: rm BACKUP_DIR/*/*_ID.*"
        return f"backups have stopped: the newest complete set is {age} old ({newest.id}): {advice}"
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

# Ten low-level retries, as rclone has by itself, are eleven minutes on an S3 server that is down (measured).
RCLONE_FLAGS = ("--ask-password=false", "--contimeout=15s", "--timeout=2m", "--low-level-retries=3",
                "--log-level=ERROR", "--log-format=")  # fmt: skip
REMOTE_HASHES = ("sha256", "sha1", "md5")  # a backend has some of them, or none
REMOTE_NAME = re.compile(rf"(?:{'|'.join({*DIRECTORIES.values()})})/{ARCHIVE_NAME.pattern}(?:\.json)?", re.ASCII)
BY_HAND = "remove it there by hand, with rights that this server should not have"


class Remote(NamedTuple):
    """One place off-site, and what every call of rclone to it needs."""

    name: str  # remote:path, as rclone calls it
    program: str
    env: Mapping[str, str]
    deadline: float  # of time.monotonic(): a remote that hangs must not hang us


def open_remote(settings: Settings, name: str, seconds: float = 0) -> Remote:
    """Get ready to talk to a remote, for `seconds` at most (else OFFSITE_SECONDS)."""
    program = settings.which("rclone")
    if not program:
        raise BackupError("rclone is not installed: apt install rclone (for SFTP 1.63 or newer)")
    limit = seconds or settings.offsite_seconds or float("inf")
    return Remote(name, program, settings.env, time.monotonic() + limit)


def rclone(remote: Remote, *argv: str | Path, sink: Callable[[bytes], object] | None = None) -> str:
    """Run rclone, which never inherits the lock, and give its stdout, or hand it to `sink`."""
    output: list[bytes] = []
    left = max(0.1, remote.deadline - time.monotonic())
    try:
        pipeline([[remote.program, *argv, *RCLONE_FLAGS]], env=remote.env, sink=sink or output.append, limit=left)
    except ProgramError as error:
        if error.returncode != 3 or argv[0] != "lsjson":
            raise
        return "[]"  # the directory is not there yet
    return b"".join(output).decode("utf-8", "replace")


def remote_path(archive: Archive) -> str:
    """Give an archive's path below a remote: the same as below BACKUP_DIR."""
    return f"{DIRECTORIES[archive.kind]}/{archive.path.name}"


def remote_files(remote: Remote, *options: str, place: Path | None = None) -> dict[str, dict[str, Any]]:
    """List our archives and sidecars on a remote, or in the directory `place`: path -> what rclone says of it."""
    flags = ("-R", "--files-only", "--no-modtime", "--no-mimetype")
    found = json.loads(rclone(remote, "lsjson", *flags, *options, place or remote.name))
    return {entry["Path"]: entry for entry in found if REMOTE_NAME.fullmatch(entry["Path"])}


class OffsiteNotes(NamedTuple):
    """What the journal says of a remote."""

    pushed: dict[str, str]  # every archive ever pushed: path -> the time, '' where our own cleanup deleted it there
    found: dict[str, tuple[str, str]]  # file name -> when it was looked at, and what was wrong, '' if nothing
    gone: list[str]  # what was pushed and was missing when that was last looked at
    newest: datetime.datetime | None  # the newest complete set that was ever seen there

    @property
    def damaged(self) -> list[str]:
        """List the files that `verify --offsite` found damaged, and nothing has put right since."""
        return sorted(file for file, (_, problem) in self.found.items() if problem)


def offsite_notes(backup_dir: Path, name: str) -> OffsiteNotes:
    """Read what the journal says of a remote; what is of a wrong type is left out.

    What was pushed anew, or deleted there by our own cleanup, is no longer wrong.
    """
    pushed, found, gone, newest = {}, {}, [], None
    for entry in read_journal(backup_dir):
        note, when = entry["offsite"].get(name) if isinstance(entry.get("offsite"), dict) else None, entry["time"]
        if not isinstance(note, dict):
            continue
        for key, then in (("pushed", when), ("deleted", "")):
            for path in map(str, note[key] if isinstance(note.get(key), list) else ()):
                pushed[path], file = then, os.path.basename(path)
                if file in found and found[file][1]:
                    found[file] = when, ""
        if isinstance(note.get("archives"), dict):
            found |= {file: (when, str(problem)) for file, problem in note["archives"].items()}
        gone = note["gone"] if isinstance(note.get("gone"), list) else gone
        noted = id_moment(note.get("newest"))
        if noted and noted <= utc_now():  # not what a clock ahead has dated
            newest = max(newest or noted, noted)
    return OffsiteNotes(pushed, found, gone, newest)


def vanished(settings: Settings, pushed: Mapping[str, str], there: Mapping[str, Any]) -> list[str]:
    """List what was pushed within OFFSITE_KEEP_DAYS and is gone from a remote, or has lost its sidecar there."""
    begin = (utc_now() - datetime.timedelta(days=settings.offsite_keep_days)).isoformat(timespec="seconds")
    return sorted(path for path, when in pushed.items() if when > begin and not {path, f"{path}.json"} <= there.keys())


def download(remote: Remote, path: str, size: int, sha256: str, take: Callable[[bytes], object] = len) -> None:
    """Read a file of a remote, of one too long a byte more than its size. Raise DamageError if its hash is another."""
    digest = hashlib.sha256()
    def take_on(chunk: bytes) -> None:
        digest.update(chunk)
        take(chunk)

    rclone(remote, "cat", f"{remote.name}/{path}", f"--count={size + 1}", sink=take_on)
    found = digest.hexdigest()
    if found != sha256:
        raise DamageError(f"{path} is damaged there: its SHA-256 is {found[:16]}... instead of {sha256[:16]}...")


def upload(remote: Remote, backup_dir: Path, wanted: Mapping[str, str], there: Mapping[str, Any]) -> None:
    """Copy files (path -> SHA-256, '' where none is known) to a remote and compare each there. Raise DamageError.

    By a hash that the backend has; where it has none, by reading the file back. What stands there is never replaced:
    our own rest of an interrupted push has the right length, for rclone renames at the end.
    """
    includes = [f"--include=/{path}" for path in wanted]
    hashed = [*includes, *(f"--hash-type={name}" for name in REMOTE_HASHES)]
    here = remote_files(remote, *hashed, place=backup_dir)
    for path, sha256 in wanted.items():
        if path not in here:
            raise BackupError(f"{path} is here no more")
        if sha256 and here[path]["Hashes"]["sha256"] != sha256:
            raise DamageError(f"{path} is damaged here, so it was not pushed: backup_system.py verify")
        size, found = here[path]["Size"], there.get(path, here[path])["Size"]
        if found != size:
            raise DamageError(f"{path} stands there with {found} bytes instead of {size}: {BY_HAND}")
    rclone(remote, "copy", "--immutable", "--size-only", *includes, backup_dir, remote.name)
    copied = remote_files(remote, *hashed)
    for path in wanted:
        good, hashes = here[path]["Hashes"], copied.get(path, {}).get("Hashes") or {}
        common = [name for name in REMOTE_HASHES if hashes.get(name)]
        if not common:
            download(remote, path, here[path]["Size"], good["sha256"])
        elif any(hashes[name] != good[name] for name in common):
            raise DamageError(f"{path} is not the same there, by its {common[0]}: {BY_HAND}")


def push_to(remote: Remote, settings: Settings, report: Report, note: dict[str, Any], again: bool) -> None:
    """Bring every good set that a remote lacks there, newest first: archives, and sidecars when those are good.

    What was pushed once is not pushed again: a lifecycle rule, or our cleanup, may have removed it there. No lock is
    held: a set that a cleanup removes meanwhile is passed over.
    """
    backup_dir, there = settings.backup_dir, remote_files(remote)
    known = offsite_notes(backup_dir, remote.name).pushed
    note["gone"] = [] if again else vanished(settings, known, there)
    if note["gone"]:
        gone = f"pushed before, and gone there: {names_shown(note['gone'])}"
        report.problem(f"{remote.name}: {gone}. Who deleted it? To push it anew: push --again")
    for backup_set in catalog(settings).sets:
        good = {remote_path(a): a for kind, a in backup_set.archives.items() if kind in backup_set.good}
        named = {path for path in good if {path, f"{path}.json"} <= there.keys()}
        complete = {path for path in named if there[path]["Size"] == good[path].size_bytes
                    and there[f"{path}.json"]["Size"] == len(good[path].sidecar)}  # fmt: skip
        lacking = [path for path in good if path not in complete and (again or path in named or path not in known)]
        done: list[str] = []
        for path in lacking:  # one by one, or one that never gets through would keep the others' sidecars here
            try:
                upload(remote, backup_dir, {path: good[path].sha256}, there)
                upload(remote, backup_dir, {f"{path}.json": ""}, there)
                done.append(path)
            except (BackupError, OSError) as error:
                if not (backup_dir / f"{path}.json").exists():
                    log.info("%s was removed by a cleanup while it was pushed", path)
                elif isinstance(error, DamageError):
                    report.problem(f"{remote.name}: {error}", DAMAGE)
                else:
                    raise
        if done:
            log.info("pushed %s to %s", backup_set.id, remote.name)
        note["pushed"] += [*done, *(complete - known.keys())]
        if not backup_set.lacks(settings.kinds) and good.keys() == {*complete, *done}:
            note["newest"] = note["newest"] or backup_set.id


def push_all(settings: Settings, report: Report, notes: dict[str, dict[str, Any]], again: bool = False) -> None:
    """Push to every remote, each for itself; failures go to the report, what the journal is to remember to `notes`."""
    for name in settings.offsite_remotes:
        note = notes[name] = {"pushed": [], "newest": "", "failed": False}
        try:
            push_to(open_remote(settings, name), settings, report, note, again)
        except (BackupError, OSError) as error:
            note["failed"] = True
            report.problem(f"the off-site copy to {name} failed; the backups here are good: {error}")


@contextlib.contextmanager
def remote_catalog(settings: Settings, remote: Remote) -> Iterator[tuple[Catalog, Mapping[str, Any]]]:
    """Give what stands on a remote as a catalog, with the listing: its sidecars, and empty stand-ins for its archives.

    The journal beside them holds what was accepted, and what `verify --offsite` has said of this remote.
    """
    there = remote_files(remote)
    with workspace(None) as work:
        for path in (path for path in there if not path.endswith(".json")):
            (work / path).parent.mkdir(exist_ok=True)
            (work / path).touch()
            os.truncate(work / path, max(0, there[path]["Size"]))
        if there:
            rclone(remote, "copy", "--max-size=8Mi", "--include=/*/*.json", remote.name, work)
        said = [entry for entry in read_journal(settings.backup_dir) if entry.get("command") == "accept"]
        for file, (when, problem) in offsite_notes(settings.backup_dir, remote.name).found.items():
            said.append({"time": when, "command": "verify", "archives": {file: problem}})
        (work / "journal.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in said))
        yield catalog(dataclasses.replace(settings, backup_dir=work)), there


def offsite_state(settings: Settings, sets: Sequence[BackupSet], max_age_hours: int) -> list[dict[str, Any]]:
    """Say how the off-site copies stand, and what is wrong with them, by the journal alone: no remote is asked."""
    local, states = newest_complete(sets, settings), []
    for name in settings.offsite_remotes:
        notes = offsite_notes(settings.backup_dir, name)
        moment = notes.newest
        newest = moment.strftime(ID_FORMAT) if moment else None
        age = round((utc_now() - moment).total_seconds()) if moment else None
        behind = max(0, round((local.moment - moment).total_seconds())) if moment and local else None
        complaint = ""
        if notes.gone:
            complaint = f"{len(notes.gone)} archives are gone from {name}: see backup_system.py verify --offsite"
        elif notes.damaged:
            complaint = f"damaged on {name}: {names_shown(notes.damaged)}: see backup_system.py list --offsite"
        elif not moment:
            complaint = f"no complete set was ever pushed to {name}: backup_system.py push"
        elif behind and behind > max_age_hours * 3600:
            complaint = f"{name} is {human_age(behind)} behind the backups here: backup_system.py push"
        state = {"remote": name, "newest": newest, "age_seconds": age, "behind_seconds": behind, "complaint": complaint}
        states.append(state)
    return states


# -- Alerts

TRY_SECONDS = 10  # that a channel may take, a second try included; systemd kills 30 s after it asked us to stop
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

    headers = {"Content-Type": content_type, "User-Agent": f"arrivapp-backup/{VERSION}"}
    opener = urllib.request.OpenerDirector()  # the usual one also follows redirects
    for handler in ("ProxyHandler", "HTTPHandler", "HTTPSHandler", "HTTPErrorProcessor", "HTTPDefaultErrorHandler"):
        opener.add_handler(getattr(urllib.request, handler)())
    with opener.open(urllib.request.Request(url, data, headers)) as answer:
        return answer.read(100)


def feed(command: Sequence[str], text: bytes, settings: Settings) -> None:
    """Run a program with a short text on its stdin: by a pipe, which holds it all, for the disk may be full."""
    if not settings.which(command[0]):
        raise BackupError(f"the program {command[0]} is not there: install it, or name another way")
    reader, writer = os.pipe()
    with open(reader, "rb") as stdin:
        with open(writer, "wb") as stream:
            stream.write(text)
        run(command, env=settings.env, limit=TRY_SECONDS, stdin=stdin)


def send_webhook(settings: Settings, alert: Alert) -> None:
    """Post to an incoming webhook of Slack's kind; escaped, so that no file name can call everybody (<!channel>)."""
    text = html.escape(f"{alert.title}\n{alert.text}", quote=False)
    post(settings.alert_webhook_url, json.dumps({"text": text}).encode(), "application/json")


def send_by_server(settings: Settings, message: Any) -> None:
    """Hand a mail to SMTP_HOST. A password never goes over a network in the clear."""
    import smtplib
    import ssl

    host, how, trusted = settings.smtp_host, settings.smtp_tls, ssl.create_default_context()
    if how == "no" and settings.smtp_user and host not in ("localhost", "127.0.0.1", "::1"):
        raise BackupError("SMTP_TLS=no would send the password in the clear: use starttls or tls")
    connect = functools.partial(smtplib.SMTP_SSL, context=trusted) if how == "tls" else smtplib.SMTP
    with connect(host, settings.smtp_port or {"starttls": 587, "tls": 465, "no": 25}[how]) as server:
        if how == "starttls":
            server.starttls(context=trusted)
        if settings.smtp_user:
            server.login(settings.smtp_user, settings.smtp_password)
        refused = server.send_message(message)
    if refused:
        raise BackupError(f"the server took it, but not for {names_shown(refused)}")


def send_mail(settings: Settings, alert: Alert) -> None:
    """Send an e-mail that no auto-responder answers (RFC 3834), by SMTP_HOST or else by this machine's own sendmail."""
    import email.message
    import email.utils

    sender = next(iter(settings.alert_email_from), f"arrivapp-backup@{os.uname().nodename}")
    message = email.message.EmailMessage()
    message["From"], message["To"] = f"ArrivApp backup <{sender}>", ", ".join(settings.alert_email_to)
    message["Subject"], message["Date"] = alert.title, email.utils.localtime()
    message["Message-ID"] = email.utils.make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{alert.text}\n", cte="quoted-printable")
    if settings.smtp_host:
        send_by_server(settings, message)
    else:
        own = ["-f", sender] if settings.alert_email_from else []
        feed(["sendmail", "-i", "-t", *own], message.as_bytes(), settings)


def send_ping(settings: Settings, alert: Alert) -> None:
    """Send the dead-man ping, whose absence alerts: its address itself, /start, /log or /<exit status> (0-255).

    https://healthchecks.io/docs/http_api/: an unknown check is answered with 200 too, but not with a bare OK.
    """
    parts = urllib.parse.urlsplit(settings.healthcheck_url)
    path = f"{parts.path.rstrip('/')}/{alert.signal}".rstrip("/")
    url = parts._replace(path=path, query=f"{parts.query}&rid={alert.run}".lstrip("&")).geturl()
    answer = post(url, f"{alert.title}\n{alert.text}".encode(), "text/plain; charset=utf-8")
    if answer.startswith(b"OK ("):
        raise BackupError(f"the answer is {answer.decode('utf-8', 'replace')}")


def send_to_program(settings: Settings, alert: Alert) -> None:
    """Run a program of the user's own, with the report on its stdin; the title is the first line."""
    feed(settings.notify_command, f"{alert.title}\n\n{alert.text}\n".encode(), settings)


class Channel(NamedTuple):
    """A way to reach people; whatever `send` raises is turned into one line."""

    name: str
    setting: str  # without it the channel is off
    send: Callable[[Settings, Alert], None]
    seconds: int = TRY_SECONDS  # after which nobody waits for it any more; a program gets some to end in


PING = Channel("ping", "HEALTHCHECK_URL", send_ping)
CHANNELS = (
    Channel("webhook", "ALERT_WEBHOOK_URL", send_webhook),
    Channel("e-mail", "ALERT_EMAIL_TO", send_mail, TRY_SECONDS + GRACE_SECONDS),
    PING,
    Channel("command", "NOTIFY_COMMAND", send_to_program, TRY_SECONDS + GRACE_SECONDS),
)


def configured_channels(settings: Settings) -> list[Channel]:
    """List the channels that settings are there for."""
    return [channel for channel in CHANNELS if getattr(settings, channel.setting.lower())]


def why_not_sent(error: Any) -> tuple[str, bool]:
    """Say why a try failed, never with the address in it, and whether a second one may help."""
    import urllib.error

    if isinstance(error, BackupError):
        return str(error), False
    if isinstance(error, urllib.error.HTTPError):
        moved = ", a redirect, which is not followed: set the address where it leads" if error.code < 400 else ""
        return f"HTTP {error.code} {error.reason}{moved}", error.code >= 500 or error.code == 429
    refusals = getattr(error, "recipients", None) or {}  # every one was refused, or else the whole mail
    refusals = list(refusals.values()) + ([(error.smtp_code, error.smtp_error)] if hasattr(error, "smtp_code") else [])
    if refusals:
        code, said = refusals[0]
        return f"the server says {code} {said.decode('utf-8', 'replace')}", 400 <= code < 500
    error = error.reason if isinstance(error, urllib.error.URLError) else error
    if hasattr(error, "verify_message"):
        return f"its certificate is not trusted: {error.verify_message}", False
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__, True
    return type(error).__name__, False


def deliver(channels: Sequence[Channel], settings: Settings, alert: Alert, tries: int = 2) -> dict[Channel, str]:
    """Send an alert by all channels at once, again where that may help; give those that failed with the reason.

    Each has a thread, left behind when its time is up: a socket's own limit is for one read (a server that trickles
    bytes resets it), and finding a name has none at all.
    """
    failed = dict.fromkeys(channels, f"no answer within {TRY_SECONDS} s")
    def attempt(channel: Channel) -> None:
        for _ in range(tries):
            try:
                channel.send(settings, alert)
                del failed[channel]
                return
            except Exception as error:
                failed[channel], may_help = why_not_sent(error)
            if not may_help:
                return

    started, threads = time.monotonic(), []
    for channel in channels:
        threads.append(threading.Thread(target=attempt, args=(channel,), daemon=True))
        threads[-1].start()
    for channel, thread in zip(channels, threads):
        thread.join(max(0.0, started + channel.seconds - time.monotonic()))
    return {channel: starred(printable(f"{why} ({channel.setting})"), settings.secret_values)
            for channel, why in failed.copy().items()}  # fmt: skip


def has_recovered(settings: Settings, report: Report) -> bool:
    """Tell by the journal whether this is the first good run of its command after a failed one.

    A backup of fewer kinds says nothing of the whole, and a verify of one set nothing where damage is known in another,
    here or off-site. That the push after a backup failed belongs to that backup.
    """
    runs: list[dict[str, Any]] = []
    for entry in read_journal(settings.backup_dir):
        made = entry["kinds"] if isinstance(entry.get("kinds"), list) else settings.kinds
        if entry.get("command") == report.command and all(kind in made for kind in settings.kinds):
            runs.append(entry)
        pushed = entry.get("command") == "push" and report.command == "backup"
        if pushed and runs and runs[-1].get("id") == entry.get("id"):
            runs[-1] = {**runs[-1], "exit_code": runs[-1].get("exit_code") or entry.get("exit_code")}
    if report.exit_code or len(runs) < 2 or runs[-1].get("run") != report.run or not runs[-2].get("exit_code"):
        return False
    if report.command not in ("backup", "verify"):
        return True
    sets = catalog(settings).sets
    if report.command == "backup":
        return not any(backup_set.shrunk for backup_set in sets)
    here = any(a.problem for s in sets for a in s.archives.values())
    return not here and not any(offsite_notes(settings.backup_dir, name).damaged for name in settings.offsite_remotes)


def own_command(settings: Settings, *words: str) -> str:
    """Write a command of this tool as it can be typed anywhere on this machine."""
    own = settings.env_file and settings.env_file != HERE / ".env.backup"
    options = ["--env-file", str(settings.env_file)] if own else []
    options += ["--backup-dir", settings.flags["BACKUP_DIR"]] if "BACKUP_DIR" in settings.flags else []
    return shlex.join(["python3", str(HERE / "backup_system.py"), *options, *words])


def alert_of(settings: Settings, report: Report, recovered: bool) -> Alert:
    """Write what is said of a run: what is wrong, since when the last good backup stands, what to type next."""
    code, good = report.exit_code, "there is none"
    outcome = "RECOVERED" if recovered else OUTCOMES.get(code, "FAILED")
    title = f"ArrivApp {report.command} {outcome} on {os.uname().nodename}" + (f" (exit {code})" if code else "")
    lines = [line[:300] for _, problem in report.problems for line in problem.splitlines() if line.strip()]
    if len(lines) > ALERT_LINES:
        lines[ALERT_LINES:] = [f"... and {len(lines) - ALERT_LINES} lines more: see the log"]
    lines += [f"{archive.kind}: {archive.path.name}, {human_size(archive.size_bytes)}" for archive in report.made]
    try:
        if newest := newest_complete(catalog(settings).sets, settings):
            age = human_age((utc_now() - newest.moment).total_seconds())
            good = f"{newest.id}, {local_time(newest.moment)}, {age} old"
    except (BackupError, OSError) as error:
        good = f"cannot be told: {error}"
    command = own_command(settings, NEXT_COMMANDS.get(code, "status"))
    lines += [f"Last good backup: {good}", f"Log: {settings.log_dir / 'backup.log'}", f"Next: {command}"]
    text = "\n".join(starred(printable(line), settings.secret_values) for line in lines)
    return Alert(printable(title), text, str(code or ""), report.run)


def seen_at_terminal(code: int) -> bool:
    """Tell whether who sits at a terminal has seen it, a slip in typing or `| head`, so that nobody need be told."""
    return code in (USAGE, 128 + signal.SIGPIPE) and sys.stderr.isatty()


def announce(settings: Settings, report: Report) -> None:
    """Ping that a backup begins, where somebody waits for that. A failure is a warning: the ping at the end decides."""
    if report.whole and settings.healthcheck_url:
        for why in deliver([PING], settings, Alert("backup begins", "", "start", report.run), tries=1).values():
            log.warning("no ping at the start: %s", why)


def alert_people(settings: Settings, report: Report) -> None:
    """Ping after every whole backup; tell by the other channels what is wrong, and that it is right again."""
    channels, code = configured_channels(settings), report.exit_code
    recovered = bool(channels) and has_recovered(settings, report)
    told = recovered or settings.alert_on == "always" or (code and not seen_at_terminal(code))
    channels = [channel for channel in channels if (report.whole if channel is PING else told)]
    if not channels:
        return
    failed = deliver(channels, settings, alert_of(settings, report, recovered))
    sent = ", ".join(channel.name for channel in channels if channel not in failed)
    if sent:  # a fixed line, that systemd's notifier looks for; nothing that `-q` shows where all is well
        said = "alert sent" if code else "success reported"
        log.log(logging.WARNING if code else logging.INFO, "%s by %s", said, sent)
    for channel, why in failed.items():
        report.problem(f"no alert by {channel.name}: {why}. Try: backup_system.py check --send-test-alert")


# -- Metrics


def write_for_all(path: Path, text: str) -> None:
    """Replace a file by one rename, for everybody to read (0644), without a lock. If it fails, the old one stays."""
    descriptor, partial = tempfile.mkstemp(".partial", f".{path.name}.", path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            os.fchmod(descriptor, 0o644)
            adopt(descriptor, path.parent)
            stream.write(text)
        os.rename(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def metrics(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any], str, str]]:
    """Yield what Prometheus is to know: name, label, the place in the status (by label, if any), key there, meaning."""
    newest, runs, drill = facts.get("newest", {}), facts.get("runs", {}), facts.get("last_drill") or {}
    yield "build_info", "version", {VERSION: 1}, "", "The version of the tool, as a label."
    yield "healthy", "", facts, "healthy", "1 if status found nothing wrong when this was written."
    yield "last_run_timestamp_seconds", "command", runs, "time", "When the last run of a command ended."
    yield "last_run_exit_code", "command", runs, "exit_code", "0 done, 3 partly done, anything else: failed."
    yield "archive_size_bytes", "kind", newest, "size_bytes", "Size of the newest good archive."
    yield "duration_seconds", "kind", newest, "duration_seconds", "How long it took to make the newest good archive."
    yield "archive_shrunk", "kind", newest, "shrunk", "1 while one is far smaller than before, until that is accepted."
    yield "last_success_timestamp_seconds", "kind", newest, "time", "When the newest good archive was begun. 0: never."
    yield "database_rows", "", newest.get("database", {}), "rows", "Rows in the newest database archive, all tables."
    yield "qr_codes_files", "", newest.get("qr_codes", {}), "files", "Files in the newest qr_codes archive."
    if "sets" in facts:
        remotes = {state["remote"]: state for state in facts["offsite"]}
        yield "sets", "", facts, "sets", "Backup sets in BACKUP_DIR."
        yield "tier_sets", "tier", facts["tiers"], "", "Backup sets that the retention keeps, by rule."
        yield "damaged_archives", "", facts, "damaged", "Archives damaged, lost or incomplete, and unreadable sidecars."
        yield "free_bytes", "", facts, "free_bytes", "Free space of BACKUP_DIR."
        yield "last_verify_timestamp_seconds", "", facts, "last_verify", "When a verify last found one good. 0: never."
        yield "last_drill_timestamp_seconds", "", drill, "time", "When a drill last restored a set. 0: never."
        yield "recovery_target_seconds", "", facts, "recovery_target_seconds", "How long a recovery may take."
        yield "offsite_set_timestamp_seconds", "remote", remotes, "newest", "When its newest set was begun. 0: never."
    if drill:
        steps, same = drill["steps"] if isinstance(drill["steps"], dict) else {}, {"same": drill["identical"] is True}
        yield "drill_identical", "", same, "same", "1 if the last drill found what was backed up."
        yield "drill_step_duration_seconds", "step", steps, "", "How long the last drill took, by step."
        yield "recovery_seconds", "", drill, "recovery_seconds", "How long a recovery took in the last drill."


def metrics_text(facts: Mapping[str, Any]) -> str:
    """Write the status in Prometheus' text format; what is no number (the journal may hold anything) is left out."""
    lines = []
    for name, label, place, key, meaning in metrics(facts):
        samples = []
        for each, value in place.items() if label else [("", place)]:
            value = value.get(key) if key else value
            if name.endswith("_timestamp_seconds"):  # 0 for never: its age is beyond every limit
                value = int(parse_time(value).timestamp()) if value else 0
            if isinstance(value, (int, float)) and 0 <= value < 1 << 63:
                text = printable(each).replace("\\", r"\\").replace('"', r"\"")
                labels = f'{{{label}="{text}"}}' if label else ""
                samples.append(f"arrivapp_backup_{name}{labels} {value + 0}")  # True + 0 is 1
        if samples:
            lines += [f"# HELP arrivapp_backup_{name} {meaning}", f"# TYPE arrivapp_backup_{name} gauge", *samples]
    return "\n".join(lines) + "\n"


# -- Status page

PAGE_STYLE = """
:root { color-scheme: light dark; --page: #f3f5f7; --card: #ffffff; --ink: #17202b; --soft: #55606e; --line: #dfe4ea;
  --on: #ffffff; --good: #177a4c; --mild: #cbe7d7; --warn: #8f5d00; --bad: #b3261e; --plot: #2c62b6;
  --good-page: #e4f3ea; --bad-page: #fcebe9 }
@media screen and (prefers-color-scheme: dark) { :root { --page: #0f1419; --card: #182028; --ink: #e7ebf0;
  --soft: #a2adba; --line: #2d3742; --on: #0c1210; --good: #55c78c; --mild: #1f4a35; --warn: #dfae4a; --bad: #ff8a7e;
  --plot: #7fb0f5; --good-page: #142b20; --bad-page: #371b1a } }
* { box-sizing: border-box; margin: 0; padding: 0 }
body { background: var(--page); color: var(--ink); padding: 2rem 1rem; overflow-wrap: anywhere;
  font: 1rem/1.55 Inter, system-ui, "Segoe UI", Roboto, Arial, sans-serif }
body > * { max-width: 66rem; margin: 0 auto 1.25rem }
header, section, .cards div { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 1.5rem } .good-page { background: var(--good-page); border-color: var(--good) }
.bad-page { background: var(--bad-page); border-color: var(--bad) } b, .good, .warn, .bad { font-weight: 600 }
.good { color: var(--good) } .mild { color: var(--mild) } .warn { color: var(--warn) } .bad { color: var(--bad) }
.blank { color: var(--line) } .soft, dt, th, figcaption { color: var(--soft) } .soft, dt { font-size: .9rem }
h1 { font-size: 1.9rem; line-height: 1.2 } h1 small { display: block; font-size: .95rem; font-weight: 500 }
h2 { font-size: 1.15rem; line-height: 1.3; margin-bottom: 1rem } h2 + .soft { margin-top: -.7rem }
header > svg { float: left; width: 3.6rem; margin-right: 1.1rem } h1 + * { clear: both; padding-top: 1rem }
p + *, ul + *, table + p { margin-top: .7rem } * + h2 { margin-top: 1.6rem } ul { padding-left: 1.2rem }
code { font: .88em/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.grid { display: grid; gap: 1.25rem; --least: 100%;
  grid-template-columns: repeat(auto-fit, minmax(min(var(--least), 100%), 1fr)) }
.pair { --least: 26rem } section .pair { column-gap: 2.5rem } .cards { --least: 18rem }
.months { --least: 8.4rem; column-gap: 1rem; margin: 1rem 0 1.25rem }
.cards div { padding: 1.1rem 1.5rem } .cards b { display: block; font-size: 1.2rem; line-height: 1.5 }
.months svg { display: block; width: 100% } .months figcaption { font-weight: 600; font-size: .9rem;
  padding: 0 0 .35rem 12.5% }
.months text { font-size: 8.5px; fill: var(--soft); text-anchor: end }
.legend { --least: 19rem; gap: .35rem 1rem; list-style: none; padding: 0; font-size: .9rem }
.legend svg { width: 16px; vertical-align: -3px; margin-right: .45rem }
.sign { fill: none; stroke: var(--on); stroke-width: 2; stroke-linecap: round }
.plot figcaption { display: flex; justify-content: space-between; margin-bottom: 1.6rem } .plot b { color: var(--ink) }
.area { position: relative; height: 11rem; margin: 0 .8rem 2.9rem 4.2rem; font-size: .8rem; line-height: 1.2;
  color: var(--soft); white-space: nowrap } .area > * { position: absolute }
.area svg { width: 100%; height: 100%; overflow: visible; fill: none; stroke: var(--plot); stroke-width: 1.5 }
.area path { vector-effect: non-scaling-stroke; stroke-linecap: round }
.ticks { stroke: var(--line) } .dots { stroke-width: 6 }
.y { right: 100%; padding-right: .6rem; transform: translateY(50%) }
.x { top: 100%; padding-top: .5rem; transform: translateX(-50%); text-align: center }
table { border-collapse: collapse; width: 100%; font-size: .95rem } tbody tr { border-top: 1px solid var(--line) }
th, td { text-align: left; vertical-align: top; padding: .45rem .9rem .45rem 0; font-weight: 400 }
tbody th { white-space: nowrap; color: var(--ink) } td:last-child { padding-right: 0 } .steps dt { margin-top: .9rem }
.steps code { display: block; background: var(--page); border-radius: 8px; padding: .55rem .8rem; margin-top: .2rem }
@media print { :root { color-scheme: light; --page: #ffffff; font-size: 10.5px } body { padding: 0;
  print-color-adjust: exact } header, section, .cards div { break-inside: avoid; padding: 1rem } }
"""
SQUARE = '<rect width="16" height="16" rx="3" fill="currentColor"/>'
RING = '<rect x=".75" y=".75" width="14.5" height="14.5" rx="2" fill="none" stroke="currentColor" stroke-width="1.5"/>'
DAYS = {  # the states of a day, best first: colour, drawing, words
    "drilled": ("good", SQUARE + '<path fill="var(--on)" d="M8 3l5 5-5 5-5-5z"/>', "complete, and a drill restored it"),
    "verified": ("good", SQUARE + '<path class="sign" d="m4.2 8.4 2.6 2.6 5-5.6"/>', "complete, and verified"),
    "complete": ("good", SQUARE, "complete"),
    "partly": ("warn", SQUARE + '<path class="sign" d="M4.5 8h7"/>', "partly: something is missing"),
    "bad": ("bad", SQUARE + '<path class="sign" d="m5 5 6 6m0-6-6 6"/>', "damaged"),
    "removed": ("mild", SQUARE + '<circle cx="8" cy="8" r="1.6" fill="var(--good)"/>', "made, removed since"),
    "failed": ("bad", RING + '<path class="sign" style="stroke:var(--bad)" d="M8 4v5M8 12v0"/>', "the backup failed"),
    "nothing": ("soft", RING, "nothing was made"),
    "outside": ("blank", SQUARE, "before the first backup, or not yet"),
}
TARGETS = {  # the runbook's recovery times; a drill must keep the lower one
    "database": ("Database", 15 * 60, "15-30 min"),
    "qr_codes": ("QR codes", 5 * 60, "5-10 min"),
    "files": ("Configuration", 5 * 60, "5 min"),
}
SIZE_STEPS = [figure * 10**power for power in range(21) for figure in (1, 2, 5)]
TIME_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, *(3600 * step for step in SIZE_STEPS)]


def esc(text: object) -> str:
    """Make text from outside (names, messages, the journal) safe to stand in HTML, and cut what has no end."""
    return html.escape(printable(str(text)[:1000]))


def moment_text(moment: datetime.datetime) -> str:
    """Write a moment in local time with its zone, for people of every country: Tue 3 Mar 2026, 02:00 CET."""
    return f"{moment.astimezone():%a %-d %b %Y, %H:%M %Z}"


def seconds_text(seconds: float) -> str:
    """Write a duration: 0.4 s, 12 s, 3 min."""
    return f"{seconds:.1f}".removesuffix(".0") + " s" if seconds < 10 else human_age(seconds)


def judged(good: bool, praise: str, blame: str) -> str:
    """Show a result by word, sign and colour."""
    return f'<span class="good">&#10003; {praise}</span>' if good else f'<span class="bad">&#10007; {blame}</span>'


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; the cells are HTML, the first of each row is its heading."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(f'<tr><th scope="row">{name}</th><td>{"</td><td>".join(cells)}</td></tr>' for name, *cells in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def day_states(
    sets: Sequence[BackupSet], journal: Iterable[Mapping[str, Any]], kinds: Sequence[str]
) -> dict[datetime.date, str]:
    """Say for each local day how its best set stands; where there is none, what the journal says of its runs."""
    found: list[tuple[datetime.datetime, str]] = []
    for backup_set in sets:
        archives = backup_set.archives.values()
        if backup_set.lacks(kinds):
            state = "bad" if backup_set.unreadable or any(a.problem for a in archives) else "partly"
        elif backup_set.shrunk:
            state = "partly"
        elif backup_set.drill:
            state = "drilled"
        else:
            state = "verified" if all(a.verified for a in archives) else "complete"
        found.append((backup_set.moment, state))
    for entry in journal:
        if entry.get("command") == "backup":
            begun = id_moment(entry.get("id")) or parse_time(entry["time"])  # it may end tomorrow
            found.append((begun, "removed" if entry.get("made") else "failed"))
    found.sort(key=lambda item: list(DAYS).index(item[1]), reverse=True)
    return {moment.astimezone().date(): state for moment, state in found}  # the last one wins: the best


def calendar_month(year: int, month: int, states: Mapping[datetime.date, str]) -> str:
    """Draw a month, a row per week, with words for each day and, for who cannot see it, for all of it."""
    drawn, told = [], {}
    for row, week in enumerate(calendar.monthcalendar(year, month)):
        drawn.append(f'<text x="14" y="{18 * row + 11}">{next(filter(None, week))}</text>')
        for column, number in enumerate(week):
            if number:
                day = datetime.date(year, month, number)
                state = states.get(day, "outside")
                told.setdefault(state, []).append(str(number))
                place = f'href="#{state}" x="{18 * column + 18}" y="{18 * row}"'
                drawn.append(f"<use {place}><title>{day:%a %-d %b %Y}: {DAYS[state][2]}</title></use>")
    title = f"{calendar.month_name[month]} {year}"
    label = "; ".join(f"{DAYS[state][2]}: {', '.join(told[state])}" for state in DAYS if state in told)
    return f"""<figure><figcaption>{title}</figcaption><svg viewBox="0 0 144 106" role="img"
aria-label="{title}. {label}">{"".join(drawn)}</svg></figure>"""


def calendar_section(states: Mapping[datetime.date, str], today: datetime.date) -> str:
    """Draw the last 12 months, with a legend that counts."""
    months = [divmod(today.year * 12 + today.month - 12 + n, 12) for n in range(12)]  # the year, and the month less one
    first, begin = datetime.date(months[0][0], months[0][1] + 1, 1), min(states, default=today)
    days = [first + datetime.timedelta(days=n) for n in range((today - first).days + 1)]
    shown = {day: states.get(day, "nothing" if begin < day < today else "outside") for day in days}
    drawn = "".join(calendar_month(year, month + 1, shown) for year, month in months)
    legend = ""
    for state, (_, _, words) in DAYS.items():
        count = list(shown.values()).count(state)
        counted = f": <b>{count}</b> {'day' if count == 1 else 'days'}" if state != "outside" else ""
        legend += f'<li><svg viewBox="0 0 16 16" aria-hidden="true"><use href="#{state}"/></svg>{words}{counted}</li>'
    return f"""<section><h2>The last 12 months</h2>
<p class="soft">A square is a day, a row is a week from Monday. The best set of a day counts.</p>
<div class="grid months">{drawn}</div><ul class="grid legend">{legend}</ul></section>"""


def chart(
    title: str, points: Sequence[tuple[datetime.datetime, float]], until: datetime.datetime, steps: Sequence[float],
    text: Callable[[float], str],
) -> str:  # fmt: skip
    """Plot figures over time, oldest first. The drawing stretches with the page, and the words, in HTML, do not."""
    first, last = min(points[0][0], until - datetime.timedelta(days=7)), max(points[-1][0], until)
    most = max(value for _, value in points)
    step = next(step for step in steps if most <= 4 * step)
    count = max(1, -int(-most // step))
    places = []
    for moment, value in points:
        across, up = 1000 * (moment - first) / (last - first), 200 * value / (step * count)
        places.append(f"{round(across)} {200 - round(up)}")
    dots = "".join(dict.fromkeys(f"M{place}h0" for place in places))  # those on one place are one
    ticks = "".join(f"M0 {200 - round(200 * n / count)}H1000" for n in range(count + 1))
    labels = ""
    for n in range(count + 1):
        labels += f'<span class="y" style="bottom:{100 * n / count:.0f}%">{text(step * n)}</span>'
    for n in range(5):
        day = (first + (last - first) * n / 4).astimezone()
        labels += f'<span class="x" style="left:{25 * n}%">{day:%-d %b<br>%Y}</span>'
    newest = text(points[-1][1])
    return f"""<figure class="plot"><figcaption>{title}<span>newest <b>{newest}</b></span></figcaption>
<div class="area"><svg viewBox="0 0 1000 200" preserveAspectRatio="none" role="img">
<title>{title}: {len(points)} sets since {points[0][0]:%-d %b %Y}, newest {newest}, most {text(most)}</title>
<path class="ticks" d="{ticks}"/><path d="M{'L'.join(places)}"/>
<path class="dots" d="{dots}"/></svg>{labels}</div></figure>"""


def charts(sets: Sequence[BackupSet], kinds: Sequence[str], until: datetime.datetime) -> str:
    """Plot how large the complete sets are and how long they took."""
    drawn = "There is no complete set yet, so there is nothing to plot."
    complete = [(s.moment, s.archives.values()) for s in reversed(sets) if not s.lacks(kinds)]
    if complete:
        sizes = [(moment, sum(a.size_bytes for a in archives)) for moment, archives in complete]
        times = [(moment, sum(a.duration_seconds for a in archives)) for moment, archives in complete]
        drawn = chart("Size of a set", sizes, until, SIZE_STEPS, lambda size: human_size(size).replace(".0 ", " "))
        drawn += chart("Time it took", times, until, TIME_STEPS, seconds_text)
    return f"""<section><h2>Size and duration</h2><p class="soft">A dot is a complete set that is still there.</p>
<div class="grid pair">{drawn}</div></section>"""


def recovery(steps: object, kinds: Sequence[str]) -> str:
    """Hold what the last drill measured against the times that the runbook promises."""
    rows = []
    for kind in (kind for kind in TARGETS if kind in kinds):
        title, target, promise = TARGETS[kind]
        seconds, measured = steps.get(kind) if isinstance(steps, dict) else None, "not measured"
        if isinstance(seconds, (int, float)) and 0 <= seconds < 1e15:  # anybody may have edited the journal
            measured = f"{seconds_text(seconds)}, {judged(seconds <= target, 'in time', 'TOO SLOW')}"
        rows.append((title, promise, measured))
    rows.append(("The whole server", "2-4 hours", "no drill can measure it"))
    return f"""<section><h2>Recovery</h2>{html_table(("What is lost", "Back within", "The last drill took"), rows)}
<p class="soft">The time for people comes on top of what the drill took.</p></section>"""


def cleanup_section(plan: Plan, facts: Mapping[str, Any], keep_days: int) -> str:
    """Say what cleanup would delete now, and what restores have put aside."""
    rows = [(verdict.set.id, esc(verdict.reason)) for verdict in plan.verdicts if not verdict.keep]
    told = html_table(("Set", "Why"), rows[:10]) if rows else "<p>Nothing: every set that is there stays.</p>"
    if plan.refusal:
        told = f'<p><b class="warn">It deletes nothing:</b> {esc(plan.refusal)}</p>'
    elif len(rows) > 10:
        told += f"<p>and {len(rows) - 10} more: <code>backup_system.py cleanup --dry-run</code></p>"
    kept = [str(Kept(**item)) for item in facts.get("kept", ())] + [facts.get("kept_complaint")]
    aside = "".join(f"<li>{esc(text)}</li>" for text in kept if text)
    aside = f"<ul>{aside}</ul>" if aside else "<p>Nothing.</p>"
    return f"""<section><h2>What cleanup deletes next</h2>{told}<h2>Kept aside by restores</h2>
<p class="soft">for {keep_days} days; then cleanup removes it</p>{aside}</section>"""


def restore_section(newest: BackupSet | None, settings: Settings) -> str:
    """Give the commands that bring the newest complete set back, to be copied as they are."""
    steps = {"What is there": ["list"]}
    if newest:
        steps["Everything"] = ["restore", "--backup", newest.id]
        for kind in (kind for kind in TARGETS if kind in settings.kinds):
            steps[f"{TARGETS[kind][0]} only"] = [*steps["Everything"], "--only", kind]
        steps["Back to what was there before the restore"] = ["restore", "--undo"]
    typed = {title: esc(own_command(settings, *words)) for title, words in steps.items()}
    told = "".join(f"<dt>{title}</dt><dd><code>{command}</code></dd>" for title, command in typed.items())
    return f"""<section><h2>To bring it back</h2><p>On the server, in a terminal, as root: a restore asks before it
replaces anything, and keeps what was there. For the worst day there is the runbook, step by step:
<code>{esc(HERE / 'DISASTER_RECOVERY.md')}</code></p><dl class="steps">{told}</dl></section>"""


def cards(facts: Mapping[str, Any], newest: BackupSet | None) -> str:
    """Show the figures that matter most, each with a word of explanation."""
    never, verified, per_day = '<span class="warn">never</span>', facts.get("last_verify"), facts.get("bytes_per_day")
    read = moment_text(parse_time(verified)) if verified else never
    tiers = ", ".join(f"{count} {tier}" for tier, count in facts.get("tiers", {}).items())
    free = human_size(facts["free_bytes"]) if "free_bytes" in facts else "unknown"
    full = f"full in {facts['days_until_full']} days at {human_size(per_day)} a day" if per_day else ""
    shown = {
        "Newest complete set": ('<span class="bad">none</span>', "backup_system.py backup"),
        "Last drill": (never, "it restores and compares: backup_system.py drill"),
        "Last verify": (read, f"each byte, as it is stored{'' if verified else ': backup_system.py verify'}"),
        "Sets": (facts.get("sets", "unknown"), tiers),
        "Free space": (free, full),
    }
    if newest:
        size = human_size(sum(archive.size_bytes for archive in newest.archives.values()))
        shown["Newest complete set"] = moment_text(newest.moment), f"{newest.id}, {size}"
    if drill := facts.get("last_drill"):
        when = moment_text(parse_time(drill["time"]))
        same = judged(drill["identical"] is True, "identical", esc(drill["verdict"]))
        shown["Last drill"] = same, f"{when}: {esc(drill['proof'])}"
    for state in facts.get("offsite", ()):
        ages = [human_age(state[key] or 0) for key in ("age_seconds", "behind_seconds")]
        text = f"the newest there is {ages[0]} old, {ages[1]} behind" if state["newest"] else ""
        text, word = esc(state.get("complaint") or text), esc(state["newest"] or "nothing yet")
        word = f'<span class="warn">{word}</span>' if state.get("complaint") else word
        shown[f"Off-site: {esc(state['remote'])}"] = word, text
    if not facts.get("offsite"):
        missing = '<span class="warn">not set up</span>'
        shown["Off-site copies"] = missing, "if this machine is lost, so are the backups"
    row = '<div><dt>{}</dt><dd><b>{}</b><span class="soft">{}</span></dd></div>'
    return f'<dl class="grid cards">{"".join(row.format(title, *told) for title, told in shown.items())}</dl>'


def status_page(
    facts: Mapping[str, Any], sets: Sequence[BackupSet], plan: Plan, journal: Sequence[Mapping[str, Any]],
    settings: Settings, now: datetime.datetime, max_age_hours: int,
) -> str:  # fmt: skip
    """Write how the backups stand as one page that needs nothing else, no script and no other file. Pure."""
    sets = [s for s in sets if 1970 < s.moment.year < 9999]  # the others have no local time
    newest, reasons, host = newest_complete(sets, settings), facts["reasons"], esc(facts.get("host", ""))
    steps = (facts.get("last_drill") or {}).get("steps")
    whole = next((s for s in sets if not s.lacks(settings.kinds) and not s.shrunk), None)
    word, kind, sign = ("HEALTHY", "good", "verified") if facts["healthy"] else ("NOT HEALTHY", "bad", "bad")
    more = [f"and {len(reasons) - 20} more"] if len(reasons) > 20 else []
    told = "<p>The backups are there, they are new enough, and nothing is known to be wrong with them.</p>"
    if reasons:
        told = f"<ul>{''.join(f'<li>{esc(reason)}</li>' for reason in [*reasons[:20], *more])}</ul>"
    until = (newest.moment if newest and facts["healthy"] else now) + datetime.timedelta(hours=max_age_hours)
    symbols = "".join(f'<g id="{state}" class="{colour}">{svg}</g>' for state, (colour, svg, _) in DAYS.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="robots" content="noindex"><title>{word}: ArrivApp backups on {host}</title><link rel="icon" href="data:,">
<style>{PAGE_STYLE}</style></head><body>
<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{symbols}</defs></svg>
<header class="{kind}-page"><svg viewBox="0 0 16 16" aria-hidden="true"><use href="#{sign}"/></svg>
<h1><small class="soft">ArrivApp backups on {host}</small><span class="{kind}">{word}</span></h1>{told}
<p>Written <b>{moment_text(now)}</b>. Believe it until <b>{moment_text(until)}</b>: an older page proves nothing, for
whatever stopped the backups has stopped this page too. Then ask the server:
<code>backup_system.py status</code></p></header>
<main class="grid">{cards(facts, newest)}
{calendar_section(day_states(sets, journal, settings.kinds), now.astimezone().date())}
{charts(sets, settings.kinds, now)}
<div class="grid pair">{recovery(steps, settings.kinds)}{cleanup_section(plan, facts, settings.keep_before_days)}</div>
{restore_section(whole or newest, settings)}</main>
<footer class="soft">ArrivApp backup {VERSION}, {esc(settings.backup_dir)}</footer></body></html>
"""


# ==== 11. Commands and command line ===================================================================================


def say(text: str, end: str = "\n") -> None:
    """Print data to stdout."""
    print(text, end=end, flush=True)


def write_or_report(settings: Settings, report: Report, entry: Mapping[str, Any]) -> None:
    """Write into the journal; if it cannot be written, that fails nothing that was made."""
    try:
        write_journal(settings.backup_dir, entry)
    except OSError as error:
        report.problem(f"the journal could not be written: {error.strerror}")


def record(settings: Settings, report: Report, **facts: Any) -> None:
    """Write the run into the journal."""
    problems = [starred(message, settings.secret_values) for _, message in report.problems]
    entry = {"command": report.command, "run": report.run, "id": report.id or None, "exit_code": report.exit_code,
             "seconds": round(time.monotonic() - report.started, 1), "problems": problems, **facts}  # fmt: skip
    write_or_report(settings, report, entry)


def note_begin(settings: Settings, report: Report, **more: Any) -> None:
    """Write down which sets are being made or `deleted`: by that a later run knows what we leave if we die."""
    write_or_report(settings, report, {"command": "begin", "run": report.run, "id": report.id, **more})


def own_tables(facts: Mapping[str, Any]) -> dict[str, int]:
    """Give the rows of each table, without the copies that restore --table made, to be dropped again."""
    tables = facts.get("tables", {}).items()
    return {name: entry["rows"] for name, entry in tables if not re.match(r"restored_\d{8}t\d{6}z\.", name)}


def shrink_of(last: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say how an archive shrank against the one before: a table gone, rows, tables or files below half. '' if not.

    So is one marked that may be another database's, or dated by a wrong clock: cleanup stops until somebody has looked.
    """
    before, after, shrunk = own_tables(last), own_tables(now), []
    old, new = last.get("database"), now.get("database")
    if old and new and old != new:  # as where two applications share a BACKUP_DIR
        shrunk.append(f"another database: {old} before, {new} now")
    days = (parse_time(now["id"]) - parse_time(last["id"])).days
    if days > 35:  # more than lie between monthly backups: if the clock is wrong, cleanup would take all others for old
        shrunk.append(f"it is {days} days after the one before (is the clock right?)")
    counts = [("files", last.get("file_count"), now.get("file_count"))]
    if "tables" in last and "tables" in now:
        counts.append(("rows", sum(before.values()), sum(after.values())))
    elif "objects" in last and "objects" in now:  # one of them has no fingerprint
        counts.append(("tables", last["objects"].get("tables"), now["objects"].get("tables")))
    for what, old, new in counts:
        if old and new is not None and new * 2 < old:
            shrunk.append(f"{old} {what} before, {new} now ({100 - 100 * new // old} % fewer)")
    if "tables" in now and before.keys() - after.keys():
        shrunk.append(f"tables are gone: {names_shown(sorted(before.keys() - after.keys()))}")
    return "; ".join(shrunk)


def dump_into(stream: BinaryIO, job: Job, source: Source, failed: Callable[[OSError], BackupError]) -> dict[str, Any]:
    """Let a source write its archive; give the facts for the sidecar. A terminal shows how far it is."""
    digest, last, terminal = hashlib.sha256(), job.previous.get(source.kind), sys.stderr.isatty()
    started = shown = time.monotonic()
    def write(chunk: bytes) -> None:
        nonlocal shown
        digest.update(chunk)
        try:
            stream.write(chunk)
        except OSError as error:  # not to be taken for a source file that cannot be read
            raise failed(error) from error
        if terminal and time.monotonic() - shown > 0.2:
            shown, size = time.monotonic(), stream.tell()
            share = f", {100 * size / last.size_bytes:.0f} % of the last one" if last and last.size_bytes else ""
            rate = human_size(size / (shown - started))
            text = f"{source.kind}: {human_size(size)}, {rate}/s, {shown - started:.0f} s{share}"
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    try:
        facts = source.dump(job, write)
    except OSError as error:
        what = error.filename or source.kind
        raise BackupError(f"cannot read {what}: {error.strerror}: let this user read it") from error
    print("\r\x1b[K" if terminal else "", end="", file=sys.stderr)
    return {"size_bytes": stream.tell(), "sha256": digest.hexdigest(), **facts}


def store(job: Job, source: Source) -> Archive:
    """Make one archive and, last, its sidecar. Raise BackupError; nothing is left then."""
    settings, last, started = job.settings, job.previous.get(source.kind), time.monotonic()
    suffix = source.suffix + ("" if source.suffix.endswith(".gz") else compressor(settings)[1])
    suffix += f".{settings.encrypt_to.method}" if settings.encrypt_to else ""
    path = settings.backup_dir / DIRECTORIES[source.kind] / f"{STEMS[source.kind]}_{job.id}{suffix}"
    first = job.server.facts["size_bytes"] // 3 if source.kind == "database" else MIB  # a third, as measured
    needed = int(last.size_bytes * 1.2) if last else first
    failed = functools.partial(disk_failure, path=path.parent, needed=needed)
    require_space(path.parent, needed + MIB, f"the {source.kind} backup")
    try:
        with published(path) as stream:
            facts = dump_into(stream, job, source, failed)
            if last and source.suffix.endswith(".gz") and facts["sha256"] == last.sha256:
                share_bytes(path, last.path, last.sha256)
        shrunk = shrink_of(last.facts, {"id": job.id, **facts}) if last else ""
        if shrunk:
            facts["shrunk"] = shrunk
            kept = f"The backup is kept, and every older set, until: status --accept {job.id}"
            job.report.problem(f"{source.kind} shrank: {shrunk}. {kept}")
        sidecar = {
            "version": SIDECAR_VERSION, "id": job.id, "kind": source.kind, "file": path.name,
            "created_at": utc_now().isoformat(timespec="seconds"), "kinds": list(job.kinds), "tool_version": VERSION,
            "duration_seconds": round(time.monotonic() - started, 3), "host": os.uname().nodename,
            "encryption": encryption_facts(settings.encrypt_to, path.name), **facts,
        }  # fmt: skip
        data = sidecar_bytes(sidecar, settings.signing_key)
        if len(data) > SIDECAR_LIMIT:
            why = "too many tables (FINGERPRINT_SECONDS=0 leaves them out), links or unreadable files"
            raise BackupError(f"the sidecar of {path.name} would be larger than the 8 MiB that are read: {why}")
        with published(Path(f"{path}.json")) as stream:
            stream.write(data)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise failed(error) from error
        raise
    return read_archive(f"{path}.json", settings.signing_key)


def backup_kind(job: Job, source: Source) -> None:
    """Make one kind's archive, again where a lock or a standby's recovery was in the way; failures go to the report."""
    for tries_left in reversed(range(DUMP_TRIES)):
        try:
            archive = store(job, source)
            job.report.made.append(archive)
            size, seconds = human_size(archive.size_bytes), archive.duration_seconds
            log.info("%s stored: %s, %s in %.1f s", source.kind, archive.path.name, size, seconds)
            return
        except BackupError as error:
            if not tries_left or not re.search(PASSING_DUMP_FAILURE, str(error)):
                job.report.problem(f"{source.kind} was not backed up: {error}")
                return
            log.warning("%s; trying again", error)
            if tries_left == 1 and "invalid snapshot" in str(error):  # its session, the fingerprint's, ends every time
                job.report.problem("no fingerprint, so no restore of it can be proven: its session ended early, and "
                                   "only the server's log knows why")  # fmt: skip
                job = dataclasses.replace(job, settings=dataclasses.replace(job.settings, fingerprint_seconds=0))


def tidy_up(made: Sequence[Archive], orphans: Sequence[Path]) -> None:
    """Let `latest.dump.*` lead to the new database archive, for people; remove what has no sidecar and a successor."""
    for archive in [archive for archive in made if archive.kind == "database"]:
        directory = archive.path.parent
        link, partial = directory / f"latest{''.join(archive.path.suffixes)}", directory / ".latest.partial"
        try:
            partial.symlink_to(archive.path.name)
            adopt(partial, directory)
            partial.rename(link)
            for other in directory.glob("latest.dump.*"):  # packed or sealed in another way
                if other != link and other.is_symlink() and ARCHIVE_NAME.fullmatch(os.readlink(other)):
                    other.unlink()
        except OSError as error:  # a file system without links
            log.warning("the link %s could not be made: %s", link, error.strerror)
    for orphan in orphans:
        if orphan.name.startswith(tuple(STEMS[archive.kind] for archive in made)):
            log.info("removing %s: a run died before its sidecar, so it is no backup", orphan)
            orphan.unlink(missing_ok=True)


def sort_orphans(backup_dir: Path, orphans: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Part the archives without a sidecar by the journal: what runs that died have left, and all others.

    What no run of ours has begun, made whole, or was about to delete was copied here or has lost its sidecar: it may be
    the last thing that works.
    """
    begun: set[str] = set()
    good: set[str] = set()
    deleted: set[str] = set()
    for entry in read_journal(backup_dir):
        if entry.get("command") == "begin":
            begun.add(str(entry.get("id")))
            deleted.discard(str(entry.get("id")))  # pulled again
        for names, key in ((good, "made"), (good, "archives"), (deleted, "deleted")):
            names |= set(map(str, entry[key])) if isinstance(entry.get(key), (list, dict)) else set()
        if entry.get("command") == "cleanup" and isinstance(entry.get("deleted"), list):
            deleted -= set(map(str, entry["deleted"]))  # that came to its end: what is there now was brought back
    died = []
    for path in orphans:
        set_id = ARCHIVE_NAME.fullmatch(path.name)[2]
        if set_id in deleted or (set_id in begun and path.name not in good):
            died.append(path)
    return died, [path for path in orphans if path not in died]


def cmd_backup(settings: Settings, args: argparse.Namespace) -> int:
    """Make one backup set."""
    kinds = tuple(kind for kind in KINDS if kind in (args.only or settings.kinds))
    dumped = tuple(kind for kind in kinds if kind in ("database", "roles"))
    backup_dir, report = settings.backup_dir, args.report
    if set(kinds) - set(settings.kinds):
        raise UsageError(f"--only {names_shown(kinds)}: QR_CODES_DIR or CONFIG_FILES is empty, which switches that off")
    check_backup_dir(backup_dir)
    try_seal(settings)
    lock = locked(backup_dir, "backup", settings.lock_wait_seconds)
    with lock as descriptor, workspace(settings.work_dir or backup_dir, backup_dir) as work:
        sweep_partials(backup_dir)
        try:
            sweep_restores(settings)
        except (BackupError, OSError) as error:  # no reason to leave the database without a backup
            report.problem(str(error))
        report.id = new_set_id(backup_dir)
        known = catalog(settings)
        died, lost = sort_orphans(backup_dir, known.orphans)
        if lost:
            names = names_shown(path.name for path in lost)
            advice = "bring the .json files back, or move these elsewhere; restore --restore-file takes them"
            report.problem(f"archives without their sidecars: {names}: {advice}")
        note_begin(settings, report)
        job = Job(settings, report, report.id, work, None, (descriptor,), newest_archives(known.sets), kinds)
        try:
            if dumped:
                job = dataclasses.replace(job, server=find_server(settings.connection, settings, work))
        except UsageError:  # a mistake in the settings stops everything, as any other
            raise
        except BackupError as error:
            report.problem(f"{' and '.join(dumped)} not backed up: {error}", FAILED if dumped == kinds else PARTLY)
        for kind in kinds:
            if job.server or kind not in dumped:
                backup_kind(job, SOURCES[kind])
        tidy_up(report.made, died)
        if not report.made and report.exit_code != FAILED:
            report.problem("nothing was backed up", FAILED)
        record(settings, report, kinds=list(kinds), made=[archive.path.name for archive in report.made])
    if not args.quiet:
        rows = [(a.kind, a.path.name, a.size_bytes, a.duration_seconds) for a in report.made]
        state = {DONE: "complete", PARTLY: "PARTLY DONE"}.get(report.exit_code, "FAILED")
        total = sum(archive.size_bytes for archive in report.made)
        rows.append(("total", f"set {report.id} {state}", total, time.monotonic() - report.started))
        for kind, name, size, seconds in rows:
            say(f"{kind:<9} {name:<44} {human_size(size):>10} {seconds:>7.1f} s")
    log.info("backup %s ended with exit code %d", report.id, report.exit_code)
    return report.exit_code


def remotes_of(settings: Settings) -> tuple[str, ...]:
    """Give the remotes. Raise UsageError where there are none."""
    if not settings.offsite_remotes:
        raise UsageError("there is no off-site copy here: set OFFSITE_REMOTES=remote:path in .env.backup")
    return settings.offsite_remotes


def remote_catalogs(settings: Settings, report: Report) -> Iterator[tuple[Remote, Catalog, Mapping[str, Any]]]:
    """Yield what stands on each remote, with the listing; one that cannot be read goes to the report."""
    for name in remotes_of(settings):
        try:
            remote = open_remote(settings, name)
            with remote_catalog(settings, remote) as (known, there):
                yield remote, known, there
        except BackupError as error:
            report.problem(f"{name}: {error}", error.exit_code)


def list_rows(sets: Sequence[BackupSet], only: str | None) -> Iterator[str]:
    """Yield the lines of the table of sets, or of one kind in them."""
    yield f"{'SET':<16}  {'LOCAL TIME':<16}  {'KIND':<9} {'SIZE':>9}  {'AGE':>8}  PROOF"
    for backup_set in sets:
        rows, drill = [], backup_set.drill
        for kind in [kind for kind in backup_set.kinds if only in (None, kind)]:
            archive, proof = backup_set.archives.get(kind), "stored"
            if not archive:
                proof = "MISSING"
            elif archive.problem:
                proof = f"BAD: {printable(archive.problem)}"
            elif drill:
                proof = f"drilled {local_time(parse_time(drill['time']))} ({drill['seconds']:.0f} s)"
            elif archive.verified:
                proof = f"verified {local_time(parse_time(archive.verified))}"
            if archive and archive.shrunk:
                proof += f", SHRANK: {printable(archive.shrunk)}"
            rows.append((kind, human_size(archive.size_bytes) if archive else "-", proof))
        for path, why in backup_set.unreadable.items():
            rows.append(("?", "-", f"UNREADABLE {printable(os.path.basename(path))}: {printable(why)}"))
        head = f"{backup_set.id}  {local_time(backup_set.moment)}"
        age = human_age((utc_now() - backup_set.moment).total_seconds())
        for kind, size, proof in rows:
            yield f"{head:<34}  {kind:<9} {size:>9}  {age:>8}  {proof}"
            head = age = ""


def set_as_json(s: BackupSet, place: str | Path) -> dict[str, Any]:
    """Give a set as `list --json` shows it; the keys are stable."""
    archives = [
        {"kind": a.kind, "file": f"{place}/{remote_path(a)}", "size_bytes": a.size_bytes, "sha256": a.sha256,
         "created_at": a.facts["created_at"], "duration_seconds": a.duration_seconds, "problem": a.problem,
         "shrunk": a.shrunk, "verified_at": a.verified or None}
        for a in s.archives.values()
    ]  # fmt: skip
    missing = s.lacks(s.kinds)
    return {"id": s.id, "started_at": s.moment.isoformat(), "kinds": list(s.kinds), "missing": missing,
            "complete": not missing and not s.unreadable, "archives": archives, "unreadable": dict(s.unreadable),
            "drilled_at": s.drill.get("time"), "drill_seconds": s.drill.get("seconds")}  # fmt: skip


def list_offsite(settings: Settings, args: argparse.Namespace) -> int:
    """Show what stands on each remote; one that cannot be read is named, and the others are shown."""
    shown: dict[str, Any] = {}
    for remote, known, _ in remote_catalogs(settings, args.report):
        holding = [s for s in known.sets if args.kind in (None, *s.archives)]
        shown[remote.name] = [set_as_json(s, remote.name) for s in holding]
        if not args.json:
            say("\n".join([remote.name, *list_rows(holding, args.kind)]))
    if args.json:
        say(json.dumps({"version": 1, "remotes": shown}, indent=1))
    return args.report.exit_code


def cmd_list(settings: Settings, args: argparse.Namespace) -> int:
    """Show the backup sets, newest first."""
    if args.offsite:
        return list_offsite(settings, args)
    sets, orphans, strays = catalog(settings)
    if args.json:
        shown = [set_as_json(s, settings.backup_dir) for s in sets if args.kind in (None, *s.archives)]
        orphaned = [str(path) for path in orphans]
        say(json.dumps({"version": 1, "sets": shown, "orphans": orphaned, "strays": strays}, indent=1))
        return DONE
    say("\n".join(list_rows(sets, args.kind)))
    why = "an archive without its sidecar: no backup until its .json is back"
    for path, why in (dict.fromkeys(orphans, why) | strays).items():
        log.warning("%s: %s", path, why)
    if not (settings.backup_dir / MARKER).exists():
        log.warning("BACKUP_DIR %s has no marker file %s: is its disk mounted?", settings.backup_dir, MARKER)
    elif not sets:
        log.info("no backups in %s yet: make one with backup_system.py backup", settings.backup_dir)
    return DONE


def check_stored(archive: Archive) -> None:
    """Compare the stored bytes with the sidecar, if there is one. Raise DamageError that names the file."""
    name = archive.path.name
    if archive.forged:
        raise DamageError(f"{name}: {archive.forged}")
    if not archive.sha256:
        return
    try:
        facts = archive.path.lstat()
        if facts.st_size != archive.size_bytes:
            raise DamageError(f"{name}: {facts.st_size} bytes instead of {archive.size_bytes}")
        if not stat.S_ISREG(facts.st_mode):
            raise DamageError(f"{name} is no regular file")
        with archive.path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise DamageError(f"{name} is lost: the sidecar is there, the archive is gone") from None
    except OSError as error:
        raise DamageError(f"{name} cannot be read: {error.strerror}") from None
    if found != archive.sha256:
        raise DamageError(f"{name}: its SHA-256 is {found[:16]}..., the sidecar says {archive.sha256[:16]}...")


def named_file(settings: Settings, text: str) -> Path:
    """Find the file that an argument names; latest... is the newest database archive there, wherever links lead."""
    path = Path(text)
    if not path.name.startswith("latest") or (path.exists() and not path.is_symlink()):
        return path
    directory = path.parent if "/" in text else settings.backup_dir / "database"
    names = file_names(directory)
    dumps = [name for name in names if ARCHIVE_NAME.fullmatch(name) and name.startswith(STEMS["database"])]
    if not dumps:
        raise UsageError(f"there is no database backup in {directory}")
    newest = directory / max(dumps, key=lambda name: (f"{name}.json" in names, name))
    log.warning("%s means %s", text, newest)
    return newest


def archive_of_file(path: Path, kinds: Sequence[str], settings: Settings, work: Path | None) -> Archive:
    """Make the Archive of any file: by its sidecar, else by its content, with no checksum. Raise UsageError."""
    try:
        return read_archive(f"{path}.json", settings.signing_key)
    except FileNotFoundError:
        why = "has no sidecar"
    except ValueError as error:
        why = f"has a sidecar that cannot be trusted ({error})"
    log.warning("%s %s: its bytes cannot be compared with a checksum", path.name, why)
    if not path.exists():
        raise UsageError(f"there is no file {path}")
    if settings.signing_key and ARCHIVE_NAME.fullmatch(path.name):  # a forger would just take the sidecar away
        why = "SIGNING_KEY is set: under another name it is a foreign file"
        raise DamageError(f"{path.name} has no signed sidecar, and {why}")
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


def verify_archive(
    archive: Archive, settings: Settings, work: Path | None, opened: contextlib.ExitStack
) -> tuple[Archive, str]:
    """Check an archive on both levels; give it as it can be read, unsealed until `opened` ends, and say what was done.

    Raise DamageError, NoKey where it is sealed and cannot be opened here, PartlyDone where a program is missing.
    """
    check_stored(archive)
    try:
        plain = opened.enter_context(unsealed(archive, settings, work))
        script = not archive.sha256 and archive.kind == "database" and content_of(plain.path, settings) == "sql"
        detail = SOURCES["roles" if script else archive.kind].inspect(plain.path, settings)
    except FileNotFoundError:
        raise DamageError(f"{archive.path.name} is lost: it went while it was read") from None
    done = ("checksum, " if archive.sha256 else "no checksum; ") + ("" if plain is archive else "unsealed, ")
    return plain, done + detail


def check_each(
    sets: Iterable[BackupSet], check: Callable[[Archive], str], args: argparse.Namespace, place: str = ""
) -> dict[str, str]:
    """Check the archives of sets, with a line each; give what is wrong by file name, for the journal ('' if nothing).

    `check` says what it did, '' where it has left an archive out.
    """
    marks: dict[str, str] = {}
    for archive in (archive for backup_set in sets for archive in backup_set.archives.values()):
        name, code = archive.path.name, DONE
        try:
            text = check(archive)
        except NoKey as error:
            text, code = f"only the stored bytes were checked: it{str(error).removeprefix(name)}", PARTLY
        except BackupError as error:
            text, code = str(error).removeprefix(f"{name}: "), error.exit_code
        if not text or (code and archive.sha256 and not os.path.exists(f"{archive.path}.json")):
            continue  # the latter: a cleanup at work beside us removed it
        if code:
            args.report.problem(place + (text if name in text else f"{name}: {text}"), code)
        if code in (DONE, DAMAGE):
            marks[name] = text if code else ""
        if code or not args.quiet:
            word = {DONE: "OK", PARTLY: "PARTLY", DAMAGE: "DAMAGED"}.get(code, "FAILED")
            say(f"{word:<8} {name:<44} {place}{printable(text)}")
    return marks


def sets_to_verify(known: Catalog, settings: Settings, args: argparse.Namespace, place: str = "") -> list[BackupSet]:
    """Choose the sets that are to be read to their end; sidecars that cannot be read are damage."""
    sets, target = known.sets, args.target or "latest"
    if target == "random" and sets:
        target = secrets.choice(sets).id
    complete = newest_complete(sets, settings)
    if target == "latest" and complete:  # the one that a restore takes
        target = complete.id
    try:
        chosen = sets if args.all else [find_set(sets, target, ())]
    except UsageError as error:
        args.report.problem(f"{place}{error}", PARTLY if place and not sets else USAGE)
        chosen = []
    unreadable = dict(known.strays) if args.all or place else {}
    for backup_set in sets if place else chosen:
        unreadable |= backup_set.unreadable
    for path, why in unreadable.items():
        args.report.problem(f"{place}{os.path.basename(path)}: the sidecar cannot be read: {why}", DAMAGE)
    return chosen


def verify_offsite(settings: Settings, args: argparse.Namespace) -> int:
    """Compare what stands on each remote with what was pushed, and read a set there to its end; nothing is stored."""
    notes: dict[str, dict[str, Any]] = {}
    for remote, known, there in remote_catalogs(settings, args.report):
        place, noted = f"{remote.name}: ", offsite_notes(settings.backup_dir, remote.name)
        gone = vanished(settings, noted.pushed, there)
        for path in gone:
            args.report.problem(f"{place}{path} was pushed, and is gone there", DAMAGE)
        chosen = {backup_set.id for backup_set in sets_to_verify(known, settings, args, place)}
        def check(archive: Archive) -> str:
            path = remote_path(archive)
            if path in gone:
                return ""  # told above
            if path not in there or there[path]["Size"] != archive.size_bytes:
                raise DamageError(f"{path} is gone there, or not as long as it was")
            if archive.id not in chosen:
                return ""  # to read it would cost a download
            download(remote, path, archive.size_bytes, archive.sha256)
            return "checksum"

        present = {os.path.basename(path) for path in there}
        marks = {name: "" for name in noted.damaged if name not in present}
        notes[remote.name] = {"gone": gone, "archives": marks | check_each(known.sets, check, args, place)}
    if os.access(settings.backup_dir / MARKER, os.W_OK) and not seen_at_terminal(args.report.exit_code):
        record(settings, args.report, offsite=notes)  # not where a disk is not mounted
    return args.report.exit_code


def cmd_verify(settings: Settings, args: argparse.Namespace) -> int:
    """Check stored archives: size and SHA-256, then a full read by the program that will restore them."""
    if args.offsite:
        return verify_offsite(settings, args)
    backup_dir, target = settings.backup_dir, args.target or ""
    writable = os.access(backup_dir, os.W_OK)
    work = settings.work_dir or (backup_dir if writable else None)
    def check(archive: Archive) -> str:
        with contextlib.ExitStack() as opened:
            return verify_archive(archive, settings, work, opened)[1]

    if "/" in target or Path(target).is_file():
        archive = archive_of_file(named_file(settings, target), ("files",), settings, work)
        chosen = [BackupSet(archive.id, {archive.kind: archive}, ())]
        writable = writable and archive.path.resolve().parent.parent == backup_dir.resolve()  # else it is a copy
    else:
        chosen = sets_to_verify(catalog(settings), settings, args)
        if not chosen and not (backup_dir / MARKER).exists():
            check_backup_dir(backup_dir, make=False)
        if not chosen and not args.report.problems:
            log.warning("there is no backup in %s yet, so nothing was verified", backup_dir)
    marks = check_each(chosen, check, args)
    damaged = {a.sha256: a.path for s in chosen for a in s.archives.values() if marks.get(a.path.name)}
    for other in (a for s in (catalog(settings).sets if damaged else ()) for a in s.archives.values()):
        bad = damaged.get(other.sha256)
        if bad and bad.exists() and other.path.exists() and other.path.samefile(bad):  # several sets may share one file
            marks.setdefault(other.path.name, f"the same file as {bad.name}, which is damaged")
    if marks and writable:
        record(settings, args.report, archives=marks)
    return args.report.exit_code


def find_kept(settings: Settings, work: Path) -> tuple[list[Kept], Server | None, str]:
    """List what restores have put aside, with the server that holds databases of it, or why that was not asked."""
    connection, kept = settings.restore_database_url or settings.connection, kept_paths(settings)
    if connection == Connection():
        return kept, None, ""
    try:
        server = find_admin_server(connection, settings, work, patient=False)
        return kept + kept_databases(server, settings), server, ""
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
        live = item.live in databases if item.kind == "database" else status_of(Path(item.live))
        if item.id >= limit or item.foreign or not live:  # where nothing is live, this is the last there is
            continue
        log.info("%s %s", "would remove" if dry_run else "removing", item)
        if dry_run:
            continue
        try:
            if item.kind == "database":
                drop_database(server, item.place)
            elif item.kind == "qr_codes":
                shutil.rmtree(item.place)
            else:
                os.unlink(item.place)
        except OSError as error:
            log.warning("%s could not be removed: %s", item, error.strerror)


def sets_to_delete(
    sets: Sequence[BackupSet], settings: Settings, args: argparse.Namespace, where: str = ""
) -> tuple[list[BackupSet], str]:
    """Show what retention keeps and deletes, with a reason per set; give what is to go now, and why nothing may."""
    verdicts, refusal = plan_cleanup(sets, settings, utc_now())
    if not args.quiet:
        say("\n".join(f"{'keep' if v.keep else 'DELETE':<7} {v.set.id}  {v.reason}" for v in verdicts))
    going = [verdict.set for verdict in verdicts if not verdict.keep]
    freed = human_size(sum(archive.size_bytes for s in going for archive in s.archives.values()))
    log.info("cleanup%s: %d sets stay, %d go (up to %s)", where, len(sets) - len(going), len(going), freed)
    if refusal:
        args.report.problem(f"nothing was deleted{where}: {refusal}")
    return [] if args.dry_run else going, refusal


def cleanup_offsite(settings: Settings, args: argparse.Namespace) -> None:
    """Apply the same retention to each remote. The journal comes first, or what we delete would be missed later."""
    for name in settings.offsite_remotes:
        try:
            remote = open_remote(settings, name)
            with remote_catalog(settings, remote) as (known, _):
                if not args.quiet:
                    say(name)
                going, _ = sets_to_delete(known.sets, settings, args, f" on {name}")
            for backup_set in going:
                log.info("deleting %s on %s", backup_set.id, name)
                paths = [remote_path(archive) for archive in backup_set.archives.values()]
                note = {"command": "cleanup", "id": backup_set.id, "offsite": {name: {"deleted": paths}}}
                write_journal(settings.backup_dir, note)
                for ending in (".json", ""):  # the sidecars first, as here
                    rclone(remote, "delete", *(f"--include=/{path}{ending}" for path in paths), name)
        except BackupError as error:
            args.report.problem(f"cleanup on {name} failed: {error}")


def cmd_cleanup(settings: Settings, args: argparse.Namespace) -> int:
    """Show what retention keeps and deletes, with a reason per set, then delete."""
    backup_dir, report = settings.backup_dir, args.report
    check_backup_dir(backup_dir)
    lock = contextlib.nullcontext() if args.dry_run else locked(backup_dir, "cleanup", settings.lock_wait_seconds)
    with lock, workspace(None) as work:
        going, refusal = sets_to_delete(catalog(settings).sets, settings, args)
        if going:
            note_begin(settings, report, deleted=[backup_set.id for backup_set in going])
        for backup_set in going:
            log.info("deleting %s", backup_set.id)
            for archive in backup_set.archives.values():  # a kill in between leaves no sidecar without its archive
                Path(f"{archive.path}.json").unlink(missing_ok=True)
                sync_directory(archive.path.parent)
                archive.path.unlink(missing_ok=True)
                sync_directory(archive.path.parent)
        if not args.dry_run:
            record(settings, report, deleted=[backup_set.id for backup_set in going])
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
    notes: dict[str, dict[str, Any]] = {}
    push_all(settings, report, notes, args.again)
    if all(note["failed"] for note in notes.values()):
        report.problem("nothing was pushed", FAILED)
    record(settings, report, offsite=notes)
    for name, note in notes.items() if not args.quiet else ():
        done = f"{len(note['pushed'])} archives new there, newest complete set {note['newest'] or 'none'}"
        say(f"{'FAILED' if note['failed'] else 'PARTLY' if note.get('gone') else 'OK':<8} {name}: {done}")
    return report.exit_code


def pull_archive(remote: Remote, archive: Archive, settings: Settings) -> None:
    """Bring an archive here and, last, its sidecar. A good one stays as it is; a damaged one is not replaced."""
    path = settings.backup_dir / remote_path(archive)
    sidecar = Path(f"{path}.json")
    try:
        if path.exists():
            check_stored(dataclasses.replace(archive, file=str(path)))
            log.info("%s is here already, and good", path.name)
        else:
            require_space(path.parent, archive.size_bytes + MIB, path.name)
            with published(path) as stream:
                download(remote, remote_path(archive), archive.size_bytes, archive.sha256, stream.write)
        if not sidecar.exists():
            with published(sidecar) as stream:
                stream.write(archive.sidecar)
        elif sidecar.read_bytes() != archive.sidecar:
            raise DamageError(f"{sidecar} is another")
    except DamageError as error:
        if not path.exists():
            raise
        advice = "move it and its .json file aside, then pull again"
        raise DamageError(f"{path} is here and not what is off-site: {advice}") from error
    except OSError as error:
        raise disk_failure(error, path.parent, archive.size_bytes) from error


def cmd_pull(settings: Settings, args: argparse.Namespace) -> int:
    """Bring a set here from off-site, where it is newest; what one remote cannot give, the next one may."""
    report, backup_dir = args.report, settings.backup_dir
    remotes_of(settings)
    check_backup_dir(backup_dir)
    with locked(backup_dir, "pull", settings.lock_wait_seconds):
        sweep_partials(backup_dir)
        found: list[tuple[Remote, BackupSet]] = []
        for remote, known, _ in remote_catalogs(settings, report):
            try:
                found.append((remote, find_set(known.sets, args.target, settings.kinds)))
            except UsageError as error:
                report.problem(f"{remote.name}: {error}", USAGE)
        for remote, chosen in sorted(found, key=lambda pair: pair[1].id, reverse=True):
            report.id = chosen.id
            here = [a.path.name for a in chosen.archives.values() if os.path.exists(backup_dir / remote_path(a))]
            note_begin(settings, report, made=here)
            log.info("pulling %s from %s", chosen.id, remote.name)
            came = 0
            for archive in chosen.archives.values():
                try:
                    pull_archive(remote, archive, settings)
                    report.made.append(archive)
                    came += 1
                except BackupError as error:
                    report.problem(f"{remote.name}: {error}", error.exit_code)
            if 0 < came == len(chosen.archives) and not chosen.unreadable:  # this one gave all of it
                report.problems = [(PARTLY, text) for code, text in report.problems if code != USAGE]
                say(f"{chosen.id} is here, from {remote.name}. Next: backup_system.py verify {chosen.id}")
                break
        record(settings, report, archives={archive.path.name: "" for archive in report.made})
    return report.exit_code


def choose_archives(settings: Settings, args: argparse.Namespace, work: Path) -> list[Archive]:
    """Work out which archives a restore means, in the order in which to prepare them."""
    if args.restore_file:
        path = named_file(settings, args.restore_file)
        chosen = [archive_of_file(path, args.only, settings, work)]
        if args.only and chosen[0].kind not in args.only:
            raise UsageError(f"{path.name} holds {chosen[0].kind}, not {' or '.join(args.only)}")
    else:
        order = ("roles", "database", "qr_codes", "files")
        wanted = [kind for kind in order if kind in (args.only or settings.kinds)]
        backup_set = find_set(catalog(settings).sets, args.backup, wanted)
        absent = [kind for kind in wanted if kind not in backup_set.archives]
        if absent:
            raise UsageError(f"set {backup_set.id} has no {', '.join(absent)}: choose another, or --only what it has")
        chosen = [backup_set.archives[kind] for kind in wanted]
    for archive in chosen:
        check_stored(archive)
        if archive.shrunk:
            log.warning("%s SHRANK: %s. Is an older set the right one?", archive.path.name, archive.shrunk)
    return chosen


def target_database(settings: Settings, args: argparse.Namespace) -> str:
    """Name the database that a restore is about; '' where nothing says it."""
    url = settings.restore_database_url or Connection()
    return args.database or settings.connection.dbname or url.dbname or settings.env.get("PGDATABASE", "")


def restore_targets(settings: Settings, args: argparse.Namespace, kinds: Sequence[str]) -> dict[str, str]:
    """Say where each kind goes. Raise UsageError where that is not clear."""
    if args.directory and (len(kinds) != 1 or kinds[0] not in ("qr_codes", "files")):
        raise UsageError("--directory takes the members of one archive: add --only qr_codes or --only files")
    if "qr_codes" in kinds and not (args.directory or settings.qr_codes_dir):
        raise UsageError("into which directory? QR_CODES_DIR is empty: set it, or say --directory DIR")
    if args.database and "database" not in kinds:
        raise UsageError("--database is given, but no database is restored")
    database = target_database(settings, args)
    if "database" in kinds and not database:
        raise UsageError("into which database? Say --database NAME, or set DB_NAME in .env.backup")
    if any(c in database for c in "\n\r\0") or len(database.encode()) > 63:
        raise UsageError("a database name has at most 63 bytes and no line break")
    places = {"qr_codes": args.directory or settings.qr_codes_path, "files": args.directory or settings.app_dir}
    return {"database": database, "roles": ""} | {kind: str(path.absolute()) for kind, path in places.items()}


def what_is_replaced(job: Job, archive: Archive, target: str) -> str:
    """Describe live data that a restore would replace; '' where there is none."""
    if archive.kind == "database":
        row = database_row(job.server, target)
        if not row:
            return ""
        if is_empty(job.server, target):
            return ""
        what = f"{human_size(row['size_bytes'])}, {row['connections']} connections will be cut"
        return f"database {printable(target)} at {job.server.connection.host or 'this machine'} ({what})"
    if archive.kind == "qr_codes" and Path(target).is_dir() and os.listdir(target):
        return f"directory {target} ({len(os.listdir(target))} entries)"
    names = archive.facts.get("names", job.settings.config_files) if archive.kind == "files" else ()
    present = [name for name in names if (Path(target) / name).exists()]
    return f"configuration files in {target}: {names_shown(present)}" if present else ""


def confirm(replaced: Iterable[str], word: str, args: argparse.Namespace) -> None:
    """Ask before live data is replaced: a word is typed on a terminal, `--yes` answers elsewhere. Raise UsageError."""
    for text in replaced:
        log.warning("this replaces %s; what is there now is kept aside", text)
    if args.yes or not word:
        return
    if not sys.stdin.isatty():
        raise UsageError("live data would be replaced: say --yes if that is meant (nothing was changed)")
    print(f"Type {printable(word)} to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != word:
        raise UsageError("not confirmed; nothing was changed")


def swap_all(job: Job, swaps: Mapping[str, Callable[[], str]], word: str, advice: str) -> None:
    """Put all that was prepared in place, one after the other; a failure or a signal says what is in place already."""
    done: list[str] = []
    for what, swap in swaps.items():
        try:
            log.info("%s %s: %s", word, what, swap())
        except (BackupError, OSError, Stopped) as error:
            told = f"; already {word}: {', '.join(done)}; {advice}" if done else ""
            if isinstance(error, Stopped):
                job.report.problem(f"{what} was not {word}: {error}{told}", error.exit_code)
                raise
            raise BackupError(f"{what} could not be {word}: {error}{told}") from error
        done.append(what)


def undo_restore(job: Job, args: argparse.Namespace, kept: Sequence[Kept]) -> list[str]:
    """Swap back what the newest restore put aside, of the kinds asked for; done twice, it is as before."""
    ours = ("database", target_database(job.settings, args))
    kept = [item for item in kept if (item.kind, item.live) == ours or item.kind != "database"]
    kept = [item for item in kept if not item.differs and item.kind in (args.only or KINDS)]
    newest = max((item.id for item in kept), default="")
    chosen = [item for item in kept if item.id == newest]
    if not chosen:
        raise UsageError("no restore has put anything aside, or cleanup has removed it: there is nothing to undo")
    others = {item.kind for item in kept} - {item.kind for item in chosen}
    if others:
        log.warning("kept by an earlier restore, or by an undo that was cut off, and left as it is: %s "
                    "(restore --undo --only KIND)", ", ".join(sorted(others)))  # fmt: skip
    before = f"with what was there before the restore {newest}"
    confirm([f"{item.kind} {printable(item.live)} {before}" for item in chosen], "undo", args)
    swaps = {f"{item.kind} {printable(item.live)}": functools.partial(put_back, job, item) for item in chosen}
    swap_all(job, swaps, "put back", "for the rest: restore --undo --only KIND")
    return [item.place for item in chosen]


def restore_tables(job: Job, archive: Archive, names: Sequence[str], target: str,
                   undo: contextlib.ExitStack) -> list[str]:  # fmt: skip
    """Bring single tables of a backup into the live database, beside its own: `restored_<id>.TABLE`."""
    live = database_row(job.server, target)
    if not live:
        raise UsageError(f"there is no database {printable(target)} to bring tables into: leave --table out")
    schema = f"restored_{(archive.id or job.id).lower()}"
    with explained(job.server.connection):
        scratch = Database().build(job, archive, live, undo)
        if scratch.differences and not job.accept_differences:
            differences = differences_text(scratch.differences)
            raise DamageError(f"the backup does not restore as it was: --accept-differences goes on\n{differences}")
        tables = copy_tables(job, scratch.name, target, schema, names)
    advice = f"take from there what is missing, then DROP SCHEMA {schema} CASCADE"
    log.info("brought back %s: %s", ", ".join(tables), advice)
    return tables


def restore_archives(job: Job, args: argparse.Namespace, archives: Sequence[Archive], targets: Mapping[str, str],
                     undo: contextlib.ExitStack) -> list[str]:  # fmt: skip
    """Build every archive beside what is live, then swap all of them in; what was there is kept."""
    replaced, swaps = {}, {}
    for archive in archives:
        text = what_is_replaced(job, archive, targets[archive.kind])
        if text:
            age = f", {human_age((utc_now() - parse_time(archive.id)).total_seconds())} old" if archive.id else ""
            word = targets["database"] if archive.kind == "database" else archive.kind
            replaced[word] = f"{text} with {archive.path.name}{age}"
    confirm(replaced.values(), next(iter(replaced), ""), args)
    for archive in archives:
        log.info("preparing %s from %s", archive.kind, archive.path.name)
        swap = SOURCES[archive.kind].restore(job, archive, targets[archive.kind], undo)
        if archive.kind == "roles":  # at once, for the database may need them
            log.info("restored roles: %s", swap())
        else:
            swaps[f"{archive.kind} {targets[archive.kind]}"] = swap
    swap_all(job, swaps, "restored", "restore --undo takes that back")
    return [archive.path.name for archive in archives]


def cmd_restore(settings: Settings, args: argparse.Namespace) -> int:
    """Restore archives, or single tables, or undo the last restore; what was there before is kept."""
    if args.undo and (args.table or args.directory or (args.database and set(args.only) - {"database"})):
        raise UsageError("--undo takes back all that a restore replaced, --only a KIND of it, or what is live as "
                         "--database: no --table, no --directory")  # fmt: skip
    if args.table and (args.directory or set(args.only) - {"database"}):
        raise UsageError("--table brings single tables of a database back: leave --directory and other kinds out")
    args.only = ["database"] if args.table or (args.undo and args.database) else args.only
    report, backup_dir, lock, base = args.report, settings.backup_dir, (), None
    with contextlib.ExitStack() as undo:
        if os.path.exists(backup_dir / MARKER) and os.access(backup_dir, os.W_OK):  # on a new machine it works without
            base, lock = backup_dir, (undo.enter_context(locked(backup_dir, "restore", settings.lock_wait_seconds)),)
            sweep_restores(settings)
        report.id = utc_now().strftime(ID_FORMAT)
        work = undo.enter_context(workspace(settings.work_dir or base, base))
        chosen = [] if args.undo else choose_archives(settings, args, work)
        archives = [undo.enter_context(unsealed(archive, settings, work)) for archive in chosen]
        kinds = [archive.kind for archive in archives] or args.only or settings.kinds
        targets = {} if args.undo else restore_targets(settings, args, kinds)
        server = None
        database = target_database(settings, args)
        if {"database", "roles"} & set(kinds) and (archives or database):
            connection = settings.restore_database_url or settings.connection
            server = find_admin_server(connection, settings, work, target=database)
        kept = kept_databases(server, settings) if server else []  # first, for an undo of them alone may be refused
        kept += kept_paths(settings) if {"qr_codes", "files"} & set(kinds) else []
        while any(item.id == report.id for item in kept):  # by a restore that was killed within this second
            time.sleep(0.05)
            report.id = utc_now().strftime(ID_FORMAT)
        job = Job(settings, report, report.id, work, server, lock, accept_differences=args.accept_differences)
        if args.undo:
            done = undo_restore(job, args, kept)
        elif args.table:
            done = restore_tables(job, archives[0], args.table, targets["database"], undo)
        else:
            done = restore_archives(job, args, archives, targets, undo)
        if lock:
            record(settings, report, **{"undone" if args.undo else "restored": done}, targets=targets)
        while utc_now().strftime(ID_FORMAT) == report.id:  # the next restore must find a name of its own
            time.sleep(0.05)
    return report.exit_code


PNG = b"\x89PNG\r\n\x1a\n"
RECOVERY_TARGET_SECONDS = 15 * 60


def check_pictures(path: Path, wanted: Sequence[str], report: Report) -> str:
    """Look whether every .png of a tar archive starts like one, and whether it holds all that the database names."""
    there, broken, found = set(), [], {}
    for tar, member in tar_members(path):
        if member.isreg():
            there.add(os.path.normpath(member.name))
            if member.name.endswith(".png") and tar.extractfile(member).read(len(PNG)) != PNG:
                broken.append(member.name)
    for text in wanted:  # it only has to end with a member's name: applications store it with and without directory
        parts = text.strip("/").split("/")
        found[text] = there & {"/".join(parts[start:]) for start in range(len(parts))}
    missing = [text for text in wanted if not found[text]]
    orphans = sorted(there.difference(*found.values())) if wanted else []
    if broken:
        report.problem(f"{path.name}: no PNG inside: {names_shown(broken)}", DAMAGE)
    if missing:
        report.problem(f"{path.name} lacks {len(missing)} files that the database names: {names_shown(missing)}")
    if orphans:
        nobodys = names_shown(orphans)
        log.warning("%d files in %s belong to nobody in the database: %s", len(orphans), path.name, nobodys)
    counts = f"{len(missing)} missing, {len(orphans)} orphaned, {len(broken)} no PNG"
    return f"{len(there)} files, {len(wanted)} named by the database, {counts}"


def drill_database(job: Job, archive: Archive, undo: contextlib.ExitStack) -> tuple[str, list[str]]:
    """Restore a database into a scratch one and compare; give what was proven and the paths of QR codes in it."""
    report, query, paths = job.report, job.settings.qr_codes_query, []
    scratch = Database().build(job, archive, None, undo, drill=True)
    if scratch.differences:
        count = len(scratch.differences)
        report.problem(f"{archive.path.name} does not restore as it was backed up: {count} differences", DAMAGE)
        for line in differences_text(scratch.differences).split("\n"):
            log.error("%s", line)
    counted = only_counted(scratch.found.get("tables", {}))
    if not scratch.found:
        report.problem(f"{archive.path.name} was restored, but not proven: no fingerprint")
    elif counted:
        why = "(FINGERPRINT_SECONDS, or no right to read it)"
        report.problem(f"{archive.path.name} was restored, but {NOT_HASHED}{names_shown(counted)} {why}")
    try:
        if query:  # not by a session, for which a quote that is not closed has no end
            command = [job.server.psql, *PSQL_FLAGS, "-t", "--csv", "-d", scratch.name]
            own = [entry["value"] for entry in (archive.facts.get("properties") or {}).get("settings", ())
                   if entry.get("name") == "search_path" and not entry.get("role")]  # fmt: skip
            command += [word for path in own for word in ("-c", f"SET search_path = {path}")]
            command += ["-c", "SET default_transaction_read_only = on", "-c", query]
            with explained(job.server.connection):
                env = {**job.server.env, "PGCLIENTENCODING": "UTF8"}
                text = run(command, env=env, limit=job.settings.restore_seconds)
            paths = [row[0] for row in csv.reader(io.StringIO(text, newline="")) if row and row[0]]  # NULL: []
    except BackupError as error:
        report.problem(f"QR_CODES_QUERY failed, so the pictures were not compared (empty, it is switched off): {error}")
    return proof_text(scratch.found) if scratch.found else "not proven", paths


def drill_steps(job: Job, backup_set: BackupSet, marks: dict[str, str],
                undo: contextlib.ExitStack) -> Iterator[tuple[str, str]]:  # fmt: skip
    """Verify and restore every archive of a set into places of its own; yield each step's name and what it found."""
    plain: dict[str, Archive] = {}  # as they can be read
    paths: list[str] = []
    for kind, archive in backup_set.archives.items():
        marks[archive.path.name] = ""  # nothing is wrong with it
        try:
            plain[kind], text = verify_archive(archive, job.settings, job.work, undo)
        except DamageError as error:
            marks[archive.path.name] = text = str(error)
            job.report.problem(text, DAMAGE)
        yield f"verify {kind}", text
    if "database" in plain:
        text, paths = drill_database(job, plain["database"], undo)
        yield "database", text
    for kind in ("qr_codes", "files"):
        if kind in plain:
            place = job.work / kind
            place.mkdir()
            count = unpack_tar(plain[kind].path, place, place)
            shutil.rmtree(place)
            yield kind, f"{count} files unpacked"
    if "qr_codes" in plain:
        yield "pictures", check_pictures(plain["qr_codes"].path, paths, job.report)


def why_not_opened(settings: Settings) -> str:
    """Seal a byte and open it again; say why that fails, '' where the key is here. Raise UsageError for an open key."""
    try:
        stages = [["echo"], *seal_stage(settings), open_stage(settings.encrypt_to.method, settings)]
        pipeline(stages, env=settings.env, limit=60)
    except UsageError:
        raise
    except BackupError as error:
        return seal_words(error) if isinstance(error, ProgramError) else str(error)
    return ""


def last_entry(journal: Iterable[Mapping[str, Any]], command: str, key: str = "command") -> Mapping[str, Any]:
    """Give the journal's last entry of a command that has a key; {} where there is none."""
    found = [entry for entry in journal if entry.get("command") == command and key in entry]
    return found[-1] if found else {}


def drill_overdue(settings: Settings) -> str:
    """Say what to do where the key is elsewhere and the journal knows of no good drill there; '' where it does."""
    good = [entry for entry in read_journal(settings.backup_dir) if entry.get("identical") is True]
    since = (utc_now() - datetime.timedelta(days=DRILL_ELSEWHERE_DAYS)).isoformat()
    if since < last_entry(good, "drill").get("time", "") <= utc_now().isoformat():
        return ""
    return "no good drill lately: drill where the key is, and append the last line of its journal to this one"


def cmd_drill(settings: Settings, args: argparse.Namespace) -> int:
    """Prove a set by restoring it beside everything that is live, compare it, time it, and remove it again."""
    report, backup_dir, tell = args.report, settings.backup_dir, log.debug if args.quiet else say
    check_backup_dir(backup_dir)
    if args.if_older and settings.encrypt_to and why_not_opened(settings):  # the timer's, where the key is elsewhere
        if overdue := drill_overdue(settings):
            raise PartlyDone(f"this machine cannot open what it seals, and {overdue}")
        log.info("no drill here: this machine cannot open what it seals, and the journal knows of a good one")
        return DONE
    with contextlib.ExitStack() as undo:
        lock = undo.enter_context(locked(backup_dir, "drill", settings.lock_wait_seconds))
        work = undo.enter_context(workspace(settings.work_dir or backup_dir, backup_dir))
        sweep_restores(settings)
        sets, last = catalog(settings).sets, last_entry(read_journal(backup_dir), "drill")
        proven = last.get("identical") is True and any(s.id == last.get("id") for s in sets)
        days = datetime.timedelta(days=args.if_older)
        if proven and datetime.timedelta(0) <= utc_now() - parse_time(last["time"]) < days:
            log.info("no drill is due: %s was drilled within %d days", last["id"], args.if_older)
            return DONE
        complete = [s.id for s in sets if not s.lacks(settings.kinds)]
        wanted = secrets.choice(complete) if args.backup == "random" and complete else args.backup
        chosen = find_set(sets, wanted, settings.kinds)
        report.id = chosen.id
        sizes = [a.facts.get("raw_bytes") or a.size_bytes for a in chosen.archives.values()]
        room = f"{human_size(max(sizes, default=0))} in {work.parent} and as much again on the database server"
        log.info("drill of %s: it needs up to %s", chosen.id, room)  # for it takes one at a time
        connection = settings.drill_database_url or settings.connection
        server = find_admin_server(connection, settings, work) if "database" in chosen.archives else None
        if not server:
            report.problem(f"{chosen.id} holds no database, so there are no rows to compare")
        job = Job(settings, report, utc_now().strftime(ID_FORMAT), work, server, (lock,))
        marks, seconds, proof, began = {}, {}, "not proven", time.monotonic()
        for step, text in drill_steps(job, chosen, marks, undo):
            seconds[step] = round(time.monotonic() - began, 2)
            tell(f"{step:<16} {seconds[step]:>8.1f} s  {printable(text)}")
            proof = text if step == "database" else proof
            began = time.monotonic()
        recovery = round(sum(seconds.get(step, 0) for step in ("database", "qr_codes", "files")), 1)
        verdict = "NOT PROVEN" if proof == "not proven" else "PARTLY HASHED" if NOT_HASHED in proof else "identical"
        verdict = "DIFFERENT" if report.exit_code == DAMAGE else verdict
        facts = {"identical": verdict == "identical", "verdict": verdict, "steps": seconds, "proof": proof}
        record(settings, report, set=chosen.id, archives=marks, recovery_seconds=recovery, **facts)
    tell(f"{'recovery':<16} {recovery:>8.1f} s  of the {RECOVERY_TARGET_SECONDS} s that it may take")
    tell(f"| {local_time(utc_now())} | {chosen.id} | {verdict} | {proof} | {recovery:.1f} s |")
    return report.exit_code


def why_stale(newest: BackupSet | None, max_age_hours: int) -> str:
    """Say why the newest complete set is no good news; '' where it is."""
    if not newest:
        return "there is no complete set: backup_system.py backup"
    age = (utc_now() - newest.moment).total_seconds()
    if age < 0:
        return f"{newest.id} is dated in the future: correct the clock, or remove that set by hand if it was wrong then"
    old = f"the newest complete set is {human_age(age)} old, more than {max_age_hours} h"
    return f"{old}: look at cron or the timer, and at the log" if age > max_age_hours * 3600 else ""


def damage_in(known: Catalog) -> list[str]:
    """Name every archive that is bad and every sidecar that cannot be read, with what is wrong."""
    unreadable = known.strays | {path: why for s in known.sets for path, why in s.unreadable.items()}
    bad = [f"{a.path.name}: {a.problem}" for s in known.sets for a in s.archives.values() if a.problem]
    return bad + [f"{path}: {why}" for path, why in unreadable.items()]


def unhealthy_because(known: Catalog, journal: Sequence[Mapping[str, Any]], stale: str) -> list[str]:
    """List why the backups are not healthy; nothing where they are."""
    reasons = [stale] if stale else []
    reasons += damage_in(known)
    for a in (a for s in known.sets for a in s.archives.values() if a.shrunk):
        reasons.append(f"{a.path.name} shrank ({a.shrunk}): is that right? Then: status --accept {a.id}")
    for command in ("backup", "drill"):
        last = last_entry(journal, command)
        told = last["problems"] if isinstance(last.get("problems"), list) else []
        lines = [line for problem in told for line in str(problem).splitlines()[:1]] or ["see the log"]
        lines = [line for line in lines if " shrank: " not in line]  # that is told above, until it is accepted
        if last.get("exit_code") and lines:
            when = local_time(parse_time(last["time"]))
            reasons.append(f"the last {command} ({when}) ended with exit code {last['exit_code']}: {lines[0]}")
    return reasons


def newest_facts(settings: Settings, sets: Sequence[BackupSet]) -> dict[str, dict[str, Any]]:
    """Give for each kind configured here its newest good archive's figures, and whether any shrank unaccepted."""
    found, newest = {}, newest_archives(sets)
    for kind in settings.kinds:
        found[kind] = {"shrunk": any(kind in s.archives and s.archives[kind].shrunk for s in sets)}
        if kind in newest:
            archive, tables = newest[kind], newest[kind].facts.get("tables")
            found[kind] |= {
                "id": archive.id, "time": parse_time(archive.id).isoformat(), "size_bytes": archive.size_bytes,
                "duration_seconds": archive.duration_seconds, "files": archive.facts.get("file_count"),
                "rows": None if tables is None else sum(entry["rows"] for entry in tables.values()),
            }  # fmt: skip
    return found


def status_facts(settings: Settings, known: Catalog, max_age_hours: int, ask_server: bool = True) -> dict[str, Any]:
    """Work out how the backups stand: the facts of `status --json`. Times are UTC, durations seconds, sizes bytes."""
    journal, now = list(read_journal(settings.backup_dir)), utc_now()
    sets, newest = known.sets, newest_complete(known.sets, settings)
    offsite = offsite_state(settings, sets, max_age_hours)
    reasons = unhealthy_because(known, journal, why_stale(newest, max_age_hours))
    reasons += [state["complaint"] for state in offsite if state["complaint"]]
    days = min(30, settings.daily_retention) or 30  # for so long no cleanup has thinned them out
    recent = [s for s in sets if 0 <= (now - s.moment).total_seconds() < days * 86400]
    stored = filter(None, (status_of(a.path) for s in recent for a in s.archives.values()))
    size = sum(found.st_size / found.st_nlink for found in stored)  # unchanged archives have one file in common
    per_day = size / ((now - recent[-1].moment).days + 1) if recent else 0
    free = shutil.disk_usage(settings.backup_dir).free
    tiers = {"daily": "within", "weekly": "newest of week", "monthly": "newest of month"}
    verdicts = plan_cleanup(sets, settings, now).verdicts
    drill = last_entry(journal, "drill", "recovery_seconds")
    verdict = drill.get("verdict") or ("identical" if drill.get("identical") is True else "NOT IDENTICAL")
    drill_keys = ("time", "id", "identical", "recovery_seconds", "steps", "proof")
    runs = {entry["command"]: {"time": entry["time"], "exit_code": entry["exit_code"]} for entry in journal
            if isinstance(entry.get("command"), str) and isinstance(entry.get("exit_code"), int)}  # fmt: skip
    with workspace(None) as work:
        kept, _, complaint = find_kept(settings, work) if ask_server else (kept_paths(settings), None, "")
    return {
        "version": 1, "healthy": not reasons, "reasons": reasons,
        "newest_complete": newest and {"id": newest.id, "age_seconds": round((now - newest.moment).total_seconds())},
        "last_verify": max((a.verified for s in sets for a in s.archives.values()), default="") or None,
        "last_drill": {**{key: drill.get(key) for key in drill_keys}, "verdict": verdict} if drill else None,
        "recovery_target_seconds": RECOVERY_TARGET_SECONDS, "free_bytes": free, "bytes_per_day": round(per_day),
        "days_until_full": int(free / per_day) if per_day else None, "sets": len(sets),
        "tiers": {tier: sum(v.reason.startswith(begin) for v in verdicts) for tier, begin in tiers.items()},
        "kept": [item._asdict() for item in kept], "kept_complaint": complaint,
        "newest": newest_facts(settings, sets), "runs": runs, "offsite": offsite, "damaged": len(damage_in(known)),
    }  # fmt: skip


def status_lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the status for people, without the verdict: what a line is about, and what it says."""
    newest, drill, verify = facts["newest_complete"], facts["last_drill"], facts["last_verify"]
    yield "newest complete set", f"{newest['id']}, {human_age(newest['age_seconds'])} old" if newest else "none"
    yield "last verify", local_time(parse_time(verify)) if verify else "never: backup_system.py verify"
    if drill:
        when = local_time(parse_time(drill["time"]))
        yield "last drill", printable(f"{when}, {drill['id']}: {drill['verdict']} ({drill['proof']})")
        yield "recovery time", f"{drill['recovery_seconds']} s measured, {facts['recovery_target_seconds']} s allowed"
    else:
        yield "last drill", "never: backup_system.py drill"
    for state in facts["offsite"]:
        copied = f"{state['newest']}, {human_age(state['age_seconds'])} old" if state["newest"] else "nothing yet"
        behind = f", {human_age(state['behind_seconds'])} behind" if state["behind_seconds"] else ""
        yield "off-site", f"{state['remote']}: {copied}{behind}"
    full = f"; at {human_size(facts['bytes_per_day'])} a day it is full in {facts['days_until_full']} days"
    yield "free space", human_size(facts["free_bytes"]) + (full if facts["bytes_per_day"] else "")
    yield "sets", f"{facts['sets']}: " + ", ".join(f"{count} {tier}" for tier, count in facts["tiers"].items())
    for item in facts["kept"]:
        yield "kept aside", str(Kept(**item))
    if facts["kept_complaint"]:
        yield "kept aside", facts["kept_complaint"]


def facts_after(
    settings: Settings, report: Report, max_age_hours: int, ask_server: bool = True
) -> tuple[dict[str, Any], list[BackupSet]]:
    """Work out the status after a run, with what the journal could not be told of it, or say why there is none.

    Give the sets that it speaks of too.
    """
    sets: list[BackupSet] = []
    try:
        known = catalog(settings)
        sets, facts = known.sets, status_facts(settings, known, max_age_hours, ask_server)
    except (BackupError, OSError) as error:  # BACKUP_DIR is gone
        facts = {"healthy": False, "reasons": [str(error)], "runs": {}}
    if report.exit_code and not seen_at_terminal(report.exit_code):
        facts["runs"][report.command] = {"time": utc_now().isoformat(), "exit_code": report.exit_code}
    if report.exit_code and report.command == "backup" and facts["healthy"]:
        facts |= {"healthy": False, "reasons": [f"the last backup failed: {text}" for _, text in report.problems]}
    facts["reasons"] = [starred(reason, settings.secret_values) for reason in facts["reasons"]]
    return facts, sets


def write_page(settings: Settings, path: Path, max_age_hours: int, report: Report) -> dict[str, Any]:
    """Write the status page and give its facts; where the backups cannot even be looked at, that is what it says."""
    facts, sets = facts_after(settings, report, max_age_hours)
    told, now = {**facts, "host": os.uname().nodename}, utc_now()
    plan = plan_cleanup(sets, settings, now)
    page = status_page(told, sets, plan, list(read_journal(settings.backup_dir)), settings, now, max_age_hours)
    try:
        write_for_all(path, page)
    except OSError as error:
        report.problem(f"the status page {path} could not be written: {error.strerror}. Look at that directory")
    return facts


def cmd_status(settings: Settings, args: argparse.Namespace) -> int:
    """Say first whether the backups are healthy, then how they stand."""
    if args.accept:
        accepted = find_set(catalog(settings).sets, args.accept, ()).id  # not the word latest: greater than every id
        write_journal(settings.backup_dir, {"command": "accept", "id": accepted})
        log.info("accepted: the sets up to %s are as large as they should be", accepted)
    if args.html:
        facts = write_page(settings, args.html.absolute(), args.max_age, args.report)
    else:
        facts, _ = facts_after(settings, args.report, args.max_age)
    if "sets" not in facts:
        raise BackupError(facts["reasons"][0])
    lines = [f"  because {printable(reason)}" for reason in facts["reasons"]]
    lines += [f"{about:<20} {text}" for about, text in status_lines(facts)]
    verdict = "HEALTHY" if facts["healthy"] else "NOT HEALTHY"
    say(json.dumps(facts, indent=1) if args.json else "\n".join([verdict, *lines]))
    return DONE if facts["healthy"] else FAILED


MAY_CREATE = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
Finding = tuple[str, str, str]  # OK, WARN or FAIL; what was looked at; what was found and what to do


def check_files(settings: Settings) -> Iterator[Finding]:
    """Look at what is to be backed up from the disk, and at what restores have put aside."""
    codes = settings.qr_codes_path
    if "qr_codes" in settings.kinds and os.access(codes, os.R_OK | os.X_OK) and codes.is_dir():
        count = len(os.listdir(codes))
        yield "OK" if count else "WARN", "QR codes", f"{codes}: {count} entries"
    elif "qr_codes" in settings.kinds:
        yield "FAIL", "QR codes", f"{codes} is not there or not readable: correct QR_CODES_DIR, or set QR_CODES_DIR="
    for path in (settings.app_dir / name for name in settings.config_files):
        if not os.path.exists(path):
            yield "WARN", "config file", f"{path} is not there, or out of reach: correct APP_DIR or CONFIG_FILES"
        elif path.is_dir():
            yield "FAIL", "config file", f"{path} is a directory: list its files in CONFIG_FILES"
        elif not os.access(path, os.R_OK):
            yield "FAIL", "config file", f"{path} is not readable for {user_name()}"
        elif path.name == ".env" and path.stat().st_mode & 0o007:
            yield "WARN", "config file", f"{path} can be read by everybody: chmod o= {shlex.quote(str(path))}"
        else:
            yield "OK", "config file", str(path)
    with workspace(None) as work:
        kept, server, complaint = find_kept(settings, work)
        for item in kept:
            yield "OK", "kept aside", f"{item}; cleanup removes it after KEEP_BEFORE_DAYS"
        if complaint:
            yield "WARN", "restore", f"would fail: {complaint}"
        drills = settings.drill_database_url
        for what, name, there in (("restore", "RESTORE_DATABASE_URL", server), ("drill", "DRILL_DATABASE_URL", drills)):
            if drills and there is drills:
                there = find_admin_server(drills, settings, work, patient=False)
            if there and ask(there, MAY_CREATE) == [["f"]]:
                advice = f"ALTER ROLE {quote_name(there.facts['user'])} CREATEDB, or set {name}"
                yield "WARN", what, f"{there.facts['user']} may not create databases: {advice}"


def check_database(settings: Settings) -> Iterator[Finding]:
    """Look at programs, connection and rights."""
    zstd = settings.which("zstd")
    yield "OK" if zstd else "WARN", "program", zstd or "zstd is not installed: apt install zstd"
    with workspace(None) as work:
        server = find_server(settings.connection, settings, work, patient=False)
    facts, user = server.facts, server.facts["user"]
    size = f"{human_size(facts['size_bytes'])}, {facts['tables']} tables"
    level = "OK" if facts["tables"] else "WARN"
    yield level, "database", f"{server.connection}: PostgreSQL {facts['server_version']}, {size}"
    closed, hidden = names_shown(facts["unreadable_tables"]), names_shown(facts["row_security"])
    if facts["superuser"]:
        yield "WARN", "rights", f"{user} is a superuser: a role with pg_read_all_data is enough for backups"
    elif closed:
        yield "FAIL", "rights", f"{user} may not read {closed}: GRANT pg_read_all_data TO {quote_name(user)}"
    elif hidden and not facts["bypass_rls"]:
        yield "FAIL", "rights", f"row security hides rows of {hidden}: ALTER ROLE {quote_name(user)} BYPASSRLS"
    else:
        yield "OK", "rights", f"{user} may read every table"
    if not re.match("C$|C[.]|POSIX|en|$", facts["language"]):
        advice = f"ALTER ROLE {quote_name(user)} SET lc_messages = 'C', and so for the role that restores"
        yield "WARN", "language", f"the server's {facts['language']} is not understood (retries, advice): {advice}"
    for name in ("pg_dump", "pg_dumpall", "pg_restore"):
        yield "OK", "program", str(postgres_program(name, facts["major"], settings, server.connection))


def check_sealing(settings: Settings) -> Iterator[Finding]:
    """Seal a byte and open it again; where the key is elsewhere, as it should be, look whether anybody drills there."""
    if not settings.encrypt_to:
        return
    try_seal(settings)
    yield "OK", "sealing", f"with {settings.encrypt_to.method} to {names_shown(settings.encrypt_to.keys)}"
    try:
        why = why_not_opened(settings)
    except UsageError as error:
        yield "FAIL", "unsealing", str(error)
        return
    if not why:
        yield "OK", "unsealing", "the key is on this machine: it can restore and drill, and so can whoever breaks in"
    else:
        overdue = drill_overdue(settings)
        last = overdue or "the journal knows of a good drill"
        yield "WARN" if overdue else "OK", "unsealing", f"this machine cannot open what it seals ({why}); {last}"


def check_places(settings: Settings) -> Iterator[Finding]:
    """Look at what must be writable, at BACKUP_DIR's space, modes and lock, and at the newest complete set's age."""
    backup_dir, user = settings.backup_dir, user_name()
    files = [("WARN", "LOG_DIR", settings.log_dir / "backup.log"), ("FAIL", "STATUS_PAGE", settings.status_page),
             ("WARN", "METRICS_FILE", settings.metrics_file),
             ("FAIL", "WORK_DIR", settings.work_dir and settings.work_dir / "x")]  # fmt: skip
    for level, name, path in files:
        if path and not os.access(path.parent, os.W_OK | os.X_OK):
            yield level, name, f"{path.parent} cannot be written: make it, and setfacl -m u:{user}:rwx it"
    check_backup_dir(backup_dir, make=False)
    sets, free = catalog(settings).sets, shutil.disk_usage(backup_dir).free
    full = free < 3 * sum(archive.size_bytes for archive in newest_archives(sets).values())
    room = ": room for fewer than three more backups" if full else ""
    yield "WARN" if full else "OK", "BACKUP_DIR", f"{backup_dir}, {human_size(free)} free{room}"
    stored = [(path, status_of(path)) for path in (backup_dir.resolve(), *backup_dir.glob("*/*"))]
    there = [(path, found.st_mode) for path, found in stored if found]  # a file may go while we look
    public = [str(path) for path, mode in there if mode & 0o007 and not stat.S_ISLNK(mode)]
    if public:
        advice = f"chmod -R o= {shlex.quote(str(backup_dir))}"
        yield "WARN", "modes", f"everybody may look at {names_shown(public)}: {advice}"
    lock = backup_dir / ".lock"  # read, not tried: a backup that starts now must find it free
    holder = printable(lock.read_text("utf-8", "replace").strip()) if lock.exists() else ""
    yield "OK", "lock", f"held by {holder} (or it was killed: then the lock is free)" if holder else "free"
    newest = newest_complete(sets, settings)
    stale = why_stale(newest, MAX_AGE_HOURS)
    if stale:
        yield "FAIL" if newest else "WARN", "newest set", stale
    elif newest.shrunk:
        yield "WARN", "newest set", f"{newest.id} shrank: backup_system.py status"
    else:
        yield "OK", "newest set", f"{newest.id}, {human_age((utc_now() - newest.moment).total_seconds())} old"


def check_offsite(settings: Settings) -> Iterator[Finding]:
    """Look whether each remote can be reached, and holds something."""
    for name in settings.offsite_remotes:
        try:
            files = remote_files(open_remote(settings, name, seconds=30))
            count = sum(not path.endswith(".json") for path in files)
            found = f"{name}: {count} archives" if count else f"{name} is empty: backup_system.py push"
            yield "OK" if count else "WARN", "off-site", found
        except BackupError as error:
            yield "FAIL", "off-site", f"{name}: {error}"


def check_alerts(settings: Settings, send: bool) -> Iterator[Finding]:
    """Name the channels for alerts, or send a test by each."""
    channels, title = configured_channels(settings), f"ArrivApp backup: a test alert from {os.uname().nodename}"
    test = Alert(title, "If you can read this, alerts work.", "log", str(uuid.uuid4()))
    failed = deliver(channels, settings, test) if send else {}
    for channel in channels:
        good = f"a test by {channel.name} was sent" if send else f"by {channel.name} ({channel.setting})"
        bad = channel in failed
        yield "FAIL" if bad else "OK", "alerts", f"{channel.name}: {failed[channel]}" if bad else good
    if not channels:
        yield "WARN", "alerts", "none are configured: nobody would notice a failed night, or silence (README, Alerts)"


CHECKS = (("files", check_files), ("database", check_database), ("sealing", check_sealing),
          ("BACKUP_DIR", check_places), ("off-site", check_offsite))  # fmt: skip


def cmd_check(settings: Settings, args: argparse.Namespace) -> int:
    """Look at every precondition and say what to do; or only prove the alerts. A check that cannot go on is a FAIL."""
    source = str(settings.env_file or "no .env.backup: only defaults and environment")
    findings = [("OK" if settings.env_file else "WARN", "settings", source)]
    for what, look in () if args.send_test_alert else CHECKS:
        try:
            for finding in look(settings):
                findings.append(finding)
        except BackupError as error:
            findings.append(("FAIL", what, str(error)))
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


def argument(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Make the type of an argument of the parser of a setting, with the same complaint."""
    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


# Not empty, as a shell variable that is not set would be: it would mean what is live.
not_empty, path_not_empty = (argument(matching("(?s).+", "must not be empty", made)) for made in (str, Path))
up_to_99999 = argument(parse_days)


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line. Global options work before and after the subcommand (without SUPPRESS one is lost)."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--env-file", type=Path, metavar="FILE", help="default: .env.backup beside this script")
    common.add_argument("--backup-dir", type=not_empty, metavar="DIR", help="where backups are (default: BACKUP_DIR)")
    common.add_argument("-v", "--verbose", action="store_true", help="show every command that is run")
    common.add_argument("-q", "--quiet", action="store_true", help="say only what is wrong")
    about = "Back up, verify and restore an ArrivApp."
    codes = "exit codes: 0 done, 1 failed, 2 usage or settings, 3 partly done, 4 damage, 5 locked, 128+n signal"
    parser = argparse.ArgumentParser("backup_system.py", None, about, codes, [common], allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    def command(name: str, function: Callable[..., int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=f"{text}.", parents=[common], allow_abbrev=False)
        sub.set_defaults(function=function)
        return sub

    only = {"action": "append", "choices": KINDS, "default": [], "metavar": "KIND",
            "help": "only this kind; may be repeated"}  # fmt: skip
    backup = command("backup", cmd_backup, "make one backup set of everything")
    backup.add_argument("--only", **only)
    listing = command("list", cmd_list, "list the backup sets, newest first")
    listing.add_argument("kind", nargs="?", choices=KINDS, metavar="KIND", help="only archives of this kind")
    listing.add_argument("--json", action="store_true", help="for machines; the keys are stable")
    listing.add_argument("--offsite", action="store_true", help="what stands on the remotes instead")
    verify = command("verify", cmd_verify, "check stored archives by checksum and by a full read")
    which = verify.add_mutually_exclusive_group()
    which.add_argument("target", nargs="?", metavar="ID|FILE", help="a set's id, latest (the default), random, a file")
    which.add_argument("--all", action="store_true", help="every archive")
    verify.add_argument("--offsite", action="store_true", help="the copies there; one set is read to its end")
    restore = command("restore", cmd_restore, "restore archives; what was there before is kept")
    source = restore.add_mutually_exclusive_group(required=True)
    source.add_argument("--restore-file", type=not_empty, metavar="FILE",
                        help="an archive, a dump or an SQL script; or latest")  # fmt: skip
    source.add_argument("--backup", type=not_empty, metavar="ID", help="a set's id, or latest")
    source.add_argument("--undo", action="store_true", help="swap back what the last restore put aside")
    restore.add_argument("--only", **only)
    restore.add_argument("--database", type=not_empty, metavar="NAME", help="into this one (default: as configured)")
    restore.add_argument("--directory", type=path_not_empty, metavar="DIR", help="unpack the one archive here instead")
    restore.add_argument("--table", action="append", default=[], metavar="TABLE",
                         help="only this table, beside the live ones, as restored_<id>.TABLE")  # fmt: skip
    restore.add_argument("--accept-differences", action="store_true", help="go on though rows differ from the backup's")
    restore.add_argument("--yes", action="store_true", help="replace live data without asking")
    cleanup = command("cleanup", cmd_cleanup, "delete old sets by retention")
    cleanup.add_argument("--dry-run", action="store_true", help="only show what would be deleted, and why")
    drill = command("drill", cmd_drill, "prove a set: restore it into a scratch database, compare, time it, drop it")
    drill.add_argument("--backup", default="latest", metavar="ID", help="a set's id, latest (the default) or random")
    drill.add_argument("--if-older", type=up_to_99999, default=0, metavar="DAYS",
                       help="only if the last good drill is older")  # fmt: skip
    status = command("status", cmd_status, "say whether the backups are healthy, then how they stand")
    status.add_argument("--json", action="store_true", help="for machines; the keys are stable")
    status.add_argument("--html", type=Path, metavar="FILE", help="also write the status page there")
    status.add_argument("--max-age", type=up_to_99999, default=MAX_AGE_HOURS, metavar="HOURS",
                        help="unhealthy when the newest complete set is older (default: %(default)s)")  # fmt: skip
    status.add_argument("--accept", type=not_empty, metavar="ID",
                        help="accept that sets up to this one shrank: cleanup goes on")  # fmt: skip
    push = command("push", cmd_push, "copy every good set that a remote lacks there")
    push.add_argument("--again", action="store_true", help="also what was pushed before and is gone there")
    pull = command("pull", cmd_pull, "bring a set here from a remote")
    pull.add_argument("target", nargs="?", default="latest", metavar="ID", help="a set's id, or latest (the default)")
    check = command("check", cmd_check, "look whether a backup can work here, and say what to do")
    check.add_argument("--send-test-alert", action="store_true", help="instead, send a test by every channel")
    demo = command("demo", cmd_demo, "show the whole cycle on a throw-away PostgreSQL with sample data")
    demo.add_argument("--keep", action="store_true", help="leave it for a look around")
    return parser


class LogFile(logging.handlers.RotatingFileHandler):
    """LOG_DIR/backup.log: never through a link, of the directory's owner; a failure to write is remembered."""
    failed = False

    def _open(self) -> Any:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        adopt(descriptor, Path(self.baseFilename).parent)
        return open(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:
        """Remember that a line was lost instead of printing a traceback."""
        self.failed = True


def open_log_file(settings: Settings, command: str) -> LogFile | None:
    """Open the log file; where it cannot be written, stderr is all there is, with a warning."""
    try:
        if not settings.log_dir.exists() and command != "check":
            make_directory(settings.log_dir)
        handler = LogFile(settings.log_dir / "backup.log", maxBytes=10 * MIB, backupCount=5)
    except OSError as error:
        if command not in ("list", "verify", "check"):
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

    log.setLevel(logging.DEBUG)
    log.handlers, log.filters = list(handlers), [clean]


def push_after(settings: Settings, report: Report) -> None:
    """Push what a backup has made; the journal keeps that as a run of its own."""
    pushing = Report("push", report.id)
    notes: dict[str, dict[str, Any]] = {}
    try:
        push_all(settings, pushing, notes)
    except Stopped as stopped:
        pushing.problem(f"the off-site copy was {stopped}", stopped.exit_code)
        raise
    finally:
        record(settings, pushing, offsite=notes)
        report.problems += pushing.problems


def write_metrics(settings: Settings, report: Report) -> None:
    """Write METRICS_FILE."""
    facts, _ = facts_after(settings, report, MAX_AGE_HOURS, ask_server=False)
    try:
        write_for_all(settings.metrics_file, metrics_text(facts))
    except OSError as error:
        place = settings.metrics_file
        report.problem(f"METRICS_FILE {place} could not be written: {error.strerror}. Look at that directory")


def follow_up(settings: Settings, report: Report) -> None:
    """Tell the outside world how a run ended. Nothing here can fail what was made: it adds at most a problem."""
    steps: list[tuple[str, Callable[[], object]]] = []
    if settings.offsite_remotes and report.command == "backup" and report.made and report.exit_code < 128:
        steps.append(("the off-site copy", lambda: push_after(settings, report)))
    if settings.status_page:
        page = functools.partial(write_page, settings, settings.status_page, MAX_AGE_HOURS, report)
        steps.append(("the status page", page))
    steps.append(("the alerts", lambda: alert_people(settings, report)))
    if settings.metrics_file:  # the last step: it tells of the others too
        steps.append(("METRICS_FILE", lambda: write_metrics(settings, report)))
    stopped: Stopped | None = None
    for what, step in steps:
        try:
            step()
        except Stopped as signalled:  # what is left is short, and is told of this too
            stopped = signalled
            report.problem(f"{what}: {signalled}", signalled.exit_code)
        except Exception as error:  # a mistake of ours in one of them is no failed backup, nor a reason for silence
            report.problem(f"{what}: failed, which is a mistake in this tool: {error!r}")
    if stopped:
        raise stopped


TOLD = ("backup", "cleanup", "restore", "drill", "verify", "push")  # commands of which the outside world is told


def run_command(args: argparse.Namespace, stderr: logging.Handler) -> int:
    """Load the settings and run a subcommand."""
    if args.command == "demo":
        return cmd_demo(Settings(), args)
    flags = {"BACKUP_DIR": str(Path(args.backup_dir).absolute())} if args.backup_dir else {}
    settings = load_settings(flags, args.env_file)
    log_file = open_log_file(settings, args.command)
    set_up_log([stderr, log_file] if log_file else [stderr], settings.secret_values)
    log.debug("start: %s", shlex.join(sys.argv))
    report = args.report = Report(args.command, whole=args.command == "backup" and not args.only)
    told = args.command in TOLD and not getattr(args, "dry_run", False)
    try:
        announce(settings, report)
        code = args.function(settings, args)
    except BaseException as error:  # whatever ends a run leaves a record
        ended = 128 + signal.SIGPIPE if isinstance(error, BrokenPipeError) else getattr(error, "exit_code", FAILED)
        report.problems.append((ended, str(error) or repr(error)))
        known = os.path.exists(settings.backup_dir / MARKER) and args.command != "verify"
        if told and known and not seen_at_terminal(ended):
            record(settings, report, seconds=None)
        raise
    finally:
        if told:
            follow_up(settings, report)
    if log_file and log_file.failed:
        report.problem("the log file could not be written; what was made is good")
    return code or report.exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit code. The only place that turns errors into messages and codes."""
    os.umask(0o077)
    gc.disable()  # its walks took a quarter of the time of `list` with 10,000 sets; a run is short and makes few cycles
    defaults = argparse.Namespace(env_file=None, backup_dir="", verbose=False, quiet=False)
    args = build_parser().parse_args(argv, defaults)
    stderr = logging.StreamHandler()
    stderr.setLevel(logging.WARNING if args.quiet else logging.DEBUG if args.verbose else logging.INFO)
    set_up_log([stderr])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, stop_on_signal)
    try:
        code = run_command(args, stderr)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except (BackupError, Stopped) as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        return error.exit_code
    except OSError as error:
        log.error("%s: %s", error.filename or "system", error.strerror or error)
        return FAILED


if __name__ == "__main__":
    raise SystemExit(main())
