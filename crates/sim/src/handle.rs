//! A flash that outlives the machine that uses it.
//!
//! The simulated MCU owns its flash; when its power is cut the object is dropped and the flash must stay. A handle is
//! shared with the node that keeps it.

use std::cell::RefCell;
use std::rc::Rc;

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

/// Shared by clones; a world runs on one thread.
#[derive(Debug)]
pub struct Handle<F>(Rc<RefCell<F>>);

impl<F> Handle<F> {
    /// A handle of this flash.
    pub fn new(flash: F) -> Handle<F> {
        Handle(Rc::new(RefCell::new(flash)))
    }

    /// Looks at the flash, or does to it what no machine does.
    pub fn with<T>(&self, look: impl FnOnce(&mut F) -> T) -> T {
        look(&mut self.0.borrow_mut())
    }
}

impl<F> Clone for Handle<F> {
    fn clone(&self) -> Self {
        Handle(self.0.clone())
    }
}

impl<F: ErrorType> ErrorType for Handle<F> {
    type Error = F::Error;
}

impl<F: ReadNorFlash> ReadNorFlash for Handle<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.borrow_mut().read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.borrow().capacity()
    }
}

impl<F: NorFlash> NorFlash for Handle<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.0.borrow_mut().erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.borrow_mut().write(offset, bytes)
    }
}
