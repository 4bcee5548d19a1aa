//! The C example, compiled with `cc` against the header and the static library, as a whole MCU: a module in this program
//! upgrades it over its stdin and stdout, once to the end and once with a kill in the middle.

#[path = "../../link/tests/world/parts.rs"]
#[allow(dead_code, unreachable_pub)]
mod parts;
mod program;

use parts::{Component, Stage, TARGET};
use program::{Mcu, PAGE, built, image};
use sota_link::Config;
use sota_link::field::{Boot, Hello, Image, Package};
use sota_link::frame::frame_len;
use sota_link::module::{Link, Output};
use std::path::Path;
use std::time::{Duration, Instant};

/// `kill_at`: bytes of the package after which the MCU's process is killed.
fn upgrade(program: &Path, folder: &Path, kill_at: Option<u64>) {
    let (old, new) = (image("1_0_0", 9_000), image(TARGET, 20_000));
    let path = folder.join("flash.bin");
    let mut flash = vec![0xFF; 64 * PAGE];
    flash[..old.len()].copy_from_slice(&old);
    std::fs::write(&path, &flash).unwrap();
    let sha256: [u8; 32] = {
        use sha2::Digest as _;
        sha2::Sha256::digest(&new).into()
    };
    let package = Package {
        component: "STM32".try_into().unwrap(),
        hardware: "rev-b".try_into().unwrap(),
        target: TARGET.try_into().unwrap(),
        image: Image {
            length: new.len() as u32,
            sha256: Some(sha256),
            ..Image::default()
        },
    };
    let mut component = Component::new(new.clone(), package, 8192, 1_000);
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
    let mut link = Link::<{ frame_len(1024) }>::new(0, config);
    let mut mcu = Mcu::start(program, &path);
    let began = Instant::now();
    let mut kill_at = kill_at;
    while component.stage != Stage::Updated {
        let now = began.elapsed();
        assert!(
            now < Duration::from_secs(60),
            "{:?} {:?}",
            component.stage,
            link.peer()
        );
        if kill_at.is_some_and(|at| component.read >= at) {
            kill_at = None;
            drop(mcu);
            mcu = Mcu::start(program, &path);
        }
        let (ms, us) = (now.as_millis() as u64, now.as_micros() as u64);
        for input in component.poll(us) {
            link.input(input);
        }
        let heard = mcu.hear();
        let mut rest = &heard[..];
        loop {
            rest = &rest[link.on_bytes(rest)..];
            while let Some(output) = link.poll(ms, &mut component) {
                let peer = link.peer();
                let running = (peer.version.as_str(), peer.boot);
                if output == Output::Running {
                    println!("runs {running:?}");
                }
                for input in component.act(us, output, running) {
                    link.input(input);
                }
            }
            if rest.is_empty() {
                break;
            }
        }
        let mut bytes = [0; 256];
        loop {
            let n = link.next_tx(&mut bytes);
            if n == 0 {
                break;
            }
            mcu.say(&bytes[..n]);
        }
    }
    assert_eq!(link.peer().boot, Boot::Confirmed);
    assert!(kill_at.is_none());
    drop(mcu);
    assert_eq!(std::fs::read(&path).unwrap()[..new.len()], new);
    // At most one window (8 blocks of 256) more than there is.
    assert!(
        component.read <= new.len() as u64 + 8 * 256,
        "{}",
        component.read
    );
}

#[test]
fn the_example_is_upgraded() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = built(folder, &[]);
    upgrade(&program, folder, None);
    upgrade(&program, folder, Some(9_000));
}
