//! What this program was built from, as its build script found it.

/// What `--version` says: the version, then a fact a line.
pub(crate) const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:  ",
    env!("SYNAPSENET_BUILD_COMMIT"),
    "\ntarget:  ",
    env!("SYNAPSENET_BUILD_TARGET"),
    "\nprofile: ",
    env!("SYNAPSENET_BUILD_PROFILE"),
    "\nrustc:   ",
    env!("SYNAPSENET_BUILD_RUSTC"),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_has_a_value() {
        let facts: Vec<_> = LONG_VERSION.lines().collect();
        assert_eq!(facts.len(), 5, "{LONG_VERSION}");
        assert!(
            facts[1..]
                .iter()
                .all(|fact| fact.split_once(": ").is_some_and(|(_, value)| !value.trim().is_empty()))
        );
        assert!(LONG_VERSION.contains("rustc 1."), "{LONG_VERSION}");
    }
}
