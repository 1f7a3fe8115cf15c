# Sourced by the scripts of this project: makes .venv with everything in it, once.
# Usage: source pipelines/setup.sh [dev]     "dev" adds what the tests need.
# Needs Python 3.11 or later (PYTHON names another interpreter) and nothing else.

setup_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

setup_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
        if [ -n "$candidate" ] && "$candidate" -c \
            'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "no Python 3.11 to 3.13 found; install one, or set PYTHON to its path" >&2
    return 1
}

setup_venv() {
    local extras=${1:-} target="$setup_root" python want stamp
    [ -z "$extras" ] || target="$setup_root[$extras]"
    stamp="$setup_root/.venv/.installed${extras:+-$extras}"
    want=$(cat "$setup_root/pyproject.toml" "$setup_root/constraints.txt" | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] ||
        [ "$(cat "$setup_root/.venv/.installed-dev" 2>/dev/null)" = "$want" ]; then
        return
    fi
    python=$(setup_python) || return 1
    echo "installing into $setup_root/.venv (a minute or two, about 5 GB with torch)" >&2
    [ -x "$setup_root/.venv/bin/python" ] || "$python" -m venv "$setup_root/.venv" || return 1
    # uv installs the same packages several times faster; pip does where it cannot be had
    if "$setup_root/.venv/bin/python" -m pip install -q --disable-pip-version-check uv; then
        "$setup_root/.venv/bin/uv" pip install -q --compile-bytecode \
            --python "$setup_root/.venv/bin/python" -c "$setup_root/constraints.txt" -e "$target" || return 1
    else
        "$setup_root/.venv/bin/python" -m pip install -q --disable-pip-version-check \
            -c "$setup_root/constraints.txt" -e "$target" || return 1
    fi
    echo "$want" > "$stamp"
}

setup_venv "${1:-}" || exit 1
export PATH="$setup_root/.venv/bin:$PATH"
