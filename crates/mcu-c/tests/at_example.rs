//! The same C example with a library that speaks AT commands: the real AT server and engine in this program upgrade it over its
//! stdin and stdout, once to the end and once with a kill in the middle.

#[path = "../../mcu/tests/at_world/mod.rs"]
mod at_world;
#[path = "program/mod.rs"]
mod program;

use at_world::{Module, Setup, TARGET};
use program::{Mcu, PAGE, built, image};
use sota::message::State;
use std::path::Path;
use std::time::{Duration, Instant};

/// `kill_at`: bytes said to the MCU after which its process is killed.
fn upgrade(program: &Path, folder: &Path, kill_at: Option<usize>) {
    let (old, new) = (image("1_0_0", 9_000), image(TARGET, 20_000));
    let path = folder.join("flash.bin");
    let mut flash = vec![0xFF; 64 * PAGE];
    flash[..old.len()].copy_from_slice(&old);
    std::fs::write(&path, &flash).unwrap();
    let mut module = Module::new(&Setup {
        new: new.clone(),
        piece: 8192,
        ..Setup::default()
    });
    let mut mcu = Mcu::start(program, &path);
    let began = Instant::now();
    let (mut kill_at, mut said, mut heard) = (kill_at, 0, Vec::new());
    while module.engine.version("STM32") != Some(TARGET) {
        let now = began.elapsed();
        let state = module.engine.state();
        assert!(
            now < Duration::from_secs(60),
            "{state:?} {:?}",
            module.reports
        );
        if kill_at.is_some_and(|at| said >= at) {
            kill_at = None;
            drop(mcu);
            mcu = Mcu::start(program, &path);
        }
        heard.extend(mcu.hear());
        while module.step(now.as_millis() as u64) {}
        let taken = module.bridge.on_bytes(&heard);
        heard.drain(..taken);
        let mut bytes = [0; 256];
        loop {
            let n = module.bridge.next_bytes(&mut bytes);
            if n == 0 {
                break;
            }
            said += n;
            mcu.say(&bytes[..n]);
        }
    }
    assert!(kill_at.is_none(), "{said}");
    drop(mcu);
    assert_eq!(std::fs::read(&path).unwrap()[..new.len()], new);
    assert_eq!(
        module.fetched,
        new.len(),
        "each byte came once over the air"
    );
    assert!(
        module
            .reports
            .iter()
            .all(|(state, _)| *state != State::Failure)
    );
}

#[test]
fn the_example_is_upgraded_by_at_commands() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("at");
    std::fs::create_dir_all(&folder).unwrap();
    let program = built(
        &folder,
        &["--no-default-features", "--features", "at,sha256,panic"],
    );
    upgrade(&program, &folder, None);
    upgrade(&program, &folder, Some(11_000));
}
