//! Target: what belongs or is granted to a role of the source goes to another one here (`roles = "map"`).
//!
//! An archive names roles in many kinds of statements, and none of the stock tools has other names in it. So the roles
//! that are mapped are made for a while, everything is restored to them, and then they hand it over inside the server:
//! owners by `REASSIGN OWNED`, the rest (privileges, default ones, policies, user mappings) as the catalogs have it. In
//! one transaction: 1. what there is; 2. owners; 3. the rest, once more, for the new roles; 4. the old roles go, with all
//! that is still theirs; 5. what there is now is what there was, under the other names.
//!
//! Such a role must not be one of the server's own: what else that has there would be handed over too.

use super::error::failed;
use super::facts::{Database, Grant};
use super::quote::ident;
use crate::base::fault::Fault;
use crate::component::{Error, Result};
use postgres::{Client, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// From a role of the source to one of the target.
pub type RoleMap = BTreeMap<String, String>;

/// The name of `role` on the target.
pub fn mapped(map: &RoleMap, role: &str) -> String {
    map.get(role).map_or_else(|| role.to_owned(), Clone::clone)
}

/// What a database is beside its content, under the target's names.
pub fn renamed(database: &Database, map: &RoleMap) -> Database {
    let mut database = database.clone();
    database.owner = mapped(map, &database.owner);
    let roles: BTreeSet<String> = database.roles.iter().map(|role| mapped(map, role)).collect();
    database.roles = roles.into_iter().collect();
    for grant in database.acl.iter_mut().flatten() {
        grant.to = grant.to.take().map(|role| mapped(map, &role));
    }
    if let Some(acl) = &mut database.acl {
        *acl = merged(std::mem::take(acl));
    }
    for setting in &mut database.settings {
        setting.role = setting.role.take().map(|role| mapped(map, &role));
    }
    database
}

/// One privilege once, with the right to hand it on if one of the same had it.
fn merged(acl: Vec<Grant>) -> Vec<Grant> {
    let mut all: BTreeMap<(Option<String>, String), bool> = BTreeMap::new();
    for grant in acl {
        *all.entry((grant.to, grant.privilege)).or_default() |= grant.grantable;
    }
    all.into_iter().map(|((to, privilege), grantable)| Grant { to, privilege, grantable }).collect()
}

/// A privilege on something, and whether it may be handed on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Privilege {
    /// `TABLE "s"."t"`, as GRANT has it.
    object: String,
    /// Columns, as GRANT has them behind the privilege.
    columns: String,
    owner: String,
    grantor: String,
    /// `None`: everyone.
    grantee: Option<String>,
    privilege: String,
}

/// A privilege on what a role will make.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Future {
    role: String,
    schema: Option<String>,
    /// `TABLES`.
    objects: String,
    grantee: Option<String>,
    privilege: String,
}

/// Somebody's access to a foreign server: the server, the role (`None`: everyone), the options as SQL has them.
type UserMapping = (String, Option<String>, String);

/// All that names roles and is not an owner.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct State {
    /// And whether each may be handed on. An owner's own needs no such right.
    privileges: BTreeMap<Privilege, bool>,
    futures: BTreeMap<Future, bool>,
    /// `"name" ON "s"."t"`, and whom the policy is for.
    policies: BTreeMap<String, BTreeSet<Option<String>>>,
    users: BTreeSet<UserMapping>,
}

