//! Errors of the Center: 1000..=1999.

crate::catalogue! {
    /// Errors of the Center's REST API, device endpoint and log.
    CenterError {
        Internal = 1000, "the Center met an error of its own", "read the Center's log at this time; nothing was changed";
    }
}
