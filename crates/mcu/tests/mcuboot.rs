//! Whole upgrades with MCUboot images; `tests/peers/imgtool.sh` runs the one with those that imgtool makes there and then.

mod world;

use sha2::Digest as _;
use sota_errors::{LinkError, McuError};
use sota_mcu::mcuboot::{Version, read};
use std::process::Command;
use world::parts::Stage;
use world::{Setup, World, image};

/// An image as `imgtool sign` makes it, from the description in MCUboot's `design.md`.
fn made(version: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x3D, 0xB8, 0xF3, 0x96, 0, 0, 0, 0, 64, 0, 0, 0];
    out.extend((body.len() as u32).to_le_bytes());
    out.extend([0; 4]);
    out.extend([version[0], version[1], version[2], 0, version[3], 0, 0, 0]);
    out.resize(64, 0);
    out.extend(body);
    let sha256: [u8; 32] = sha2::Sha256::digest(&out).into();
    out.extend([0x07, 0x69, 40, 0, 0x10, 0, 32, 0]);
    out.extend(sha256);
    out
}

fn world(old: Vec<u8>, new: Vec<u8>) -> World<256, 8> {
    World::new(Setup {
        old,
        new,
        mcuboot: true,
        asks_first: true,
        ..Setup::default()
    })
}

fn ends(world: &mut World<256, 8>, stage: Stage) {
    let done = world.run_until(600_000, |w| w.component.stage == stage);
    assert!(done, "{stage:?}: {}", world.standing());
}

#[test]
fn a_newer_one_is_installed() {
    let mut world = world(
        made([1, 2, 3, 4], &image(1, 900)),
        made([1, 2, 3, 5], &image(2, 1400)),
    );
    ends(&mut world, Stage::Updated);
    assert_eq!(world.asked, ["2_0_0", "install"]);
    let layout = world.setup.layout();
    let info = read(&mut world.flash, layout.active, layout.active_len).unwrap();
    assert_eq!((info.header, info.version.build), (64, 5));
}

#[test]
fn an_older_one_is_refused() {
    let old = made([1, 2, 3, 4], &image(1, 900));
    for version in [[1, 2, 3, 3], [1, 2, 2, 9], [0, 9, 9, 9]] {
        let mut world = world(old.clone(), made(version, &image(2, 1400)));
        ends(&mut world, Stage::Failed(LinkError::OldImage.number()));
    }
}

#[test]
fn what_is_none_of_them_is_refused() {
    let old = made([1, 2, 3, 4], &image(1, 900));
    let mut harmed = made([2, 0, 0, 0], &image(2, 1400));
    harmed[500] ^= 1; // before the package's digest was made
    for new in [image(9, 1400), harmed] {
        let mut world = world(old.clone(), new);
        ends(&mut world, Stage::Failed(McuError::ImageHeader.number()));
        assert!(!world.runs_new);
    }
    // The factory's image may be anything.
    let mut world = world(image(8, 700), made([0, 0, 1, 0], &image(2, 1400)));
    ends(&mut world, Stage::Updated);
}

/// imgtool's own, over versions, header sizes and TLVs, and an upgrade from one to the next.
#[test]
#[ignore = "needs imgtool: tests/peers/imgtool.sh"]
fn imgtools_images() {
    let imgtool = std::env::var_os("IMGTOOL").expect("tests/peers/imgtool.sh sets IMGTOOL");
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("imgtool");
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str| folder.join(name);
    let run = |arguments: &[&str]| {
        let done = Command::new(&imgtool)
            .args(arguments)
            .current_dir(&folder)
            .status()
            .unwrap();
        assert!(done.success(), "{arguments:?}");
    };
    if !file("key.pem").exists() {
        run(&["keygen", "-k", "key.pem", "-t", "ecdsa-p256"]);
    }
    let mut last = image(1, 800);
    let mut cases = 0;
    for (i, (header, extra)) in [
        ("0x20", &[][..]),
        ("0x100", &["--security-counter", "7"][..]),
        ("0x200", &["-k", "key.pem"][..]),
        (
            "0x80",
            &[
                "-k",
                "key.pem",
                "--security-counter",
                "9",
                "-d",
                "(1, 1.2.3+0)",
            ][..],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(file("plain.bin"), image(i as u64 + 5, 1000 + 77 * i)).unwrap();
        let version = format!("1.{}.300+70000", i + 1);
        let mut arguments = vec![
            "sign",
            "--header-size",
            header,
            "--pad-header",
            "--align",
            "8",
        ];
        arguments.extend(["--slot-size", "0x8000", "--version", &version]);
        arguments.extend(extra);
        arguments.extend(["plain.bin", "signed.bin"]);
        run(&arguments);
        let new = std::fs::read(file("signed.bin")).unwrap();
        let mut world = world(last, new.clone());
        ends(&mut world, Stage::Updated);
        let layout = world.setup.layout();
        let info = read(&mut world.flash, layout.active, layout.active_len).unwrap();
        let wanted = Version {
            major: 1,
            minor: i as u8 + 1,
            revision: 300,
            build: 70_000,
        };
        assert_eq!((info.version, info.total as usize), (wanted, new.len()));
        assert!(info.is_intact(&mut world.flash, layout.active).unwrap());
        last = new;
        cases += 1;
    }
    println!("imgtool: {cases} images, each installed over the one before");
}