const PRIVILEGES: &str = "WITH things(object, columns, owner, acl) AS ( \
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || pg_catalog.format('%I.%I', n.nspname, c.relname), \
        '', c.relowner, c.relacl FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    UNION ALL SELECT 'TABLE ' || pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.format(' (%I)', a.attname), \
        c.relowner, a.attacl FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT a.attisdropped \
    UNION ALL SELECT 'ROUTINE ' || p.oid::pg_catalog.regprocedure, '', p.proowner, p.proacl FROM pg_catalog.pg_proc p \
    UNION ALL SELECT 'TYPE ' || pg_catalog.format('%I.%I', n.nspname, t.typname), '', t.typowner, t.typacl \
        FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
    UNION ALL SELECT 'SCHEMA ' || pg_catalog.quote_ident(nspname), '', nspowner, nspacl FROM pg_catalog.pg_namespace \
    UNION ALL SELECT 'LANGUAGE ' || pg_catalog.quote_ident(lanname), '', lanowner, lanacl FROM pg_catalog.pg_language \
    UNION ALL SELECT 'FOREIGN DATA WRAPPER ' || pg_catalog.quote_ident(fdwname), '', fdwowner, fdwacl \
        FROM pg_catalog.pg_foreign_data_wrapper \
    UNION ALL SELECT 'FOREIGN SERVER ' || pg_catalog.quote_ident(srvname), '', srvowner, srvacl \
        FROM pg_catalog.pg_foreign_server \
    UNION ALL SELECT 'LARGE OBJECT ' || oid, '', lomowner, lomacl FROM pg_catalog.pg_largeobject_metadata) \
    SELECT t.object, t.columns, pg_catalog.pg_get_userbyid(t.owner)::text, pg_catalog.pg_get_userbyid(a.grantor)::text, \
        CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::text END, a.privilege_type, \
        a.is_grantable AND a.grantee <> t.owner \
    FROM things t CROSS JOIN LATERAL pg_catalog.aclexplode(t.acl) a WHERE t.acl IS NOT NULL";

const FUTURES: &str = "SELECT pg_catalog.pg_get_userbyid(d.defaclrole)::text, n.nspname::text, \
    CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' WHEN 'T' THEN 'TYPES' \
        WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END, \
    CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::text END, a.privilege_type, \
    a.is_grantable AND a.grantee <> d.defaclrole \
    FROM pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace \
    CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) a";

const POLICIES: &str = "SELECT pg_catalog.format('%I ON %I.%I', p.polname, n.nspname, c.relname), \
    CASE WHEN r.oid <> 0 THEN pg_catalog.pg_get_userbyid(r.oid)::text END \
    FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL pg_catalog.unnest(p.polroles) r(oid)";

const USERS: &str =
    "SELECT s.srvname::text, CASE WHEN u.umuser <> 0 THEN pg_catalog.pg_get_userbyid(u.umuser)::text END, \
    coalesce((SELECT pg_catalog.string_agg(pg_catalog.quote_ident(o.option_name) || ' ' || \
        pg_catalog.quote_literal(o.option_value), ', ' ORDER BY o.option_name) \
        FROM pg_catalog.pg_options_to_table(u.umoptions) o), '') \
    FROM pg_catalog.pg_user_mapping u JOIN pg_catalog.pg_foreign_server s ON s.oid = u.umserver";

impl State {
    fn read(session: &mut Transaction<'_>) -> Result<State> {
        let mut rows = |sql: &str| session.query(sql, &[]).map_err(|e| failed("the privileges", &e));
        let mut state = State::default();
        for row in rows(PRIVILEGES)? {
            let (object, columns, owner, grantor) = (row.get(0), row.get(1), row.get(2), row.get(3));
            let privilege =
                Privilege { object, columns, owner, grantor, grantee: row.get(4), privilege: row.get(5) };
            state.privileges.insert(privilege, row.get(6));
        }
        for row in rows(FUTURES)? {
            let (role, schema, objects) = (row.get(0), row.get(1), row.get(2));
            let future = Future { role, schema, objects, grantee: row.get(3), privilege: row.get(4) };
            state.futures.insert(future, row.get(5));
        }
        for row in rows(POLICIES)? {
            state.policies.entry(row.get(0)).or_default().insert(row.get(1));
        }
        state.users = rows(USERS)?.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        Ok(state)
    }

