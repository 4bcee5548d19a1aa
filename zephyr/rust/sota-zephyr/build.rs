//! The numbers of the image: from the environment (zephyr/rust.cmake), or, where lang-rust's
//! rust_cargo_application() runs Cargo, from the file that the module's CMake wrote into the build folder.

use std::{env, fs, path::Path};

const NAMES: [&str; 6] = [
    "SOTA_BLOCK",
    "SOTA_STAGING_PAGE",
    "SOTA_STAGING_WRITE",
    "SOTA_JOURNAL_PAGE",
    "SOTA_JOURNAL_WRITE",
    "SOTA_LINK_BLOCK",
];

/// Only where there are such back ends.
const SIDES: [&str; 2] = ["SOTA_STM32S", "SOTA_SMPS"];

fn main() {
    println!(
        "cargo:rustc-check-cfg=cfg(sota_no_bridge, sota_no_main, sota_mcu_link, sota_sides, sota_mcu_stm32, sota_mcu_smp)"
    );
    for name in NAMES.iter().chain(&SIDES).chain(&["BUILD_DIR"]) {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if NAMES.iter().all(|name| env::var_os(name).is_some()) {
        return;
    }
    let Some(folder) = env::var_os("BUILD_DIR") else {
        panic!("sota-zephyr is built by the CMake of a Zephyr application (CONFIG_SOTA=y) only");
    };
    let path = Path::new(&folder).join("sota-rust.env");
    println!("cargo:rerun-if-changed={}", path.display());
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; is CONFIG_SOTA=y?", path.display()));
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        if NAMES.contains(&name) || SIDES.contains(&name) {
            println!("cargo:rustc-env={name}={value}");
        } else if name == "SOTA_NO_BRIDGE" {
            println!("cargo:rustc-cfg=sota_no_bridge");
        } else if name == "SOTA_NO_MAIN" {
            println!("cargo:rustc-cfg=sota_no_main");
        } else if name == "SOTA_MCU_LINK" {
            println!("cargo:rustc-cfg=sota_mcu_link");
        } else if name == "SOTA_SIDES" {
            println!("cargo:rustc-cfg=sota_sides");
        } else if name == "SOTA_MCU_STM32" {
            println!("cargo:rustc-cfg=sota_mcu_stm32");
        } else if name == "SOTA_MCU_SMP" {
            println!("cargo:rustc-cfg=sota_mcu_smp");
        }
    }
}
