//! What Kamailio's modules offer by name, to say of a name that is not here where it belongs.

/// `MODULE: FUNCTION … $PSEUDO-VARIABLE … MODULE:EVENT …`, a module's lines one behind the other.
const NAMES: &str = include_str!("kamailio.txt");

/// The modules of Kamailio.
pub(crate) fn modules() -> impl Iterator<Item = &'static str> {
    lines().map(|(module, _)| module)
}

/// What to say about a name that is not here: a function, a `$pseudo-variable` or an event of Kamailio; `here` tells
/// which modules are.
pub(crate) fn owner_help(name: &str, here: impl Fn(&str) -> bool) -> Option<String> {
    let owner = lines()
        .find(|(_, names)| names.split(' ').any(|known| known == name))?
        .0;
    Some(if here(owner) {
        format!("module `{owner}` has it in Kamailio, not in proxyd")
    } else {
        format!("it is of module `{owner}`, which proxyd does not have")
    })
}

fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_owners() {
        let here = |module: &str| module == "tm";
        for (name, expected) in [
            (
                "pdb_query",
                Some("it is of module `pdb`, which proxyd does not have"),
            ),
            (
                "$evapi",
                Some("it is of module `evapi`, which proxyd does not have"),
            ),
            (
                "evapi:message-received",
                Some("it is of module `evapi`, which proxyd does not have"),
            ),
            (
                "t_forward_nonack_sctp",
                Some("module `tm` has it in Kamailio, not in proxyd"),
            ),
            ("pdb_querry", None),
            ("evapi", None),
            ("$", None),
        ] {
            assert_eq!(owner_help(name, here).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn every_module_has_its_lines_together() {
        let mut names: Vec<&str> = modules().collect();
        names.dedup();
        assert!(names.is_sorted());
        assert!(names.len() > 250, "{}", names.len());
    }
}