    /// The same under the names of `map`. What two roles had is had by the one that both become.
    fn renamed(&self, map: &RoleMap) -> State {
        let name = |role: &str| mapped(map, role);
        let some = |role: &Option<String>| role.as_deref().map(name);
        let mut state = State::default();
        for (old, grantable) in &self.privileges {
            let (object, columns, privilege) =
                (old.object.clone(), old.columns.clone(), old.privilege.clone());
            let (owner, grantor, grantee) = (name(&old.owner), name(&old.grantor), some(&old.grantee));
            let own = grantee.as_ref() == Some(&owner);
            let new = Privilege { object, columns, owner, grantor, grantee, privilege };
            *state.privileges.entry(new).or_default() |= *grantable && !own;
        }
        for (old, grantable) in &self.futures {
            let (role, grantee) = (name(&old.role), some(&old.grantee));
            let own = grantee.as_ref() == Some(&role);
            let new = Future { role, grantee, ..old.clone() };
            *state.futures.entry(new).or_default() |= *grantable && !own;
        }
        for (policy, roles) in &self.policies {
            state.policies.insert(policy.clone(), roles.iter().map(some).collect());
        }
        state.users = self
            .users
            .iter()
            .map(|(server, role, with)| (server.clone(), some(role), with.clone()))
            .collect();
        state
    }
}

/// Hands all that the roles of `map` have in the database of `session` over, and drops them.
pub fn hand_over(session: &mut Client, map: &RoleMap) -> Result<()> {
    let lost = |e: postgres::Error| failed("handing over what mapped roles have", &e);
    let mut session = session.transaction().map_err(lost)?;
    // 1.
    let before = State::read(&mut session)?;
    let mut wanted = before.renamed(map);
    forget_usual(&mut session, &mut wanted.futures)?;
    // 2.
    for (old, new) in map {
        run(&mut session, old, &format!("REASSIGN OWNED BY {} TO {}", ident(old), ident(new)))?;
    }
    // 3.
    let now = State::read(&mut session)?;
    grants(&mut session, &now.privileges, &wanted.privileges)?;
    futures(&mut session, &now.futures, &wanted.futures)?;
    for (policy, roles) in
        wanted.policies.iter().filter(|(policy, roles)| now.policies.get(*policy) != Some(roles))
    {
        let roles: Vec<String> = roles.iter().map(grantee).collect();
        run(&mut session, policy, &format!("ALTER POLICY {policy} TO {}", roles.join(", ")))?;
    }
    for (server, role, options) in wanted.users.difference(&now.users) {
        let options = if options.is_empty() { String::new() } else { format!(" OPTIONS ({options})") };
        let sql = format!("CREATE USER MAPPING FOR {} SERVER {}{options}", grantee(role), ident(server));
        run(&mut session, server, &sql)?;
    }
    // 4.
    revoke(&mut session, &now.privileges, map)?;
    nothing_is_owned(&mut session, map)?;
    let olds: Vec<String> = map.keys().map(String::as_str).map(ident).collect();
    let olds = olds.join(", ");
    run(&mut session, "the old roles", &format!("DROP OWNED BY {olds}; DROP ROLE {olds}"))?;
    // 5.
    let after = State::read(&mut session)?;
    if after != wanted {
        let what = "the privileges under the names of role-map are not those of the source";
        return Err(Error::new(Fault::Unexpected, format_args!("{what}: {}", difference(&wanted, &after)))
            .todo("make the roles of the source on this server, and leave them out of role-map"));
    }
    session.commit().map_err(lost)
}

