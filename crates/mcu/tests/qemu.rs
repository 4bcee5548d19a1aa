//! Whole upgrades of `samples/mcu_qemu` in QEMU, which is killed at random moments and started again on the same flash.
//! Run by `samples/mcu_qemu/run`.

#[path = "../../link/tests/world/parts.rs"]
#[allow(dead_code, unreachable_pub)]
mod parts;

use parts::{Component, Stage};
use sha2::Digest as _;
use sota_link::Config;
use sota_link::field::{Boot, Hello, Image, Package};
use sota_link::frame::frame_len;
use sota_link::module::{Input, Link, Output};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The board's PSRAM, whose file is the flash.
const PSRAM: usize = 16 << 20;
const FRAME: usize = frame_len(1024);
/// How long the module waits for an MCU that says it was reverted and perhaps only lost power before the swap.
const GRACE: Duration = Duration::from_secs(4);

struct Board {
    folder: PathBuf,
    images: PathBuf,
    listener: UnixListener,
    qemu: Option<(Child, UnixStream)>,
    starts: u32,
}

impl Board {
    fn new(images: &Path, folder: &Path, first: &[u8]) -> Board {
        let socket = folder.join("uart");
        let _ = std::fs::remove_file(&socket);
        let flash = std::fs::File::create(folder.join("flash.bin")).unwrap();
        flash.set_len(PSRAM as u64).unwrap();
        drop(flash);
        let mut whole = vec![0xFF; 1 << 20];
        whole[..first.len()].copy_from_slice(first);
        let path = folder.join("flash.bin");
        let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all(&whole).unwrap();
        Board {
            listener: UnixListener::bind(&socket).unwrap(),
            folder: folder.into(),
            images: images.into(),
            qemu: None,
            starts: 0,
        }
    }

    fn flash(&self) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let mut file = std::fs::File::open(self.folder.join("flash.bin")).unwrap();
        file.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Bytes of the application's stack that were used since its last start: cortex-m-rt has painted it, from the end of
    /// the statics up.
    fn stack(&self) -> usize {
        let mut whole = Vec::new();
        let mut file = std::fs::File::open(self.folder.join("flash.bin")).unwrap();
        file.read_to_end(&mut whole).unwrap();
        let ram = &whole[0x00F0_0000..0x00F1_0000];
        // Above the statics; what lies between there and the first word that was used was never reached.
        let words: Vec<_> = ram.chunks(4).map(|word| word == [0xCC; 4]).collect();
        let above = words
            .windows(64)
            .position(|run| run.iter().all(|painted| *painted));
        let above = above.expect("the stack was not painted, or all of it was used");
        let free = words[above..]
            .iter()
            .take_while(|painted| **painted)
            .count();
        (words.len() - above - free) * 4
    }

