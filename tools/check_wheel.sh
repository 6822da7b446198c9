#!/usr/bin/env bash
# Builds the sdist and from it the wheel, and uses the wheel in an environment with torch alone; then does the same
# where there is no C++ compiler. `make wheel-check` calls it, with PYTHON one that has scikit-build-core and auditwheel.
#   tools/check_wheel.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "$1")
python=$(realpath -s "$PYTHON")
bin=$(dirname "$python")
clean=$folder/venv

say() { printf '\n== %s\n' "$*"; }
fail() { echo "check_wheel: $*" >&2; exit 1; }
pip() { "$clean/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
# The contents of a wheel without the folder that names the version.
contents() { "$python" -m zipfile -l "$1" | awk 'NR > 1 { print $1 }' | grep -v dist-info/ | sort; }
info() { (cd "$folder" && env -u TAPEHEAD_CORE PYTHONWARNINGS=ignore "$@" "$clean/bin/tapehead" info | grep '^core '); }

rm -rf "$folder"
mkdir -p "$folder"

say "sdist"
"$python" -c "from scikit_build_core.build import build_sdist; build_sdist('$folder/sdist')" > "$folder/sdist.log"
sdist=$(echo "$folder"/sdist/tapehead-*.tar.gz)
for file in $(find src/tapehead -name '*.py' -o -name '*.yaml' -o -name '*.json' -o -name '*.safetensors' -o -name py.typed -o -path '*/csrc/*' -type f) CMakeLists.txt; do
    tar -tzf "$sdist" "$(basename "$sdist" .tar.gz)/$file" > /dev/null || fail "not in the sdist: $file"
done
if tar -tzf "$sdist" | grep -E '_core\.(so|dll)$'; then fail "a built core in the sdist"; fi
echo "$(basename "$sdist"): $(tar -tzf "$sdist" | wc -l) files"

say "wheel"
"$python" -m venv "$clean"
pip wheel --verbose --no-deps --no-cache-dir --wheel-dir "$folder/wheel" "$sdist" > "$folder/wheel.log" 2>&1 ||
    fail "no wheel: $folder/wheel.log"
wheel=$(echo "$folder"/wheel/*.whl)
case $wheel in
*-py3-none-any.whl) fail "no core was built: $folder/wheel.log" ;;
*-py3-none-*.whl) basename "$wheel" ;;
*) fail "expected a wheel for every Python, got $wheel" ;;
esac
package=$(cd src && find tapehead -name '*.py' -o -name '*.yaml' -o -name '*.json' -o -name '*.safetensors' -o -name py.typed -o -name README.md | sort)
diff <(printf '%s\n' "$package" tapehead/_core.so | sort) <(contents "$wheel") || fail "other files in the wheel"
"$bin/auditwheel" show "$wheel"
PATH="$bin:$PATH" "$bin/auditwheel" repair --wheel-dir "$folder/repaired" "$wheel"
repaired=$(echo "$folder"/repaired/*.whl)
echo "repaired: $(basename "$repaired")"

say "installed"
pip install --constraint constraints.txt torch
pip install "$repaired"
info | tee "$folder/default"
grep -q '(built: ' "$folder/default" || fail "the core does not load"
built=$(sed 's/.*(built: \(.*\))/\1/; s/,//g' "$folder/default")
for isa in $built; do
    echo "TAPEHEAD_ISA=$isa: $(info TAPEHEAD_ISA="$isa")"
done
if info TAPEHEAD_ISA=sse9 | tee "$folder/unknown" | grep -q 'expected one of'; then cat "$folder/unknown"; else fail "TAPEHEAD_ISA=sse9 is taken"; fi

say "without a C++ compiler"
mkdir "$folder/nothing"
pip uninstall --yes tapehead
env PATH="$folder/nothing" CC=/nonexistent CXX=/nonexistent "$clean/bin/python" -m pip --disable-pip-version-check \
    install --verbose --no-deps --no-cache-dir "$sdist" > "$folder/without.log" 2>&1 || fail "no install: $folder/without.log"
grep -o 'tapehead-.*-py3-none-any.whl' "$folder/without.log" | head -n 1 || fail "a core was built: $folder/without.log"
info PATH="$folder/nothing" | tee "$folder/without"
grep -q 'not built: ' "$folder/without" || fail "expected no core"

say "with a core that does not compile"
mkdir "$folder/broken"
tar -xzf "$sdist" --strip-components 1 -C "$folder/broken"
echo 'this is no C++' >> "$folder/broken/src/tapehead/csrc/core.cpp"
pip install --force-reinstall --no-deps --no-cache-dir "$folder/broken"
info | tee "$folder/without"
grep -q 'not built: ' "$folder/without" || fail "expected no core"

say "all is well"
