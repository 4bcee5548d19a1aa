//! The three processors. Each node is a port, as `crates/host` and the Center's server are: loops that carry bytes
//! and messages between machines and hold no rule of the upgrade.
//!
//! | node | runs | keeps over a power cut |
//! |---|---|---|
//! | [`module`] | cloud, engine, bridge with their mailboxes | staging and journal flash, settings |
//! | [`mcu`] | the simulated MCU over AT commands, or [`link_mcu`]: bootloader and agent of `sota-mcu` over the link | its flash |
//! | [`center`] | the device endpoint and the service over the memory store | the store and the packages |

pub mod center;
pub mod link_mcu;
pub mod mcu;
pub mod module;

/// A processor whose power can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// The Developer Center.
    Center,
    /// Module of the device with this index.
    Module(usize),
    /// MCU of the device with this index.
    Mcu(usize),
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Node::Center => f.write_str("center"),
            Node::Module(0) => f.write_str("module"),
            Node::Module(n) => write!(f, "module {n}"),
            Node::Mcu(0) => f.write_str("mcu"),
            Node::Mcu(n) => write!(f, "mcu {n}"),
        }
    }
}
