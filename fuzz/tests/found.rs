//! What fuzzing found once stays found: the shortest inputs of that time.

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("hex"))
        .collect()
}

/// A piece greater than staging, in a record with a right CRC.
#[test]
fn a_journal_that_no_engine_wrote_stays_inside_the_flash() {
    sota_fuzz::journal::run(&bytes(
        "0003534f544a0100000001000000ea6bd5faffffffffffffffffffffffffffffffffa50116005c083d34ffffffffffffffffffff0141 \
     03315f30000000000000ffffa5011a0037756c2dffffffffffffffffffff014103315f30014203315f3000000000ffffffffffffa502 \
     20003fdfd775000000feff00ff000000000000000000000000000000000000000000feffffffa5091500df92b75b0270310141030331 \
     5f3003325f301e8fff88130000ffffffa5022000dd68024201000002ff00ff000000000000000000000000000000000000000000ffff \
     ffffa50a15009c65dd7402703101420303315f3003315f30325f300000000220000c0a6c1501000006ff00ff00000000000000000000 \
     0000000000000000000000ffffffffa502200053b61ce0fa80290f636f61703a2f2f63656e7465722f7000ffa5022000191324d604f6 \
     ff0501000700000000000000fefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefe \
     fefefefefefefefefefefefefefefefefefefefefefefefefefefe10000000000000",
    ));
}

/// @
#[test]
fn the_order_of_reports() {
    sota_fuzz::engine::run(&bytes(
        "8015020200010900010909010110000202020101140002003a00000002023f1303011100010e13036400000004000416010100000000 \
     000280130301060000000004000416010900010f1109000216010f0a03640000315f30f4474747474747b8b8b8b8b8b8b80000000004 \
     00041601",
    ));
}

/// A float of four bytes.
#[test]
fn single_precision_is_written_as_double() {
    sota_fuzz::records::run_senml_cbor(&bytes(
        "0286a321692f34323736392f312f00613003faffffff6ea200613802191388a20061390850e91f112d54d88b1894449ea334e37164a2 \
     00623130021a38f2b47aa2006231300858207557fb07db6b1c7d12c6e5b4e72d5ddf0e484749706a6271e5c75190e0fa8029a2006232 \
     34037855636f61703a2f2f63656e7465723a353638332f702f3535333966623037646236623163376431326336653562346537326430 \
     3064663065343834373439373036613632373165356337353139306530666138303239",
    ));
}