/// Takes default privileges out that are what the server gives without being asked: it does not keep them. They can become
/// so where two roles become one.
fn forget_usual(session: &mut Transaction<'_>, futures: &mut BTreeMap<Future, bool>) -> Result<()> {
    let keys: BTreeSet<(String, String)> =
        futures.keys().filter(|f| f.schema.is_none()).map(|f| (f.role.clone(), f.objects.clone())).collect();
    for (role, objects) in keys {
        let kind = match objects.as_str() {
            "TABLES" => "r",
            "SEQUENCES" => "s",
            "ROUTINES" => "f",
            "TYPES" => "T",
            "SCHEMAS" => "n",
            _ => "L",
        };
        let sql = format!(
            "SELECT CASE WHEN a.grantee <> 0 THEN r.rolname::text END, a.privilege_type FROM pg_catalog.pg_roles r \
             CROSS JOIN LATERAL pg_catalog.aclexplode(pg_catalog.acldefault('{kind}', r.oid)) a WHERE r.rolname = $1"
        );
        let usual = session.query(&sql, &[&role]).map_err(|e| failed("the default privileges", &e))?;
        let usual = usual.iter().map(|row| Future {
            role: role.clone(),
            schema: None,
            objects: objects.clone(),
            grantee: row.get(0),
            privilege: row.get(1),
        });
        let usual: BTreeMap<Future, bool> = usual.map(|future| (future, false)).collect();
        let of_it = |f: &Future| f.schema.is_none() && f.role == role && f.objects == objects;
        let has: BTreeMap<_, _> =
            futures.iter().filter(|(f, _)| of_it(f)).map(|(f, grantable)| (f.clone(), *grantable)).collect();
        if has == usual {
            futures.retain(|f, _| !of_it(f));
        }
    }
    Ok(())
}

fn run(session: &mut Transaction<'_>, of: &str, sql: &str) -> Result<()> {
    session.batch_execute(sql).map_err(|e| failed(format_args!("role-map: {of}"), &e))
}

fn grantee(role: &Option<String>) -> String {
    role.as_ref().map_or_else(|| "PUBLIC".to_owned(), |role| ident(role))
}

/// Grants what of `wanted` is not there yet, each by the role that granted it: those first from whom others have theirs.
fn grants(
    session: &mut Transaction<'_>,
    now: &BTreeMap<Privilege, bool>,
    wanted: &BTreeMap<Privilege, bool>,
) -> Result<()> {
    let is_there = |p: &Privilege, grantable: bool| now.get(p).is_some_and(|has| *has || !grantable);
    let mut left: Vec<(&Privilege, bool)> =
        wanted.iter().map(|(p, grantable)| (p, *grantable)).filter(|(p, g)| !is_there(p, *g)).collect();
    // Schemas first: without them, a role finds nothing in them.
    left.sort_by_key(|(p, _)| !p.object.starts_with("SCHEMA "));
    while !left.is_empty() {
        let waits = |(p, _): &(&Privilege, bool)| {
            let gives = |(other, grantable): &(&Privilege, bool)| {
                *grantable
                    && other.grantee.as_ref() == Some(&p.grantor)
                    && (&other.object, &other.privilege) == (&p.object, &p.privilege)
            };
            p.grantor != p.owner && left.iter().any(gives)
        };
        let (later, ready): (Vec<_>, Vec<_>) = left.iter().partition(|item| waits(item));
        if ready.is_empty() {
            let what = format!("role-map: privileges on {} were granted in a circle", left[0].0.object);
            return Err(Error::new(Fault::Unexpected, what));
        }
        for (p, grantable) in ready {
            let option = if grantable { " WITH GRANT OPTION" } else { "" };
            let grant = format!(
                "GRANT {}{} ON {} TO {}{option}",
                p.privilege,
                p.columns,
                p.object,
                grantee(&p.grantee)
            );
            // A superuser grants as the owner does; others must be themselves.
            let sql = match p.grantor == p.owner {
                true => grant,
                false => format!("SET LOCAL ROLE {}; {grant}; RESET ROLE", ident(&p.grantor)),
            };
            run(session, &p.object, &sql)?;
        }
        left = later;
    }
    Ok(())
}

