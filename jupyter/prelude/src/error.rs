//! One error for everything that a cell of a notebook can fail at.

/// Result of every fallible function of this crate. The second parameter is there so that `Result<T, E>` means what it always does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong; the message names the thing and the way out, and is all that `?` shows in a notebook.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The arguments do not make sense together.
    #[error("{0}")]
    Usage(String),
    /// The science refused or failed.
    #[error("{0}")]
    Science(#[from] tutti::Error),
    /// A file could not be read or written.
    #[error("{0}")]
    File(#[from] tutti_io::Error),
    /// A figure could not be drawn or written.
    #[error("{0}")]
    Figure(#[from] tutti_figures::Error),
    /// A table could not be made or read.
    #[error("{0}")]
    Table(#[from] polars::error::PolarsError),
    /// Stopped by the user before there was anything to keep.
    #[error("stopped by the user {0}")]
    Interrupted(String),
}

impl Error {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }
}

/// The message: notebooks print errors in this form.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// `name` among `there`, or an error that lists what there is, the likeliest first.
pub(crate) fn find(what: &str, name: &str, there: &[String]) -> Result<usize> {
    if let Some(at) = there.iter().position(|t| t == name) {
        return Ok(at);
    }
    if there.is_empty() {
        return Err(Error::usage(format!("there is no {what} `{name}`; there are none at all")));
    }
    let alike = alike(name, there);
    let list = |names: &[&String]| names.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", ");
    let way_out = match (alike.is_empty(), there.len()) {
        (false, _) => format!("did you mean {}?", list(&alike)),
        (true, 0..=LISTED) => format!("there are: {}", list(&there.iter().collect::<Vec<_>>())),
        (true, n) => format!("there are {n}, such as {}", list(&there.iter().take(5).collect::<Vec<_>>())),
    };
    Err(Error::usage(format!("there is no {what} `{name}`; {way_out}")))
}

/// Names that are listed in full.
const LISTED: usize = 40;

/// Names that differ in case or punctuation only, or else that begin with or hold what was typed; at most five, and none of a short list, which
/// is shown in full.
fn alike<'a>(name: &str, there: &'a [String]) -> Vec<&'a String> {
    let plain = |s: &str| s.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let wanted = plain(name);
    let same: Vec<&String> = there.iter().filter(|t| plain(t) == wanted).take(5).collect();
    if !same.is_empty() || there.len() <= LISTED || wanted.len() < 2 {
        return same;
    }
    let begin = there.iter().filter(|t| plain(t).starts_with(&wanted));
    let hold = there.iter().filter(|t| !plain(t).starts_with(&wanted) && plain(t).contains(&wanted));
    begin.chain(hold).take(5).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_answered_by_what_there_is() {
        let few = ["batch".to_owned(), "cell_type".to_owned()];
        let message = |name: &str, there: &[String]| find("obs column", name, there).unwrap_err().to_string();
        assert_eq!(message("donor", &few), "there is no obs column `donor`; there are: batch, cell_type");
        assert_eq!(message("CellType", &few), "there is no obs column `CellType`; did you mean cell_type?");
        let many: Vec<String> = (0..100).map(|i| format!("GENE{i}")).collect();
        assert_eq!(message("gene12", &many), "there is no obs column `gene12`; did you mean GENE12?");
        assert!(message("xyz", &many).ends_with("there are 100, such as GENE0, GENE1, GENE2, GENE3, GENE4"));
        assert_eq!(find("gene", "GENE3", &many).unwrap(), 3);
    }

    #[test]
    fn debug_is_the_message() {
        assert_eq!(format!("{:?}", Error::usage("no <b>")), "no <b>");
    }
}