    fn start(&mut self) {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let child = Command::new("qemu-system-arm")
            .args(["-display", "none", "-monitor", "none", "-nic", "none"])
            .args([
                "-machine",
                "mps2-an385,memory-backend=flash",
                "-cpu",
                "cortex-m3",
            ])
            .args([
                "-object",
                &format!(
                    "memory-backend-file,id=flash,size={PSRAM},mem-path={},share=on",
                    path("flash.bin")
                ),
            ])
            .args([
                "-chardev",
                &format!("socket,id=uart,path={}", path("uart")),
                "-serial",
                "chardev:uart",
            ])
            .arg("-kernel")
            .arg(self.images.join("boot.elf"))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(self.folder.join("qemu.log")).unwrap())
            .spawn()
            .expect("qemu-system-arm");
        let (uart, _) = self.listener.accept().unwrap();
        uart.set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        self.starts += 1;
        self.qemu = Some((child, uart));
    }

    /// As when power goes.
    fn kill(&mut self) {
        if let Some((mut child, _)) = self.qemu.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn receive(&mut self, out: &mut [u8]) -> usize {
        let Some((_, uart)) = &mut self.qemu else {
            return 0;
        };
        match uart.read(out) {
            Ok(n) => n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(e) => panic!("UART: {e}"),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        if let Some((_, uart)) = &mut self.qemu {
            uart.write_all(bytes).unwrap();
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A module with a package, and a board.
struct World {
    board: Board,
    link: Link<FRAME>,
    component: Component,
    target: String,
    began: Instant,
    grace: Option<Instant>,
    /// What the MCU said it ran, each once.
    said: Vec<(String, Boot)>,
    offers: u32,
}

impl World {
    fn new(images: &Path, folder: &Path, new: &str, target: &str) -> World {
        let read = |name: &str| std::fs::read(images.join(name)).unwrap();
        let bytes = read(new);
        let package = Package {
            component: "STM32".try_into().unwrap(),
            hardware: "mps2-an385".try_into().unwrap(),
            target: target.try_into().unwrap(),
            image: Image {
                length: bytes.len() as u32,
                sha256: Some(sha2::Sha256::digest(&bytes).into()),
                ..Image::default()
            },
        };
        let hello = Hello {
            block: 1024,
            window: 8,
            ..Hello::default()
        };
        let config = Config {
            hello,
            baud: 115_200,
            session: 0x1234,
        };
        World {
            board: Board::new(images, folder, &read("v1.bin")),
            link: Link::new(0, config),
            component: Component::new(bytes, package, 32768, 5_000),
            target: target.into(),
            began: Instant::now(),
            grace: None,
            said: Vec::new(),
            offers: 1,
        }
    }

    /// Some milliseconds of it.
    fn step(&mut self) {
        let (ms, us) = (
            self.began.elapsed().as_millis() as u64,
            self.began.elapsed().as_micros() as u64,
        );
        for input in self.component.poll(us) {
            self.link.input(input);
        }
        let mut bytes = [0; 1024];
        let n = self.board.receive(&mut bytes);
        let mut rest = &bytes[..n];
        loop {
            rest = &rest[self.link.on_bytes(rest)..];
            while let Some(output) = self.link.poll(ms, &mut self.component) {
                self.act(us, output);
            }
            if rest.is_empty() {
                break;
            }
        }
        if self.grace.is_some_and(|at| Instant::now() >= at) {
            self.grace = None;
            self.offers += 1;
            self.component.stage = Stage::Offered;
            self.link.input(Input::Failed(7));
            self.link.input(Input::Plan(self.component.plan()));
        }
        loop {
            let n = self.link.next_tx(&mut bytes);
            if n == 0 {
                break;
            }
            self.board.send(&bytes[..n]);
        }
    }

    fn act(&mut self, us: u64, output: Output) {
        let peer = self.link.peer();
        let running = (peer.version.as_str().to_string(), peer.boot);
        if output == Output::Running {
            // What it says is what the flash holds.
            let names = [("1_0_0", "v1.bin"), (self.target.as_str(), "")];
            assert!(
                names.iter().any(|(name, _)| *name == running.0),
                "{running:?}"
            );
            if self.said.last() != Some(&running) {
                self.said.push(running.clone());
            }
            let reverted = matches!(running.1, Boot::Reverted(_)) && running.0 == "1_0_0";
            let waits = self.component.stage == Stage::Installing && reverted;
            self.grace = waits.then(|| Instant::now() + GRACE);
        }
        let inputs = if self.target == parts::TARGET {
            self.component.act(us, output, (&running.0, running.1))
        } else {
            self.component.act(us, output, ("", Boot::Confirmed))
        };
        for input in inputs {
            self.link.input(input);
        }
    }

    fn until(&mut self, most: Duration, mut done: impl FnMut(&World) -> bool) -> bool {
        let began = Instant::now();
        while began.elapsed() < most {
            if done(self) {
                return true;
            }
            self.step();
        }
        false
    }

    fn standing(&self) -> String {
        format!(
            "{:?}, durable {}, MCU {:?}, said {:?}, starts {}, offers {}",
            self.component.stage,
            self.link.durable(),
            self.link.mcu_phase(),
            self.said,
            self.board.starts,
            self.offers
        )
    }
}

fn images() -> PathBuf {
    std::env::var_os("MCU_IMAGES")
        .expect("samples/mcu_qemu/run sets MCU_IMAGES")
        .into()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn updated(world: &World) -> bool {
    world.component.stage == Stage::Updated
}

#[test]
#[ignore = "needs QEMU: samples/mcu_qemu/run"]
fn killed_at_random_moments() {
    let kills: u32 = std::env::var("KILLS").map_or(5, |n| n.parse().unwrap());
    let mut random = std::env::var("SEED")
        .map_or(1u64, |n| n.parse().unwrap())
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        | 1;
    let (images, folder) = (images(), folder("qemu"));
    let new = std::fs::read(images.join("v2.bin")).unwrap();
    // Once without a kill: how long it takes.
    let mut world = World::new(&images, &folder, "v2.bin", parts::TARGET);
    world.board.start();
    let agreed = |w: &World| w.component.stage == Stage::Installing || updated(w);
    assert!(
        world.until(Duration::from_secs(60), agreed),
        "{}",
        world.standing()
    );
    let installing = world.began.elapsed();
    assert!(
        world.until(Duration::from_secs(60), updated),
        "{}",
        world.standing()
    );
    let whole = world.began.elapsed();
    println!(
        "bytes of the application's stack that were used: {}",
        world.board.stack()
    );
    println!(
        "without a kill: {} ms, {} of them until it was verified",
        whole.as_millis(),
        installing.as_millis()
    );
    drop(world);
    let mut killed = 0;
    let mut upgrades = 0;
    let mut phases = std::collections::BTreeMap::<String, u32>::new();
    while killed < kills {
        let mut world = World::new(&images, &folder, "v2.bin", parts::TARGET);
        world.board.start();
        loop {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut within = whole;
            // Every other kill at a moment after the install was agreed: swap, trial, confirm.
            if killed < kills && killed % 2 == 1 {
                assert!(
                    world.until(Duration::from_secs(60), agreed),
                    "{}",
                    world.standing()
                );
                within = whole - installing;
            }
            let after = Duration::from_micros(random % within.as_micros() as u64);
            let most = match killed < kills {
                true => after,
                false => Duration::from_secs(120),
            };
            if world.until(most, updated) {
                break;
            }
            assert!(killed < kills, "{}", world.standing());
            let moment = match world.component.stage {
                Stage::Installing => "verified, swap, trial".to_string(),
                _ => format!("{:?}", world.link.mcu_phase()),
            };
            *phases.entry(moment).or_default() += 1;
            world.board.kill();
            killed += 1;
            world.board.start();
        }
        upgrades += 1;
        world.board.kill();
        assert_eq!(
            world.board.flash()[..new.len()],
            new,
            "{}",
            world.standing()
        );
        println!("upgraded: {}", world.standing());
    }
    println!("{killed} kills over {upgrades} upgrades, each ended; killed in: {phases:?}");
}

#[test]
#[ignore = "needs QEMU: samples/mcu_qemu/run"]
fn an_image_that_never_confirms_is_reverted() {
    let (images, folder) = (images(), folder("qemu-sick"));
    let old = std::fs::read(images.join("v1.bin")).unwrap();
    let mut world = World::new(&images, &folder, "sick.bin", "3_0_0");
    world.board.start();
    let back = ("1_0_0".to_string(), Boot::Reverted(405));
    let done = world.until(Duration::from_secs(120), |w| w.said.last() == Some(&back));
    assert!(done, "{}", world.standing());
    let versions: Vec<_> = world
        .said
        .iter()
        .map(|(version, boot)| (version.as_str(), *boot))
        .collect();
    assert_eq!(
        versions,
        [
            ("1_0_0", Boot::Confirmed),
            ("3_0_0", Boot::Trial),
            ("1_0_0", Boot::Reverted(405))
        ]
    );
    world.board.kill();
    assert_eq!(world.board.flash()[..old.len()], old);
    println!("reverted: {}", world.standing());
}
