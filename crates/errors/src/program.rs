//! Errors of the program `sota`: 2000..=2999.

crate::catalogue! {
    /// Errors of the program's command line and its parts.
    ProgramError {
        Usage = 2000, "the command line cannot be understood", "see `sota help`";
    }
}
