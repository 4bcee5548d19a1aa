//! The client's half: what a device does.
//!
//! | module | interface |
//! |---|---|
//! | [`registration`] | Register, Update, De-register |
//! | [`dispatch`] | Read, Write, Execute, Discover |
//! | [`observe`] | Observe, Notify |
//! | [`send`] | Send |

pub mod dispatch;
pub mod observe;
pub mod registration;
pub mod send;
