//! The objects: ids, resources and operations. Ids and numbers of the standard objects are OMA's.
//!
//! Each file has its object's id, resource ids, the numbers of its states and a table of the resources this
//! project serves or uses; a resource that is not in the table answers 4.04, an operation it does not allow 4.05.

pub mod connectivity;
pub mod device;
pub mod firmware_update;
pub mod plan;
pub mod security;
pub mod server;
pub mod software_management;

/// What a server may do with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operations {
    /// Neither: of the Security object only a bootstrap server knows.
    Hidden,
    /// Read and Observe.
    Read,
    /// Write.
    Write,
    /// Read, Observe and Write.
    ReadWrite,
    /// Execute.
    Execute,
}

impl Operations {
    /// Read and Observe are allowed.
    pub const fn readable(self) -> bool {
        matches!(self, Operations::Read | Operations::ReadWrite)
    }

    /// Write is allowed.
    pub const fn writable(self) -> bool {
        matches!(self, Operations::Write | Operations::ReadWrite)
    }
}

/// The type of a resource (LwM2M Core 1.1, appendix C).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    /// Of a resource that is executed.
    None,
    Integer,
    Unsigned,
    Boolean,
    String,
    Opaque,
    Time,
    ObjectLink,
}

/// One resource of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceDef {
    /// Resource id.
    pub id: u16,
    /// What a server may do.
    pub ops: Operations,
    /// Its type.
    pub kind: Kind,
    /// It has resource instances.
    pub multiple: bool,
    /// Every instance has it.
    pub mandatory: bool,
}

impl ResourceDef {
    const fn new(id: u16, ops: Operations, kind: Kind, multiple: bool, mandatory: bool) -> Self {
        ResourceDef {
            id,
            ops,
            kind,
            multiple,
            mandatory,
        }
    }

    const fn mandatory(id: u16, ops: Operations, kind: Kind) -> Self {
        ResourceDef::new(id, ops, kind, false, true)
    }

    const fn optional(id: u16, ops: Operations, kind: Kind) -> Self {
        ResourceDef::new(id, ops, kind, false, false)
    }
}

/// The resource with this id in a table.
pub fn find(table: &'static [ResourceDef], id: u16) -> Option<&'static ResourceDef> {
    table.iter().find(|resource| resource.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order_and_executables_have_no_type() {
        for table in [
            connectivity::RESOURCES,
            device::RESOURCES,
            firmware_update::RESOURCES,
            firmware_update::ADVANCED_RESOURCES,
            plan::RESOURCES,
            security::RESOURCES,
            server::RESOURCES,
            software_management::RESOURCES,
        ] {
            assert!(table.is_sorted_by(|a, b| a.id < b.id));
            for resource in table {
                assert_eq!(
                    resource.ops == Operations::Execute,
                    resource.kind == Kind::None
                );
                assert_eq!(find(table, resource.id), Some(resource));
            }
        }
    }
}
