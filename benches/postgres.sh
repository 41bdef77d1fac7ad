#!/usr/bin/env bash
# Export and import of a database against what stock tools take, on this machine.
#
#   benches/postgres.sh [SCALE]        pgbench's scale, default 50 (about 750 MB)
#
# Needs a running server that the user may make databases on (PGHOST, PGUSER as for psql), pgbench, age, zstd, GNU time.
set -euo pipefail
cd "$(dirname "$0")/.."
scale=${1:-50}
cargo build --release --locked --quiet
kbpack=$PWD/target/release/kbpack
work=$(mktemp -d)
trap 'for db in kb_bench kb_bench_to kb_bench_pipe kb_bench_dir; do dropdb --if-exists "$db"; done; rm -rf "$work"' EXIT
host=${PGHOST:-/var/run/postgresql}
user=${PGUSER:-$(id -un)}

createdb kb_bench
pgbench -i -q -s "$scale" kb_bench 2>/dev/null
for i in $(seq 40); do # mixed sizes, with indexes
  psql -qd kb_bench -c "create table t$i as select g id, md5(g::text) a, random() b from generate_series(1, $((i * i * 100))) g" \
    -c "alter table t$i add primary key (id)" -c "create index on t$i (a)"
done

mkdir "$work/source" "$work/target"
profile() {
  mkdir -p "$work/$1/.config/kbpack"
  printf '[component.db]\nkind = "postgres"\nhost = "%s"\nuser = "%s"\ndatabase = "%s"\n' "$host" "$user" "$2" \
    >"$work/$1/.config/kbpack/profile.toml"
}
field() { python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }
signer=$(HOME=$work/source "$kbpack" keygen --json | field signer)
recipient=$(HOME=$work/target "$kbpack" keygen --json | field recipient)
HOME=$work/target "$kbpack" trust add source "$signer" >/dev/null
profile source kb_bench
profile target kb_bench_to
age-keygen -o "$work/id" 2>/dev/null
public=$(age-keygen -y "$work/id")

clock() { # name, command...
  local name=$1
  shift
  /usr/bin/time -f "%e s %M KiB" -o "$work/time" "$@"
  printf '%-40s %s\n' "$name" "$(tail -1 "$work/time")"
}
clock "kbpack export" env HOME="$work/source" "$kbpack" export -q -r "$recipient" -o "$work/b.kbp"
clock "pg_dump | zstd | age" sh -c "pg_dump -Fc -Z0 kb_bench | zstd -q -3 -T0 | age -r $public >$work/d.age"
clock "kbpack import" env HOME="$work/target" "$kbpack" import -q --yes "$work/b.kbp"
createdb kb_bench_pipe
clock "age | zstd | pg_restore" sh -c "age -d -i $work/id $work/d.age | zstd -dc | pg_restore -d kb_bench_pipe"
pg_dump -Fd -Z0 -j2 -f "$work/dir" kb_bench
createdb kb_bench_dir
clock "pg_restore -j2, from a folder in the clear" pg_restore -j2 -d kb_bench_dir "$work/dir"
