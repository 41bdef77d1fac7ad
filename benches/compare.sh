#!/usr/bin/env bash
# kbpack against the stock tools, in one run, on the same input, warm cache: ratios of wall time (median of
# RUNS, the two in turn), bundle size and peak memory. Below 1.00 kbpack is the quicker (or smaller) one.
#
#   benches/compare.sh             both data sets
#   RUNS=5 benches/compare.sh docs
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${RUNS:-3}
for tool in age zstd tar sha256sum python3 /usr/bin/time; do
  command -v "$tool" >/dev/null || { echo "compare.sh: $tool is missing" >&2; exit 1; }
done
cargo build --release --locked --quiet
kbpack=$PWD/target/release/kbpack
scratch=$(mktemp -d "${TMPDIR:-/tmp}/kbpack-bench.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export XDG_CONFIG_HOME='' XDG_STATE_HOME=''

# 1. Two homes that know each other.
mkdir -p "$scratch"/{source,target,data}
HOME=$scratch/target "$kbpack" keygen --json >"$scratch/target.json"
HOME=$scratch/source "$kbpack" keygen --json >"$scratch/source.json"
field() { python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
recipient=$(field "$scratch/target.json" recipient)
HOME=$scratch/target "$kbpack" -q trust add source "$(field "$scratch/source.json" signer)"
identity=$scratch/target/.config/kbpack/identity.txt

# 2. The data: the toolchain's documentation; a gigabyte of libraries and programs.
docs() { cp -a "$(rustc --print sysroot)/share/doc" "$1/docs"; }
binaries() {
  mkdir "$1/binaries"
  find "$(rustc --print sysroot)/lib" "$(rustc --print sysroot)/bin" /usr/lib /usr/bin -xdev -type f -size +16k -print0 2>/dev/null |
    python3 -c '
import os, shutil, sys
left, to = 1_000_000_000, sys.argv[1]
for n, path in enumerate(sys.stdin.buffer.read().split(b"\0")):
    if left <= 0 or not path or b".kbpack" in path: break
    try:
        shutil.copy(path, os.path.join(to, "%05d" % n)); left -= os.path.getsize(path)
    except OSError: pass
' "$1/binaries"
}

# 3. One command, timed: seconds and KiB of the largest process.
timed() { /usr/bin/time -o "$scratch/time" -f '%e %M' "$@" >/dev/null; cat "$scratch/time"; }
ours() { HOME=$1 "$kbpack" -q "${@:2}"; }
export -f ours; export kbpack

# compare WHAT BEFORE STOCK BEFORE OURS: commands for bash, the two in turn, what stands before not timed; prints one row.
compare() {
  local what=$1 before_stock=$2 stock=$3 before_own=$4 own=$5 i
  : >"$scratch/stock"; : >"$scratch/own"
  for ((i = 0; i <= runs; i++)); do
    bash -ec "$before_stock"; timed bash -eo pipefail -c "$stock" >"$scratch/a"
    bash -ec "$before_own"; timed bash -eo pipefail -c "$own" >"$scratch/b"
    if ((i > 0)); then cat "$scratch/a" >>"$scratch/stock"; cat "$scratch/b" >>"$scratch/own"; fi
  done
  python3 -c '
import statistics as s, sys
rows = lambda f: [tuple(map(float, l.split())) for l in open(f)]
a, b = rows(sys.argv[2]), rows(sys.argv[3])
pair = sorted(y[0] / x[0] for x, y in zip(a, b))
print("%-28s stock %7.2f s   kbpack %7.2f s   ratio %5.2f (%.2f-%.2f)   peak %6.1f MiB" % (sys.argv[1],
  s.median(x[0] for x in a), s.median(x[0] for x in b), s.median(pair), pair[0], pair[-1], max(x[1] for x in b) / 1024))
' "$what" "$scratch/stock" "$scratch/own"
}

sets=("${@:-docs binaries}")
for set in ${sets[*]}; do
  "$set" "$scratch/data"
  tree=$scratch/data/$set
  printf '%s: %s files, %s MiB\n' "$set" "$(find "$tree" -type f | wc -l)" "$(du -sm "$tree" | cut -f1)"
  mkdir -p "$scratch/source/.config/kbpack"
  printf '[bundle]\nname = "bench"\nmax-shrink = 100\n[component.%s]\nkind = "files"\npath = "%s"\n' "$set" "$tree" >"$scratch/source/.config/kbpack/profile.toml"
  s=$scratch/stock.age k=$scratch/own.kbp
  signer=$(field "$scratch/source.json" signer)
  compare "$set export" \
    "rm -f $s" "tar -C $scratch/data -cf - $set | zstd -q -3 -T0 | age -r $recipient -o $s" \
    "rm -f $k" "ours $scratch/source export -r $recipient -o $k"
  printf '%-28s ratio %5.3f\n' "$set size" "$(python3 -c "import os; print(os.path.getsize('$k') / os.path.getsize('$s'))")"
  compare "$set verify" true "sha256sum $k" true "ours $scratch/target verify $k"
  fresh="rm -rf $scratch/out; mkdir $scratch/out"
  compare "$set import" \
    "$fresh" "age -d -i $identity $s | zstd -q -d | tar -C $scratch/out -xf -" \
    "$fresh; ours $scratch/target trust remove source; ours $scratch/target trust add source '$signer'" \
    "ours $scratch/target import $k --yes --map $tree=$scratch/out/$set"
  diff -r "$tree" "$scratch/out/$set" && echo "$set: the imported tree is equal"
  rm -rf "${tree:?}" "$scratch/out" "$k" "$s"
done
