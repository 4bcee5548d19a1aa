//! Whole upgrades through the program itself: real processes, sockets, pseudo-terminals and files.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::process::{Command, Output};

fn sota(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sota"))
        .args(args)
        .output()
        .unwrap()
}

/// The one object on standard output.
fn object(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.lines().count(), 1, "{text}\n{errors}");
    serde_json::from_str(&text).unwrap()
}

fn demo(args: &[&str]) -> Value {
    let mut all = vec!["demo", "--json", "--baud", "3000000", "--timeout", "300"];
    all.extend(args);
    let output = sota(&all);
    let object = object(&output);
    assert!(output.status.success(), "{object}");
    assert_eq!(object["result"], "success");
    object
}

fn failure(args: &[&str], name: &str) -> Value {
    let output = sota(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    let object = object(&output);
    assert_eq!(object["result"], "failure");
    assert_eq!(object["name"], name, "{object}");
    assert!(object["number"].as_u64().is_some_and(|number| number > 0));
    assert!(
        object["remedy"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    object
}

/// A file with `bytes`, and the SHA-256 that the flash must hold.
fn package(bytes: usize) -> (tempfile::NamedTempFile, String) {
    let content: Vec<u8> = (0..bytes).map(|i| (i * i / 7) as u8).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&content).unwrap();
    (file, hex::encode(Sha256::digest(&content)))
}

#[test]
fn a_package_file_reaches_the_mcu() {
    // Neither a multiple of the block nor of the flash's write size.
    let (file, sha256) = package(20_003);
    let path = file.path().to_str().unwrap();
    let done = demo(&[
        "--package",
        path,
        "--component",
        "GD32",
        "--from",
        "A-1",
        "--to",
        "A-2",
    ]);
    assert_eq!(done["sha256"], sha256);
    assert_eq!(done["md5"].as_str().map(str::len), Some(32));
    assert_eq!(done["crc32"].as_str().map(str::len), Some(8));
    assert_eq!(done["bytes"], 20_003);
    assert_eq!(done["component"], "GD32");
    assert_eq!((&done["from"], &done["to"]), (&"A-1".into(), &"A-2".into()));
    assert_eq!(done["pieces"], 1);
    assert_eq!(done["blocks_served"], 20);
    assert_eq!(done["blocks_fetched_twice"], 0);
}

#[test]
fn one_byte_is_a_package() {
    assert_eq!(demo(&["--size", "1"])["bytes"], 1);
}

#[test]
fn a_package_six_times_the_staging_goes_in_six_pieces() {
    let done = demo(&["--size", "49152", "--staging", "12288"]);
    assert_eq!(done["pieces"], 6);
    assert_eq!(done["blocks_served"], 48);
}

#[test]
fn small_blocks_and_small_pieces() {
    let done = demo(&["--size", "20000", "--block", "64", "--piece", "4096"]);
    assert_eq!(done["pieces"], 5);
    assert_eq!(done["blocks_served"], 313);
}

#[test]
fn ten_percent_loss_is_survived() {
    let done = demo(&["--size", "30000", "--loss", "10", "--seed", "7"]);
    assert!(done["datagrams_lost"].as_u64() > Some(0), "{done}");
    assert!(done["retransmissions"].as_u64() > Some(0), "{done}");
}

#[test]
fn a_killed_module_fetches_at_most_the_block_in_flight_twice() {
    let done = demo(&["--size", "65536", "--kill-module", "2"]);
    assert_eq!(done["module_kills"], 2);
    assert!(done["blocks_fetched_twice"].as_u64() <= Some(2), "{done}");
}

#[test]
fn a_killed_module_goes_on_within_its_piece() {
    let done = demo(&[
        "--size",
        "49152",
        "--staging",
        "12288",
        "--kill-module",
        "3",
    ]);
    assert_eq!(done["module_kills"], 3);
    assert!(done["blocks_fetched_twice"].as_u64() <= Some(3), "{done}");
}

#[test]
fn people_see_each_event_once_and_every_digest() {
    let output = sota(&["demo", "--size", "20000", "--baud", "3000000"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for code in 10700..=10705 {
        let event = format!("module: event 7,{code}");
        assert_eq!(text.matches(&event).count(), 1, "{event} in {text}");
    }
    for digest in ["SHA-256", "MD5", "CRC-32"] {
        assert!(text.contains(&format!("\n  {digest} ")), "{text}");
    }
}

#[test]
fn bad_input_is_one_clear_error() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let path = empty.path().to_str().unwrap();
    let error = failure(&["demo", "--json", "--package", path], "PackageEmpty");
    assert!(error["message"].as_str().unwrap().contains(path));
    failure(
        &["demo", "--json", "--package", "/no/such/file"],
        "PackageUnreadable",
    );
    let long = "c".repeat(33);
    failure(&["demo", "--json", "--component", &long], "NameUnusable");
    failure(&["demo", "--json", "--component", "a:b"], "NameUnusable");
    failure(&["demo", "--json", "--to", &"1".repeat(65)], "NameUnusable");
    failure(&["demo", "--json", "--to", "V 2"], "NameUnusable");
    failure(&["demo", "--json", "--staging", "5000"], "StagingUnusable");
}

#[test]
fn an_oversized_package_is_refused_before_anything_is_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(104_857_601).unwrap();
    let path = file.path().to_str().unwrap();
    failure(&["demo", "--json", "--package", path], "PackageOversized");
}

#[test]
fn an_unknown_option_is_status_2() {
    assert_eq!(sota(&["demo", "--no-such-option"]).status.code(), Some(2));
    assert_eq!(sota(&["demo", "--loss", "200"]).status.code(), Some(2));
    assert_eq!(sota(&[]).status.code(), Some(2));
}

#[test]
fn a_port_in_use_and_an_open_address_are_refused_by_the_center() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let coap = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let busy_http = http.local_addr().unwrap().to_string();
    let busy_coap = coap.local_addr().unwrap().to_string();
    let any = "127.0.0.1:0";
    let center = |http: &str, coap: &str, name| {
        let args = [
            "center",
            "--json",
            "--data",
            data,
            "--listen-http",
            http,
            "--listen-coap",
            coap,
        ];
        failure(&args, name)
    };
    for (http, coap, busy) in [
        (any, &*busy_coap, &busy_coap),
        (&*busy_http, any, &busy_http),
    ] {
        let error = center(http, coap, "CenterAddressInUse");
        assert!(error["message"].as_str().unwrap().contains(busy.as_str()));
    }
    center("0.0.0.0:0", any, "BindNotLoopback");
    center(any, "0.0.0.0:0", "BindNotLoopback");
}

#[test]
fn module_and_mcu_name_what_they_cannot_use() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let module = |more: &[&str], name| {
        let mut args = vec!["module", "--json", "--product-key", "p", "--state", state];
        args.extend(more);
        failure(&args, name)
    };
    let server = "coap://127.0.0.1:9";
    module(
        &["--device-key", "d", "--server", server, "--uart", "/no/tty"],
        "UartNotOpened",
    );
    module(
        &["--device-key", "d", "--server", "http://x", "--uart", "pty"],
        "ServerAddress",
    );
    module(
        &["--device-key", "a:b", "--server", server, "--uart", "pty"],
        "KeysUnusable",
    );
    let other = [
        "--device-key",
        "d",
        "--server",
        server,
        "--uart",
        "pty",
        "--staging",
        "16384",
    ];
    module(&other, "FlashFile");
    let mcu = [
        "mcu",
        "--json",
        "--state",
        state,
        "--component",
        "C",
        "--version",
        "1",
    ];
    failure(
        &[&mcu[..], &["--uart", "/no/tty"]].concat(),
        "UartNotOpened",
    );
}