/// Makes sure that `DROP OWNED` drops nothing that is not made anew: it would not say so.
fn nothing_is_owned(session: &mut Transaction<'_>, map: &RoleMap) -> Result<()> {
    let olds: Vec<&str> = map.keys().map(String::as_str).collect();
    let sql = "SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_catalog.pg_shdepend d \
        JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid WHERE r.rolname = ANY($1) AND d.deptype = 'o' \
        AND d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.classid NOT IN \
        ('pg_catalog.pg_default_acl'::pg_catalog.regclass, 'pg_catalog.pg_user_mapping'::pg_catalog.regclass) LIMIT 1";
    match session.query_opt(sql, &[&olds]).map_err(|e| failed("what mapped roles own", &e))? {
        None => Ok(()),
        Some(row) => {
            let what: String = row.get(0);
            Err(Error::not_ready(format_args!("role-map: the server does not hand {what} over"))
                .todo("make the role on this server, and leave it out of role-map"))
        }
    }
}

/// Takes from the old roles what others than an owner granted them: `DROP OWNED` passes that over. What they granted on
/// goes with it.
fn revoke(session: &mut Transaction<'_>, now: &BTreeMap<Privilege, bool>, map: &RoleMap) -> Result<()> {
    let is_old = |role: &str| map.contains_key(role);
    let others = now.keys().filter(|p| p.grantor != p.owner && !is_old(&p.grantor));
    for p in others.filter(|p| p.grantee.as_deref().is_some_and(is_old)) {
        let (from, grantor) = (grantee(&p.grantee), ident(&p.grantor));
        let revoke = format!("REVOKE {}{} ON {} FROM {from} CASCADE", p.privilege, p.columns, p.object);
        run(session, &p.object, &format!("SET LOCAL ROLE {grantor}; {revoke}; RESET ROLE"))?;
    }
    Ok(())
}

/// Gives default privileges that are not there yet. Of a role's, a first statement takes away what the server gives without being asked.
fn futures(
    session: &mut Transaction<'_>,
    now: &BTreeMap<Future, bool>,
    wanted: &BTreeMap<Future, bool>,
) -> Result<()> {
    let place = |f: &Future| {
        let schema =
            f.schema.as_ref().map_or_else(String::new, |schema| format!(" IN SCHEMA {}", ident(schema)));
        format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}{schema}", ident(&f.role))
    };
    let key = |f: &Future| (f.role.clone(), f.schema.clone(), f.objects.clone());
    let mut begun: BTreeSet<_> = now.keys().map(key).collect();
    for (future, grantable) in wanted {
        if now.get(future) == Some(grantable) {
            continue;
        }
        let (place, objects) = (place(future), &future.objects);
        if begun.insert(key(future)) && future.schema.is_none() {
            let from = [grantee(&None), ident(&future.role)];
            for role in from {
                run(session, &future.role, &format!("{place} REVOKE ALL ON {objects} FROM {role}"))?;
            }
        }
        let option = if *grantable { " WITH GRANT OPTION" } else { "" };
        let to = grantee(&future.grantee);
        let sql = format!("{place} GRANT {} ON {objects} TO {to}{option}", future.privilege);
        run(session, &future.role, &sql)?;
    }
    Ok(())
}

/// The first thing that two states do not share, without what options may hold.
fn difference(wanted: &State, after: &State) -> String {
    let privilege = |p: &Privilege| format!("{} on {} for {}", p.privilege, p.object, grantee(&p.grantee));
    let first = |a: &State, b: &State| {
        let grant = a.privileges.iter().find(|(p, grantable)| b.privileges.get(*p) != Some(*grantable));
        let future = a.futures.iter().find(|(f, grantable)| b.futures.get(*f) != Some(*grantable));
        let policy = a.policies.iter().find(|(policy, roles)| b.policies.get(*policy) != Some(*roles));
        grant
            .map(|(p, _)| privilege(p))
            .or_else(|| future.map(|(f, _)| format!("{} on later {} of {}", f.privilege, f.objects, f.role)))
            .or_else(|| policy.map(|(policy, _)| format!("policy {policy}")))
            .or_else(|| a.users.difference(&b.users).next().map(|(server, ..)| format!("users of {server}")))
    };
    first(wanted, after).or_else(|| first(after, wanted)).unwrap_or_default()
}
