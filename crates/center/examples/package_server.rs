//! A whole Center with one package in its store and nothing else: what the serving benchmark measures and what a
//! CoAP client can be tried on.
//!
//! ```text
//! package_server <file> [<udp port>]
//! ```
//!
//! Prints the package's URI when it serves. Its data lives in a temporary folder.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use sota_center::blobs::Expected;
use sota_center::{Center, Config};

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let mut args = std::env::args().skip(1);
    let file = args
        .next()
        .context("usage: package_server <file> [<udp port>]")?;
    let port: u16 = args
        .next()
        .map_or(Ok(0), |port| port.parse())
        .context("udp port")?;
    let folder = tempfile::tempdir()?;
    let config = Config {
        coap: SocketAddr::from(([127, 0, 0, 1], port)),
        ..Config::new(folder.path())
    };
    let center = Center::open(config).await?;
    let mut upload = center.blobs().upload("package.bin").await?;
    let content = std::fs::read(&file).with_context(|| format!("cannot read {file}"))?;
    for part in content.chunks(1 << 20) {
        upload.write(&Bytes::copy_from_slice(part)).await?;
    }
    let stored = upload.finish(&Expected::default()).await?;
    println!("coap://{}/p/{}", center.coap_address(), stored.sha256);
    let stop = center.stop_handle();
    tokio::spawn(async move {
        // Without a handler nothing would remove the folder; a failed one only leaves it behind.
        let _ = tokio::signal::ctrl_c().await;
        stop.stop();
    });
    center.serve().await?;
    Ok(())
}
