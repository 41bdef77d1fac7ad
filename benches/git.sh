#!/usr/bin/env bash
# A repository's export and import against stock git, in one run, warm cache: medians of RUNS, the two in turn, and their
# ratio, of wall time and of the time that the processors had; and the memory of the largest process. What kbpack does more
# (compression, encryption, seal, verification) is in its time: the rows with "sealed" have stock tools do most of it, too, and
# in the rows "capture alone" and "stage alone" neither does any of it (benches/git_alone.rs).
#
#   benches/git.sh                 this project's own repository, 50,000 commits, a pack of 500 MB
#   RUNS=5 benches/git.sh commits
#   KBPACK=target/release/kbpack benches/git.sh own       a binary that is there already
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${RUNS:-3}
for tool in git age zstd python3 sha256sum /usr/bin/time; do
  command -v "$tool" >/dev/null || { echo "git.sh: $tool is missing" >&2; exit 1; }
done
kbpack=${KBPACK:-}
if [ -z "$kbpack" ]; then
  cargo build --release --locked --quiet
  kbpack=target/release/kbpack
fi
kbpack=$(realpath "$kbpack")
alone=$(cargo bench --locked --no-run --bench git_alone --message-format=json 2>/dev/null |
  python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("target", {}).get("name") == "git_alone" and message.get("executable"): print(message["executable"])')
project=$PWD
scratch=$(mktemp -d "${TMPDIR:-/tmp}/kbpack-bench.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export XDG_CONFIG_HOME='' XDG_STATE_HOME='' GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=$scratch/gitconfig
printf '[init]\n\tdefaultBranch = main\n' >"$scratch/gitconfig"

# 1. Two homes that know each other.
mkdir -p "$scratch"/{source,target}
field() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
recipient=$(HOME=$scratch/target "$kbpack" keygen --json | field recipient)
signer=$(HOME=$scratch/source "$kbpack" keygen --json | field signer)
HOME=$scratch/target "$kbpack" -q trust add source "$signer"
identity=$scratch/target/.config/kbpack/identity.txt

# 2. The repositories.
own() { git clone -q --mirror --no-local "$project" "$1"; }
commits() {
  git init -q --bare -b main "$1"
  python3 -c '
import random, sys
random.seed(7)
out = sys.stdout.buffer
words = ["w%04d" % i for i in range(3000)]
line = lambda: " ".join(random.choices(words, k=8))
files = {"src/mod%d/part%d/file%d.rs" % (i, j, k): [line() for _ in range(40)] for i in range(20) for j in range(5) for k in range(30)}
names = list(files)
def data(b): out.write(b"data %d\n%s\n" % (len(b), b))
for n in range(50000):
    out.write(b"commit refs/heads/main\ncommitter Ada <ada@example.com> %d +0000\n" % (1500000000 + n * 600))
    data(b"change %d\n" % n)
    for name in names if n == 0 else random.sample(names, random.randint(1, 4)):
        rows = files[name]
        for _ in range(random.randint(1, 4)): rows[random.randrange(len(rows))] = line()
        out.write(b"M 100644 inline %s\n" % name.encode()); data("\n".join(rows).encode())
' | git -C "$1" fast-import --quiet
}
large() {
  git init -q --bare -b main "$1"
  python3 -c '
import os, sys
out = sys.stdout.buffer
for n in range(50):
    blob = os.urandom(100_000_000 if n == 0 else 8_200_000)
    out.write(b"commit refs/heads/main\ncommitter Ada <ada@example.com> %d +0000\ndata 1\nx\n" % (1500000000 + n))
    out.write(b"M 100644 inline file%d\ndata %d\n" % (n, len(blob))); out.write(blob + b"\n")
' | git -C "$1" fast-import --quiet
}

# 3. compare WHAT BEFORE STOCK BEFORE OURS: commands for bash, the two in turn, what stands before not timed.
timed() { /usr/bin/time -o "$scratch/time" -f '%e %U %S %M' "$@" >/dev/null; tail -1 "$scratch/time"; }
compare() {
  local what=$1 i
  : >"$scratch/stock"; : >"$scratch/own"
  for ((i = 0; i < runs; i++)); do
    bash -ec "$2"; timed bash -ec "$3" >>"$scratch/stock"
    bash -ec "$4"; timed bash -ec "$5" >>"$scratch/own"
  done
  python3 -c '
import statistics as s, sys
rows = lambda f: [tuple(map(float, l.split())) for l in open(f)]
a, b = rows(sys.argv[2]), rows(sys.argv[3])
wall = lambda r: s.median(x[0] for x in r)
cpu = lambda r: s.median(x[1] + x[2] for x in r)
peak = lambda r: max(x[3] for x in r) / 1024
print("%-22s stock %7.2f s (cpu %6.2f) %5.0f MiB   kbpack %7.2f s (cpu %6.2f) %5.0f MiB   ratio %5.2f (cpu %.2f)" % (sys.argv[1],
  wall(a), cpu(a), peak(a), wall(b), cpu(b), peak(b), wall(b) / wall(a), cpu(b) / cpu(a)))
' "$what" "$scratch/stock" "$scratch/own"
}

sets=("${@:-own commits large}")
for set in ${sets[*]}; do
  repo=$scratch/$set.git
  "$set" "$repo"
  printf '%s: %s commits, %s MiB\n' "$set" "$(git -C "$repo" rev-list --all --count)" "$(du -sm "$repo" | cut -f1)"
  mkdir -p "$scratch/source/.config/kbpack"
  printf '[bundle]\nname = "bench"\nmax-shrink = 100\n[component.code]\nkind = "git"\npath = "%s"\n' "$repo" >"$scratch/source/.config/kbpack/profile.toml"
  s=$scratch/stock.bundle k=$scratch/own.kbp to=$scratch/to
  own_export="HOME=$scratch/source $kbpack -q export -r $recipient -o $k"
  own_import="HOME=$scratch/target $kbpack -q import $k --yes --accept-new --map $repo=$to"
  fresh="rm -rf $to; HOME=$scratch/target $kbpack -q trust remove source; HOME=$scratch/target $kbpack -q trust add source '$signer'"
  streams=$scratch/streams
  compare "$set capture alone" "rm -f $s" "git -C $repo bundle create -q $s --all" \
    "rm -rf $streams; mkdir $streams" "HOME=$scratch/source $alone capture $repo $streams"
  compare "$set stage alone" "rm -rf $to" "git clone -q --mirror $s $to" \
    "rm -rf $scratch/alone; mkdir $scratch/alone" "HOME=$scratch/target $alone stage $streams $scratch/alone/code.git"
  rm -rf "$streams" "$scratch/alone" "$to"
  compare "$set export" "rm -f $s" "git -C $repo bundle create -q $s --all" "rm -f $k" "$own_export"
  compare "$set import" "rm -rf $to" "git clone -q --mirror $s $to" "$fresh" "$own_import"
  compare "$set export, sealed" "rm -f $s.age" \
    "git -C $repo bundle create -q $s --all; zstd -q -3 -T0 -c $s | age -r $recipient -o $s.age; sha256sum $s.age" "rm -f $k" "$own_export"
  compare "$set import, sealed" "rm -rf $to" \
    "sha256sum $s.age; age -d -i $identity $s.age | zstd -q -d -c >$s.out; git clone -q --mirror $s.out $to" "$fresh" "$own_import"
  git -C "$to" fsck --connectivity-only >/dev/null 2>&1
  refs() { git -C "$1" for-each-ref refs/heads refs/tags; }
  test "$(refs "$to")" = "$(refs "$repo")"
  rm -rf "$repo" "$to" "$s" "$s".* "$k"
done
