//! Default privileges of the role: what it makes would get them, in the middle of a restore that means others.

use super::super::error::failed;
use crate::component::Result;
use postgres::Client;

/// Statements that make what is set now again, where nothing is set; those that clear it first.
pub struct Defaults {
    /// Back to what the server itself gives.
    pub clear: Vec<String>,
    /// And from there to what was set.
    pub set: Vec<String>,
}

/// Those of the roles that the session's role is, or is a member of.
pub fn read(session: &mut Client) -> Result<Defaults> {
    // A global entry is all there is; one of a schema comes on top of it.
    let sql = "SELECT pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %I', r.rolname) \
            || coalesce(' IN SCHEMA ' || pg_catalog.quote_ident(n.nspname), ''), \
        CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' \
            WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END, d.defaclnamespace = 0, \
        pg_catalog.quote_ident(r.rolname), d.defaclobjtype IN ('f', 'T'), \
        ARRAY(SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END \
            FROM pg_catalog.aclexplode(d.defaclacl) WITH ORDINALITY a ORDER BY a.ordinality), \
        ARRAY(SELECT a.privilege_type FROM pg_catalog.aclexplode(d.defaclacl) WITH ORDINALITY a ORDER BY a.ordinality), \
        ARRAY(SELECT a.is_grantable FROM pg_catalog.aclexplode(d.defaclacl) WITH ORDINALITY a ORDER BY a.ordinality) \
        FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole \
        LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace \
        WHERE pg_catalog.pg_has_role(d.defaclrole, 'USAGE') ORDER BY 1, 2";
    let rows = session.query(sql, &[]).map_err(|e| failed("the default privileges", &e))?;
    let (mut clear, mut set) = (Vec::new(), Vec::new());
    for row in rows {
        let (head, what, global, role, public): (String, &str, bool, String, bool) =
            (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
        let (to, privileges, grantable): (Vec<String>, Vec<String>, Vec<bool>) =
            (row.get(5), row.get(6), row.get(7));
        let revoke = |to: &str| format!("{head} REVOKE ALL ON {what} FROM {to}");
        clear.extend(to.iter().map(|to| revoke(to)));
        if global {
            clear.extend([revoke(&role), format!("{head} GRANT ALL ON {what} TO {role}")]);
            set.push(revoke(&role));
            if public {
                clear.push(format!("{head} GRANT ALL ON {what} TO PUBLIC"));
                set.push(revoke("PUBLIC"));
            }
        }
        for ((to, privilege), grantable) in to.iter().zip(privileges).zip(grantable) {
            let option = if grantable { " WITH GRANT OPTION" } else { "" };
            set.push(format!("{head} GRANT {privilege} ON {what} TO {to}{option}"));
        }
    }
    Ok(Defaults { clear, set })
}
