#!/usr/bin/env bash
# Export and import of a database against what stock tools take, on this machine.
#
#   benches/postgres.sh [SCALE] [RUNS] [TABLES...]
#
# SCALE is pgbench's (default 50: about 750 MB), RUNS how often each is measured after a first time that does not count
# (default 3), TABLES how many empty tables are then to show the growth (default 10 1000 10000). The acts take turns; what is
# printed are medians. The time of the processor is that of the clients and, for a superuser on the server's own machine, of
# the server. Memory is that of the largest process: kbpack itself, or pg_dump below it where there are many tables.
#
# Needs a running server that the user may make databases on (PGHOST, PGPORT, PGUSER as for psql), pgbench, age, zstd, GNU
# time. For 10,000 tables the server's max_locks_per_transaction must be 1024. KBPACK=... measures another binary.
set -euo pipefail
cd "$(dirname "$0")/.."
scale=${1:-50} runs=${2:-3}
shift $(($# < 2 ? $# : 2))
growth=(${@:-10 1000 10000})
[[ -n ${KBPACK:-} ]] || cargo build --release --locked --quiet
kbpack=${KBPACK:-$PWD/target/release/kbpack}
work=$(mktemp -d)
trap 'for db in kb_bench kb_bench_to; do dropdb --if-exists "$db"; done 2>/dev/null; rm -rf "$work"' EXIT
export PGHOST=${PGHOST:-/var/run/postgresql} PGPORT=${PGPORT:-5432} PGUSER=${PGUSER:-$(id -un)}
export PGOPTIONS=--client-min-messages=warning

field() { python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }
profile() {
  mkdir -p "$work/$1/.config/kbpack"
  printf '[bundle]\nmax-shrink = 100\n[component.db]\nkind = "postgres"\nhost = "%s"\nport = %s\nuser = "%s"\ndatabase = "%s"\n' \
    "$PGHOST" "$PGPORT" "$PGUSER" "$2" >"$work/$1/.config/kbpack/profile.toml"
}
profile source kb_bench
profile target kb_bench_to
signer=$(HOME=$work/source "$kbpack" keygen --json | field signer)
recipient=$(HOME=$work/target "$kbpack" keygen --json | field recipient)
HOME=$work/target "$kbpack" trust add source "$signer" >/dev/null
age-keygen -o "$work/id" 2>/dev/null
public=$(age-keygen -y "$work/id")

# The processor's time that the server took, in hundredths of a second. It counts sessions when they have ended.
server() {
  local pid
  pid=$(psql -qAtc "SELECT pg_read_file('postmaster.pid', 0, 10)" postgres 2>/dev/null | head -1) || pid=
  awk '{ print $14 + $15 + $16 + $17 }' "/proc/${pid:-none}/stat" 2>/dev/null || echo 0
}

clock() { # round, act, command...
  local round=$1 act=$2 before after
  shift 2
  psql -qc checkpoint postgres 2>/dev/null || true
  before=$(server)
  /usr/bin/time -f '%e %U %S %M' -o "$work/time" "$@" >/dev/null
  sleep 0.3
  after=$(server)
  ((round == 0)) || printf '%s\t%s\n' "$act" "$(tail -1 "$work/time") $((after - before))" >>"$work/times"
}

table() { # title
  echo "$1, $(psql -qAtc 'SELECT pg_size_pretty(pg_database_size(current_database()))' kb_bench)"
  python3 - "$work/times" <<'PY'
import statistics, sys
acts = {}
for line in open(sys.argv[1]):
    act, numbers = line.split("\t")
    wall, user, system, kib, server = map(float, numbers.split())
    acts.setdefault(act, []).append((wall, user + system + server / 100, kib))
for act, runs in acts.items():
    wall, cpu, kib = (statistics.median(column) for column in zip(*runs))
    ours = acts["kbpack export" if "kbpack export" in act or "dump" in act else "kbpack import"]
    ratio = lambda n, value: statistics.median(run[n] for run in ours) / max(value, 0.01)
    against = "" if act.startswith("kbpack") else f"   kbpack takes {ratio(0, wall):.2f}x, processor {ratio(1, cpu):.2f}x"
    print(f"  {act:24} {wall:8.2f} s, processor {cpu:7.2f} s, {max(run[2] for run in runs) / 1024:5.0f} MiB{against}")
PY
  rm "$work/times"
}

fresh() {
  dropdb --if-exists kb_bench_to
  [[ $1 == absent ]] || createdb kb_bench_to
}

measure() { # title, last round, first round: 0 is one that does not count
  for round in $(seq "${3:-0}" "$2"); do
    rm -rf "$work/b.kbp" "$work/dir"
    clock "$round" "kbpack export" env HOME="$work/source" "$kbpack" export -q -r "$recipient" -o "$work/b.kbp"
    clock "$round" "pg_dump | zstd | age" sh -c "pg_dump -Fc -Z0 kb_bench | zstd -q -3 -T0 | age -r $public >$work/d.age"
    fresh absent
    clock "$round" "kbpack import" env HOME="$work/target" "$kbpack" import -q --yes --accept-new "$work/b.kbp"
    fresh made
    clock "$round" "age | zstd | pg_restore" sh -c "age -d -i $work/id $work/d.age | zstd -dc | pg_restore -d kb_bench_to"
    pg_dump -Fd -Z0 -j2 -f "$work/dir" kb_bench
    fresh made
    clock "$round" "pg_restore -j2, in the clear" pg_restore -j2 -d kb_bench_to "$work/dir"
  done
  table "$1"
}

begin() {
  dropdb --if-exists kb_bench
  createdb kb_bench
}

begin
pgbench -i -q -s "$scale" kb_bench 2>/dev/null
measure "pgbench, scale $scale" "$runs"
begin
for i in $(seq 40); do # mixed sizes, with indexes
  echo "create table t$i as select g id, md5(g::text) a, random() b from generate_series(1, $((i * i * 100))) g;"
  echo "alter table t$i add primary key (id); create index on t$i (a);"
done | psql -q kb_bench
measure "40 tables with two indexes each" "$runs"
for tables in "${growth[@]}"; do
  begin
  for i in $(seq "$tables"); do
    echo "create table t$i (id serial primary key, a text, b int references t1);"
  done | psql -q kb_bench
  measure "$tables empty tables" 1 1
done