#[test]
fn an_mcu_with_nothing_of_ours_on_it() {
    let rom = ["--protocol", "stm32", "--size", "30001"];
    let done = demo(&[&rom[..], &["--kill-module", "1"]].concat());
    assert_eq!(
        (&done["to"], &done["module_kills"]),
        (&"V2_0".into(), &1.into())
    );
    // the same in pieces
    let pieces = ["--staging", "20480", "--kill-module", "1", "--loss", "5"];
    let done = demo(&[&rom[..], &pieces].concat());
    assert_eq!(
        (&done["to"], &done["module_kills"]),
        (&"V2_0".into(), &1.into())
    );
}

#[test]
fn an_mcu_with_mcumgr_and_mcuboot() {
    let smp = ["--protocol", "smp", "--size", "30001"];
    let done = demo(&[&smp[..], &["--kill-module", "1"]].concat());
    assert_eq!(
        (&done["to"], &done["module_kills"]),
        (&"V2_0".into(), &1.into())
    );
    assert_eq!(done["bytes"], 30_001 + 72, "header and TLVs");
    // the same in pieces
    let pieces = ["--staging", "20480", "--kill-module", "1", "--loss", "5"];
    let done = demo(&[&smp[..], &pieces].concat());
    assert_eq!(
        (&done["to"], &done["module_kills"]),
        (&"V2_0".into(), &1.into())
    );
    // what is no image of MCUboot ends the upgrade
    let (file, _) = package(5_000);
    let path = file.path().to_str().unwrap();
    let args = ["demo", "--json", "--protocol", "smp", "--package", path];
    failure(&args, "UpgradeFailed");
}
