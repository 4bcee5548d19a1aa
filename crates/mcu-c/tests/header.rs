//! `include/sota/mcu.h` is what cbindgen writes.

use std::path::Path;

#[test]
fn the_header_is_what_the_code_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = here.join("../../include/sota/mcu.h");
    let mut made = Vec::new();
    let config = cbindgen::Config::from_file(here.join("cbindgen.toml")).unwrap();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(here.join("src/port.rs"))
        .with_src(here.join("src/api.rs"))
        .generate()
        .unwrap()
        .write(&mut made);
    let wanted = String::from_utf8(made).unwrap();
    if std::env::var_os("SOTA_BLESS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "include/sota/mcu.h is not what the code says: SOTA_BLESS=1 cargo test -p sota-mcu-c --test header"
    );
}
