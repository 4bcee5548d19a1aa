//! The MCU in QEMU (`samples/mcu_qemu`): its own bootloader and application, its flash a file that outlives QEMU.

use super::Args;
use crate::failure::Failure;
use clap::ValueEnum;
use sota_errors::ProgramError;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The board's PSRAM, whose file is the flash, with the application's RAM behind it.
const PSRAM: u64 = 16 << 20;
/// Of it, what is flash; erased it is 0xFF.
const FLASH: usize = 1 << 20;
const QEMU: &str = "qemu-system-arm";

/// What the demo's MCU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mcu {
    /// The bootloader and the application of samples/mcu_qemu on an emulated Cortex-M3, from 1_0_0 to 2_0_0 over the
    /// binary link.
    Qemu,
}

/// Its images.
#[derive(Clone, Debug)]
pub(super) struct Board {
    images: PathBuf,
    folder: PathBuf,
}

impl Board {
    pub(super) fn new(args: &Args, folder: &Path) -> Option<Board> {
        args.mcu.map(|Mcu::Qemu| Board {
            images: args.mcu_images.clone(),
            folder: folder.join("mcu"),
        })
    }

    /// The image to be upgraded to.
    pub(super) fn package(images: &Path) -> Result<Vec<u8>, Failure> {
        image(images, "v2.bin")
    }

    /// A new board: version 1 in the active slot, all else erased.
    pub(super) fn deliver(&self) -> Result<(), Failure> {
        let first = image(&self.images, "v1.bin")?;
        image(&self.images, "boot.elf")?;
        // Asked now: behind setpriv nobody would hear that it is missing.
        let asked = Command::new(QEMU).arg("--version").output();
        asked.map_err(|e| Failure::new(ProgramError::QemuMissing, e))?;
        let mut flash = vec![0xFF; FLASH];
        let Some(slot) = flash.get_mut(..first.len()) else {
            return Err(Failure::new(ProgramError::QemuImages, "v1.bin is too long"));
        };
        slot.copy_from_slice(&first);
        let write = || -> io::Result<()> {
            std::fs::create_dir_all(&self.folder)?;
            let mut file = File::create(self.flash())?;
            file.write_all(&flash)?;
            file.set_len(PSRAM)
        };
        write().map_err(|e| Failure::new(ProgramError::StateFolder, e))
    }

    fn flash(&self) -> PathBuf {
        self.folder.join("flash.bin")
    }

    /// The first bytes of the active slot.
    pub(super) fn active(&self, length: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; length];
        let read = File::open(self.flash()).and_then(|mut file| file.read_exact(&mut bytes));
        read.map_err(|e| Failure::new(ProgramError::FlashFile, e))?;
        Ok(bytes)
    }

    /// Power on.
    pub(super) fn start(&self, uart: &str) -> Result<Child, Failure> {
        let log = self.folder.join("qemu.log");
        let started = File::create(&log).and_then(|log| {
            // It does not outlive this process, not even when that is killed.
            let mut guarded = self.command("setpriv", uart, log.try_clone()?);
            match guarded.spawn() {
                Err(e) if e.kind() == ErrorKind::NotFound => self.command(QEMU, uart, log).spawn(),
                other => other,
            }
        });
        started.map_err(|e| Failure::new(ProgramError::QemuMissing, e))
    }

    fn command(&self, program: &str, uart: &str, log: File) -> Command {
        let mut command = Command::new(program);
        if program == "setpriv" {
            command.args(["--pdeathsig", "KILL", QEMU]);
        }
        let flash = self.flash();
        command
            .args(["-display", "none", "-monitor", "none", "-nic", "none"])
            .args(["-machine", "mps2-an385,memory-backend=flash"])
            .args(["-cpu", "cortex-m3", "-object"])
            .arg(format!(
                "memory-backend-file,id=flash,size={PSRAM},mem-path={},share=on",
                flash.display()
            ))
            .args(["-chardev", &format!("serial,id=uart,path={uart}")])
            .args(["-serial", "chardev:uart", "-kernel"])
            .arg(self.images.join("boot.elf"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        command
    }
}

fn image(images: &Path, name: &str) -> Result<Vec<u8>, Failure> {
    let path = images.join(name);
    std::fs::read(&path).map_err(|e| {
        let detail = format!("{}: {e}", path.display());
        Failure::new(ProgramError::QemuImages, detail)
    })
}
