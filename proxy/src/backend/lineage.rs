//! What is said of a database by its identity: drawn once by the proxy that first meets it, and kept in it
//! (`atone.lineage`), so that whatever is made from it has it too.

use super::BackendError;
use atone_protocol::Lineage;

/// What a database says of itself.
pub(super) fn read(name: &str, said: Option<&str>) -> Result<Lineage, BackendError> {
    let unfit = |what: String| BackendError::unfit(name, what);
    let said = said.ok_or_else(|| {
        unfit("atone.lineage is empty, so that nobody can tell which server this is".into())
    })?;
    said.parse().map_err(|error| unfit(format!("atone.lineage is damaged: {error}")))
}

/// A server that takes another's place must have been made from it.
pub(super) fn same(name: &str, ours: Lineage, said: Option<&str>) -> Result<(), BackendError> {
    let Some(said) = said else {
        let what = format!(
            "it has no table atone.lineage, so that it was made neither from the server that was here before, nor from a \
             backup of it that has one. If it is to be used, restart this proxy, which gives it an identity; if it is \
             that server, restored, then run UPDATE atone.lineage SET lineage = '{ours}' in it and restart once more"
        );
        return Err(BackendError::unfit(name, what));
    };
    match read(name, Some(said))? {
        found if found == ours => Ok(()),
        found => Err(BackendError::unfit(
            name,
            format!(
                "it is another server (identity {found}) than the one that was here before (identity {ours}), though it \
                 bears the same name. If both are kept, give one another name; if it has replaced the other, restart \
                 this proxy"
            ),
        )),
    }
}
